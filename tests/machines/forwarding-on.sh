# Somebody has prepared this machine for Kubernetes by the book.
# worker, equal
mkdir -p /etc/sysctl.d /etc/modules-load.d
printf 'overlay\nbr_netfilter\n' > /etc/modules-load.d/k8s.conf
printf 'net.bridge.bridge-nf-call-iptables = 1\nnet.ipv4.ip_forward = 1\n' > /etc/sysctl.d/k8s.conf
echo 1 > /proc/sys/net/ipv4/ip_forward
