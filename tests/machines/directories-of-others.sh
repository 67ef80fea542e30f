# Directories that a lab writes into have owners and modes of their own.
# worker, equal
chmod 2775 /etc/systemd/system /usr/local/bin
chgrp daemon /usr/local/bin /etc/systemd/system
install -d -m 700 /etc/sysctl.d /etc/modules-load.d
install -d -o daemon -m 711 /etc/kubernetes /opt/cni
install -d -o daemon -g daemon -m 770 /var/lib/kube-proxy
