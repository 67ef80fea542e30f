# A firewall by hand: FORWARD ends in REJECT, and INPUT takes the networks that it knows.
# worker, equal
iptables -P FORWARD DROP
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -j REJECT --reject-with icmp-host-prohibited
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -s 10.0.0.0/8 -j ACCEPT
iptables -P INPUT DROP
ip6tables -A FORWARD -j REJECT
