# etcd's directory is a small disk of its own, with what every new file system has in it.
# controller, equal
install -d -m 700 /var/lib/etcd
mount -t tmpfs -o size=1g,mode=755 theirs /var/lib/etcd
install -d -m 700 /var/lib/etcd/lost+found
