# Somebody works from here: a kubectl, a kubeconfig with its cache, and both in use.
# client, equal
printf '#!/bin/sh\necho theirs\n' > /usr/local/bin/kubectl
chown daemon /usr/local/bin/kubectl
chmod 4750 /usr/local/bin/kubectl
install -d -m 755 /root/.kube/cache/discovery
echo 'apiVersion: v1' > /root/.kube/config
echo '{}' > /root/.kube/cache/discovery/servergroups.json
