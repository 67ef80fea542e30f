# Temporary directories are file systems of their own, from which nothing may be run.
# worker, equal
mount -t tmpfs -o noexec,nosuid,nodev theirs /tmp
chmod 1777 /tmp
mount --bind /var/tmp /var/tmp
mount -o remount,bind,noexec /var/tmp
