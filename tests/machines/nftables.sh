# Rules of nftables, with a set, a map and counters, and the unit that loads them.
# worker, equal
cat > /etc/nftables.conf << 'END'
table inet theirs {
  set friends { type ipv4_addr; flags interval; elements = { 192.0.2.0/25, 198.51.100.7 } }
  map ports { type inet_service : verdict; elements = { 9 : drop } }
  counter seen { }
  chain input {
    type filter hook input priority 10; policy accept;
    ip saddr @friends accept
    tcp dport vmap @ports
  }
  chain forward {
    type filter hook forward priority -5; policy accept;
    counter name seen
  }
}
table ip nat {
  chain theirs { ip daddr 192.0.2.3 accept; }
}
END
systemctl enable --quiet nftables.service
nft -f /etc/nftables.conf
