# Drop-ins for units of the same names as ours set a limit and a variable.
# worker, equal
for unit in containerd kubelet kube-proxy labctl-pod-network; do
  install -d -m 750 "/etc/systemd/system/$unit.service.d"
  printf '[Service]\nEnvironment=THEIRS=yes\nLimitNOFILE=500000\n' \
    > "/etc/systemd/system/$unit.service.d/override.conf"
done
systemctl daemon-reload
