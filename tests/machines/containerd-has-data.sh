# containerd was used here before; it is stopped, and its images and containers are there.
# worker, refused: /var/lib/containerd has the data of another program: io.containerd
mkdir -p /var/lib/containerd/io.containerd.metadata.v1.bolt
echo theirs > /var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db
