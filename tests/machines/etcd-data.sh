# An etcd of somebody's has its data here.
# controller, refused: it belongs to somebody else: an etcd
install -d -m 700 /var/lib/etcd/member/snap
echo theirs > /var/lib/etcd/member/snap/db
