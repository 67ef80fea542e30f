# An earlier cluster left the configuration of its pod network, and its name sorts first.
# worker, refused: pods would get another pod network: /etc/cni/net.d/05-cilium.conflist
mkdir -p /etc/cni/net.d
echo '{"cniVersion": "1.0.0", "name": "cilium", "plugins": [{"type": "cilium-cni"}]}' \
  > /etc/cni/net.d/05-cilium.conflist
