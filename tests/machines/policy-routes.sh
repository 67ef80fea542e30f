# Routes by hand: rules, tables, a metric, a route to nowhere; and sets of addresses.
# worker, equal
ip rule add from 192.0.2.0/24 table 100 priority 500
ip link add theirs0 type veth peer name theirs1
ip link set theirs1 up
ip address add 192.0.2.1/24 dev theirs0
ip link set theirs0 up
ip route add default dev theirs0 table 100
ip route add 198.51.100.0/24 dev theirs0 metric 700
ip route add blackhole 203.0.113.0/24
ip neighbour add 192.0.2.99 lladdr 02:00:00:00:00:99 dev theirs0 nud permanent
ipset create theirs hash:net
ipset add theirs 192.0.2.0/24
