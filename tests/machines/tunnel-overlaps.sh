# An interface of theirs has addresses of the lab's pods.
# worker, refused: its route to 10.200.77.0/24 on vpn0 is in the lab's pods
ip link add vpn0 type veth peer name vpn1
ip link set vpn1 up
ip address add 10.200.77.1/24 dev vpn0
ip link set vpn0 up
