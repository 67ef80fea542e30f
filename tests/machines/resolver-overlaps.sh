# The resolver has an address of the lab's Services.
# worker, refused: its resolver 10.32.0.10 is in the range of the lab's services
echo 'nameserver 10.32.0.10' > /etc/resolv.conf
