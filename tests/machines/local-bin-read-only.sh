# The directory of local programs is mounted read-only.
# worker, refused: /usr/local/bin cannot be written
mount --bind /usr/local/bin /usr/local/bin
mount -o remount,bind,ro /usr/local/bin
