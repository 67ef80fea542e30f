# kubeadm reset was here: it leaves the chains of kube-proxy.
# worker, refused: its firewall has chains of another cluster: KUBE-
for chain in KUBE-SERVICES KUBE-POSTROUTING KUBE-SVC-THEIRS; do iptables -t nat -N $chain; done
iptables -t nat -A KUBE-SERVICES -d 10.96.0.1 -j KUBE-SVC-THEIRS
iptables -t nat -A OUTPUT -j KUBE-SERVICES
iptables -N KUBE-FORWARD
iptables -A FORWARD -j KUBE-FORWARD
