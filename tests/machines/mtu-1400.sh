# The network of the provider takes packets of 1400 bytes.
# worker, equal
ip link set mtu 1400 dev "$(ip -o route get 192.0.2.1 | sed 's/.* dev \([^ ]*\) .*/\1/')"
