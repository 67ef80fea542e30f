# Docker's bridge and chains, FORWARD drops, and a program listens behind the bridge.
# worker, equal
ip link add docker0 type bridge
ip address add 172.17.0.1/16 dev docker0
ip link set docker0 up
iptables -P FORWARD DROP
for chain in DOCKER DOCKER-USER DOCKER-ISOLATION-STAGE-1; do iptables -N $chain; done
iptables -A DOCKER-USER -j RETURN
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -j DOCKER
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
systemd-run --quiet --unit=docker --description=theirs perl -e 'use IO::Socket::INET;
  my $it = IO::Socket::INET->new(LocalPort => 8088, Listen => 1) or die; sleep'
