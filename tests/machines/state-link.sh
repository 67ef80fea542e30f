# There is little room in /var/lib: labctl's directory is a symbolic link to another disk.
# worker, equal
install -d -m 750 -g daemon /srv/labctl
ln -s /srv/labctl /var/lib/labctl
