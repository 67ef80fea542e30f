# The table of hosts is a symbolic link, and has names of the lab's nodes with other addresses.
# worker, equal
install -d -m 755 /srv/names
printf '%s\n' '127.0.0.1 localhost' '192.0.2.1 hub' > /srv/names/hosts
printf '192.0.2.2 hosts-link # labctl is here' >> /srv/names/hosts
chmod 640 /srv/names/hosts
ln -sf /srv/names/hosts /etc/hosts
