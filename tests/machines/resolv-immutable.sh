# resolv.conf is kept from whoever would change it, and has a resolver of the machine's own.
# worker, equal
printf 'nameserver\t127.0.0.1\nnameserver 192.0.2.53\nsearch example.org' > /etc/resolv.conf
chattr +i /etc/resolv.conf
