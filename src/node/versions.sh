# Says what this controller runs, which kubelets its cluster has, and which objects are asked for by
# a version of the API that will go. Needs $port, of the API server here.
on_node() {
  kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 20s \
    --server "https://127.0.0.1:$port" "$@"
}
on_node get --raw /version | sed -n 's/.*"gitVersion": *"v\([0-9.]*\).*/api \1/p' &&
  etcd --version | sed -n 's/^etcd Version: */etcd /p' &&
  on_node get nodes --no-headers \
    -o custom-columns=N:.metadata.name,V:.status.nodeInfo.kubeletVersion | sed 's/^/kubelet /' &&
  on_node get --raw /metrics | awk -F '"' '
    # Labels in this order: group, removed_release, resource, subresource, version.
    /^apiserver_requested_deprecated_apis\{/ && $4 != "" { print "deprecated", $4, $6, $10, $2 }'
