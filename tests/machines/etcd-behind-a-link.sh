# The data directory of etcd is a symbolic link to a larger disk.
# controller, equal
install -d -m 750 -g daemon /srv/etcd
ln -s /srv/etcd /var/lib/etcd
