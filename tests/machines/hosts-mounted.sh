# The table of hosts is a mount of its own, as in containers, and its last line has no end.
# worker, equal
mkdir -p /srv
printf '127.0.0.1 localhost\n192.0.2.9 printer' > /srv/hosts
mount --bind /srv/hosts /etc/hosts
