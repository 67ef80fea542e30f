# fstab is a symbolic link to a file under version control.
# worker, equal
install -d -m 700 /srv/config
printf '/swap none swap sw 0 0\ntmpfs /scratch tmpfs noauto 0 0\n' > /srv/config/fstab
chmod 640 /srv/config/fstab
ln -sf /srv/config/fstab /etc/fstab
systemctl daemon-reload
