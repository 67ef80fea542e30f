# Kernel settings of theirs, other than ours, in files that are read after ours.
# worker, equal
mkdir -p /etc/sysctl.d
printf 'net.ipv4.ip_forward=0\n-vm.overcommit_memory = 2\n' > /etc/sysctl.d/99-hardening.conf
printf 'net.ipv4.tcp_keepalive_time = 7200\nkernel.panic = 0\n' > /etc/sysctl.d/zz-theirs.conf
echo 0 > /proc/sys/net/ipv4/ip_forward
echo 71 > /proc/sys/net/ipv4/tcp_keepalive_intvl
