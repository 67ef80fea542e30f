# authorized_keys is a symbolic link into /etc, and its last line has no end.
# worker, equal
install -d /etc/ssh/authorized
printf %s "$(cat /root/.ssh/authorized_keys)" > /etc/ssh/authorized/root
chmod 640 /etc/ssh/authorized/root
ln -sf /etc/ssh/authorized/root /root/.ssh/authorized_keys
