# A control plane of kubeadm's.
# controller, refused: it belongs to somebody else: kubeadm
mkdir -p /etc/kubernetes/manifests /etc/kubernetes/pki
echo theirs > /etc/kubernetes/pki/ca.key
echo 'kind: Pod' > /etc/kubernetes/manifests/kube-apiserver.yaml
