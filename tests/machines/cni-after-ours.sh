# Podman's pod network is configured, behind ours, in a directory that only root may enter.
# worker, equal
install -d -m 700 /etc/cni /etc/cni/net.d
echo '{"cniVersion": "0.4.0", "name": "podman", "plugins": [{"type": "loopback"}]}' \
  > /etc/cni/net.d/87-podman.conflist
install -d -m 2755 -g daemon /var/lib/cni
