# A bridge called cni0 has been there since a cluster that is gone.
# worker, refused: its bridge cni0 has the address 10.244.3.1/24 of another pod network
ip link add cni0 type bridge
ip address add 10.244.3.1/24 dev cni0
ip link set cni0 up
