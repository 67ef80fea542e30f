# root's shell exports what changes how programs behave.
# controller, equal
{
  echo 'export POSIXLY_CORRECT=1 LC_ALL=tr_TR.UTF-8 TMPDIR=/nowhere CDPATH=/etc GREP_COLORS=mt=1'
  echo 'export KUBECONFIG=/root/theirs ETCDCTL_ENDPOINTS=https://192.0.2.1:2379 TAR_OPTIONS=-v'
  echo 'alias mv="mv -i" cp="cp -i" rm="rm -i"; set -o noclobber'
} > /root/.bashrc
echo 'KUBERNETES_MASTER=https://192.0.2.1' >> /etc/environment
