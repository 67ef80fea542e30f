# The kubelet's directory is a disk of its own, with what every new file system has in it.
# worker, equal
mount -t tmpfs -o size=1g,mode=711 theirs /var/lib/kubelet
install -d -m 700 /var/lib/kubelet/lost+found
