# A plugin directory that is a symbolic link, with a plugin of the same name as one of ours.
# worker, equal
install -d /srv/plugins /opt/cni
printf '#!/bin/sh\nexit 0\n' > /srv/plugins/bridge
chmod 700 /srv/plugins/bridge
ln -s /srv/plugins /opt/cni/bin
