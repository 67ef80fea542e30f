#!/bin/sh
# How single becomes a member of the etcd that the other controllers run, how it leaves them
# for a moment, and how it gets ready for an etcd that cannot read its log.
#
#   member.sh join ADDRESS..      add this node as a learner, and note how it starts in /etc/etcd/bootstrap.env
#   member.sh promote ADDRESS..   give it its vote, once it has caught up
#   member.sh hand-over           if it leads, let another member lead: before it stops
#   member.sh put-behind          put the log that an older etcd wrote behind a snapshot
#   member.sh is-behind           whether that has been done since this member started
#
# The addresses are those of the other controllers: all of them are asked, until one can do it.
# https://etcd.io/docs/latest/op-guide/runtime-configuration/

name=single
peer=https://10.240.0.10:2380
export ETCDCTL_CACERT=/etc/kubernetes/pki/etcd/ca.crt
export ETCDCTL_CERT=/etc/kubernetes/pki/etcd/healthcheck-client.crt
export ETCDCTL_KEY=/etc/kubernetes/pki/etcd/healthcheck-client.key

# Picks from the members, whose lines are: ID, started, NAME, PEER URL, CLIENT URLS, LEARNER
among() { printf '%s\n' "$members" | awk -F', ' -v name="$name" -v peer="$peer" "$1"; }

join() {
  members=$(etcdctl member list 2>&1) || { said=$members; return 1; }
  if [ -n "$(among '$4 == peer && $5 != ""')" ]; then
    echo "etcd has $name as a member that has run before, and its data is not on this machine."
    echo "Say \`labctl node remove $name --gone\`, and then \`labctl node add\` it again."
    exit 1
  fi
  # An entry that has never run is ours: from a run that was cut off, or from when the cluster was
  # founded.
  if [ -z "$(among '$4 == peer')" ]; then
    # A learner has no vote, so that adding it cannot cost the others their majority. etcd has one
    # at a time: the second to come asks until the first has been promoted.
    said=$(etcdctl member add "$name" --learner --peer-urls "$peer" 2>&1) || return 1
    members=$(etcdctl member list 2>&1) || { said=$members; return 1; }
  fi
  {
    echo "# How etcd on $name came to the others. Used only while /var/lib/etcd is empty."
    echo ETCD_INITIAL_CLUSTER_STATE=existing
    among '$4 == peer { $3 = name }
           $2 ~ /started$/ { list = list (list ? "," : "") ($3 ? $3 : $1) "=" $4 }
           END { print "ETCD_INITIAL_CLUSTER=" list }'
  } > /etc/etcd/bootstrap.env
}

promote() {
  members=$(etcdctl member list 2>&1) || { said=$members; return 1; }
  said=$(etcdctl member promote "$(among '$4 == peer { print $1 }')" 2>&1)
}

# Members that miss their leader wait for a second or two before they elect another one, and nobody
# can read or write meanwhile. A leader that hands over is followed within milliseconds, by a member
# that has answered just before.
hand_over() {
  export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
  etcdctl endpoint status -w fields | awk '
    $1 == "\"MemberID\"" { own = $3 }
    $1 == "\"Leader\"" { leader = $3 }
    END { exit own == "" || own != leader }' || return 0
  members=$(etcdctl member list)
  among '$2 == "started" && $4 != peer && $6 == "false" { print $1, $5 }' | while read -r id address; do
    # Not a flag: etcdctl refuses one beside the variable.
    if ETCDCTL_ENDPOINTS=$address etcdctl endpoint status > /dev/null 2>&1; then etcdctl move-leader "$id" && break; fi
  done
}

# A member that does not run, or runs 3.7 already, has nothing to be put behind anything. In a member
# that runs, whatever was in the log when it started is behind a snapshot that is newer than that.
is_behind() {
  export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379
  release=$(etcdctl endpoint status -w fields | awk -F'"' '$2 == "Version" { print $4 }')
  case $release in 3.[0-6].*) ;; *) return 0 ;; esac
  began=$(TZ=UTC systemctl show --property ActiveEnterTimestamp --value etcd.service)
  newest=$(stat -c %Y /var/lib/etcd/member/snap/*.snap 2> /dev/null | sort -n | tail -n 1)
  [ "${newest:-0}" -gt "$(date -d "$began" +%s)" ]
}

# To delete a key that is not there is a line of the log that changes nothing.
put_behind() {
  writes=0
  until is_behind; do
    if [ "$writes" -ge 20000 ]; then
      echo "etcd on $name has written no snapshot after $writes writes: lower its --snapshot-count"
      exit 1
    fi
    for _ in $(seq 100); do etcdctl del labctl/nothing > /dev/null || exit 1; done
    writes=$((writes + 100))
  done
}

what=$1
shift
case $what in
  hand-over) hand_over; exit ;;
  put-behind) put_behind; exit ;;
  is-behind) is_behind; exit ;;
esac
said='There is no other controller in the inventory.'
end=$(($(date +%s) + 90))
while :; do
  for address in "$@"; do
    export ETCDCTL_ENDPOINTS="https://$address:2379"
    if $what; then exit 0; fi
  done
  [ "$(date +%s)" -lt "$end" ] || break
  sleep 0.5
done
printf '%s cannot %s: %s\n' "$name" "$what" "$said"
if [ "$what" = join ]; then
  echo 'etcd is founded only when every controller of the inventory was reached and none has any data of one.'
fi
exit 1
