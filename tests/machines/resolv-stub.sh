# resolv.conf is a symbolic link to the stub of systemd-resolved.
# worker, equal
mkdir -p /run/systemd/resolve
printf 'nameserver 127.0.0.53\noptions edns0 trust-ad\n' > /run/systemd/resolve/stub-resolv.conf
printf 'nameserver 192.0.2.53\n' > /run/systemd/resolve/resolv.conf
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
