# kubeadm's packages are installed, and their drop-in changes how a kubelet starts.
# worker, refused: /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf changes
mkdir -p /usr/lib/systemd/system/kubelet.service.d /etc/kubernetes/manifests
printf '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/theirs\n' \
  > /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
