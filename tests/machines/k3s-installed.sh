# k3s is installed.
# worker, refused: it belongs to somebody else: k3s
mkdir -p /etc/rancher/k3s /var/lib/rancher/k3s/server
echo 'apiVersion: v1' > /etc/rancher/k3s/k3s.yaml
