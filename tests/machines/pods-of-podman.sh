# Containers of another program: network namespaces, veths, mounts and a control group.
# worker, equal
ip netns add theirs
ip netns add cni-0aabbccd-stopped
ip netns add cni-0aabbccd-of-podman
ip -n cni-0aabbccd-of-podman link set lo up
systemd-run --quiet --unit=podman-of-theirs ip netns exec cni-0aabbccd-of-podman sleep 100002
ip link add veth-theirs type veth peer name eth0 netns theirs
ip link set veth-theirs up
mkdir -p /run/containers/storage /var/lib/containers/volume
mount -t tmpfs theirs /var/lib/containers/volume
echo theirs > /var/lib/containers/volume/file
