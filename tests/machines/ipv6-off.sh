# IPv6 is switched off.
# worker, equal
mkdir -p /etc/sysctl.d
echo 'net.ipv6.conf.all.disable_ipv6 = 1' > /etc/sysctl.d/70-no-ipv6.conf
for which in all default; do echo 1 > /proc/sys/net/ipv6/conf/$which/disable_ipv6; done
