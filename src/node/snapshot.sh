# labctl: has etcd make a snapshot, which is the standard output. What is known of it comes before
# it on the standard error, in lines that begin with `@`. Nothing of it stays here: the copy is in a
# directory that only root can read and that is removed with the command, however it ends; the next
# run removes what a power failure leaves.
set -eu
umask 077
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
# Nothing within a lab is behind a login's proxy.
NO_PROXY='*'
no_proxy='*'
export NO_PROXY no_proxy
state=/var/lib/labctl
fail() { echo "$*" >&2; exit 1; }
etcd() {
  etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
    --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
    --key /etc/kubernetes/pki/etcd/healthcheck-client.key "$@"
}
command -v etcdctl >/dev/null || fail 'there is no etcdctl here'
# A healthy member has answered a read that most members agreed on, so it has all that was written
# before.
said=$(etcd endpoint health 2>&1) || fail "its etcd is not healthy: $said"
mkdir -p "$state"
for old in "$state"/snapshot.*; do
  pid=${old#"$state"/snapshot.} && pid=${pid%%.*}
  [ -e "/proc/$pid/exe" ] || rm -rf "$old"
done
here=$(mktemp -d "$state/snapshot.$$.XXXXXXXX")
trap 'rm -rf "$here"' EXIT
trap 'exit 1' HUP INT TERM PIPE
status=$(etcd endpoint status -w json)
size=$(printf %s "$status" | sed -n 's/.*"dbSize":\([0-9]*\).*/\1/p')
free=$(df -P -B1 "$here" | awk 'NR == 2 {print $4}')
[ "$free" -gt $((${size:-0} + 33554432)) ] ||
  fail "a snapshot takes $size bytes, but $state has only $free bytes left"
said=$(etcd snapshot save "$here/snapshot.db" 2>&1) || fail "$said"
# etcd 3.4 has no etcdutl; its etcdctl knows the same words.
tool=$(command -v etcdutl || command -v etcdctl)
facts=$("$tool" snapshot status "$here/snapshot.db" -w json 2>"$here/said") ||
  fail "the snapshot is damaged: $(cat "$here/said")"
sum=$(sha256sum < "$here/snapshot.db")
{
  printf '@endpoint %s\n' "$status"
  printf '@members %s\n' "$(etcd member list -w json)"
  printf '@status %s\n' "$facts"
  printf '@file %s %s\n' "${sum%% *}" "$(stat -c %s "$here/snapshot.db")"
} >&2
cat "$here/snapshot.db"
