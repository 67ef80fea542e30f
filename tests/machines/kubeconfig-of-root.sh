# A controller-to-be where root has a kubeconfig of another cluster, and kubectl's cache.
# controller, equal
install -d -m 755 /root/.kube/cache/http
echo 'apiVersion: v1' > /root/.kube/config
chmod 644 /root/.kube/config
echo '{}' > /root/.kube/cache/http/theirs
