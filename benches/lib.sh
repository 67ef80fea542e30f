# What all rows of the benchmark share: a work folder that is gone afterwards, timing, and nodes to
# work on.
#
# A row is a script that begins with `. benches/lib.sh`, brings up what it needs, and calls
# `measure` for one tool after the other in every round. It writes its figures to $figures, a line
# each: `title`, `goal`, `time`, `memory`, `note`, `limit`, tab-separated; benches/report makes the
# table and the plot of them.
# shellcheck shell=sh disable=SC2034 # what is set here is for the rows
set -eu
benches=$(cd "$(dirname "$0")/.." && pwd)
sources=${benches%/*}
row=$(basename "$(dirname "$(readlink -f "$0")")")
runs=${RUNS:-3}
cache=${LABCTL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/labctl}
target=${BENCH_TARGET:?run it as benches/run}
labctl=$target/release/labctl
peers=$cache/bench
export LABCTL_CACHE="$cache" LC_ALL=C.UTF-8
unset SSH_AUTH_SOCK

fail() {
  echo "benches/$row: $*" >&2
  exit 1
}

# ------------------------------------------------------------------- what must not be left behind

# Not below the target folder: that may be too far down for the names of sockets.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/labctl-bench.XXXXXX")
endings=$work/endings
: > "$endings"
# The files of figures that this row writes.
begun=
# Has a command run when the row ends, however it ends; the last one first. Paths in it have no
# spaces.
at_exit() { grep -qxF -- "$*" "$endings" || printf '%s\n' "$*" >> "$endings"; }
descendants() { # process id
  for child in $(ps -o pid= --ppid "$1"); do
    echo "$child"
    descendants "$child"
  done
}
end() {
  status=$?
  trap - EXIT
  trap '' INT TERM HUP
  # shellcheck disable=SC2046 # a list of numbers
  kill -9 $(descendants $$) 2> /dev/null || :
  # A row that failed has no figures: half of them would be compared with nothing.
  # shellcheck disable=SC2086 # a list of files
  [ "$status" = 0 ] || rm -f $begun
  sed '1!G;h;$!d' "$endings" > "$endings.now"
  while read -r ending; do
    sh -c "$ending" < /dev/null > /dev/null 2>&1 || :
  done < "$endings.now"
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM HUP

# Tools find a home of their own: no configuration, no agent and no known hosts of whoever runs
# this, and none left.
export HOME="$work/home"
mkdir -m 700 "$HOME" "$HOME/.ssh"
# Ansible's connections outlive its runs, and end here.
at_exit "for socket in $HOME/.ansible/cp/*; do ssh -o ControlPath=\$socket -O exit any; done"

# --------------------------------------------------------------------------------------- figures

# Begins a table row: its name in file names, its title.
begin_figures() {
  figures=$target/bench/$1.figures
  begun="$begun $figures"
  printf 'title\t%s\n' "$2" > "$figures"
}
say() { # kind, field...
  printf '%s' "$1" >> "$figures"
  shift
  printf '\t%s' "$@" >> "$figures"
  echo >> "$figures"
}
now() { date +%s%N; }
# Runs a command in a shell of its own. One that fails ends the row: a wrong answer has no speed.
once() { # tool, command...
  tool=$1
  shift
  ("$@") > "$work/output" 2>&1 < /dev/null || {
    tail -n 40 "$work/output" >&2
    fail "$tool failed"
  }
}
# The same, and notes how many microseconds it took.
measure() { # tool, command...
  before=$(now)
  once "$@"
  after=$(now)
  took=$(((after - before) / 1000))
  say time "$tool" "$took"
  printf '  %s, %s: %d.%03d s\n' "$row" "$tool" $((took / 1000000)) $((took / 1000 % 1000)) >&2
}
# Holds what a tool has brought about against what the first one did.
must_equal_first() { # tool, state
  if [ -e "$work/state" ]; then
    printf '%s\n' "$2" | diff "$work/state" - >&2 ||
      fail "$1 left another state on the nodes than the first tool did"
  else
    printf '%s\n' "$2" > "$work/state"
  fi
}

# ----------------------------------------------------------------------------------------- nodes

# A shipped inventory with other networks, so that a lab from `make demo` may run beside.
shipped() { # name
  sed -e "s|bundle: ../bundle|bundle: $sources/bundle|" -e 's/10\.24/10.22/' \
    "$sources/inventories/$1.yaml"
}
# Local nodes of an inventory, started and left as bare as labctl makes them.
bare_nodes() { # inventory
  at_exit "$labctl down --yes $1"
  "$labctl" up --playbooks "$benches/bare" "$1" > "$work/output" 2>&1 || {
    tail -n 40 "$work/output" >&2
    fail "the local nodes do not start"
  }
}

# How the tools that use OpenSSH reach a lab's local nodes; they check host keys, as labctl does.
ssh_config() { # folder with ssh/id_ed25519 and known_hosts
  cp "$1/known_hosts" "$HOME/.ssh/known_hosts"
  cat > "$HOME/.ssh/config" << END
Host *
  User root
  IdentityFile $1/ssh/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile $HOME/.ssh/known_hosts
  StrictHostKeyChecking yes
  LogLevel ERROR
END
  # OpenSSH looks into the home directory of the password file, whatever HOME says.
  ssh="ssh -F $HOME/.ssh/config"
}

# Machines that are no more than an sshd in namespaces of its own: network, mounts, processes, name.
# Their root lies over the base image of the local nodes and is kept in memory, so that tools are
# measured and not this machine's disk. Their addresses are $network.10 and so on; their names m-0
# and so on.
machines() { # how many
  network=10.251.0
  bridge=lbench0
  mkdir "$work/machines"
  mount -t tmpfs -o mode=755,size=12g tmpfs "$work/machines"
  at_exit "umount -l $work/machines"
  mkdir -m 700 "$work/ssh"
  ssh-keygen -q -t ed25519 -N '' -C bench -f "$work/ssh/id_ed25519"
  ssh-keygen -q -t ed25519 -N '' -C bench -f "$work/ssh/host_key"
  ip link add "$bridge" type bridge
  at_exit "ip link del $bridge"
  ip address add "$network.1/24" dev "$bridge"
  ip link set "$bridge" up
  : > "$work/known_hosts"
  names=
  number=0
  while [ "$number" -lt "$1" ]; do
    machine "m-$number" "$network.$((number + 10))" "$number"
    names="$names m-$number"
    number=$((number + 1))
  done
  for name in $names; do
    number=${name#m-}
    tries=0
    until printf '' | timeout 1 ssh-keyscan -t ed25519 "$network.$((number + 10))" 2> /dev/null |
      grep -q .; do
      tries=$((tries + 1))
      [ "$tries" -lt 100 ] || fail "no sshd answers on $name"
    done
  done
  ssh_config "$work"
}
address_of() { echo "$network.$((${1#m-} + 10))"; }
# Runs a command on all machines at the same time; what each of them says, in their order.
on_machines() { # command
  for name in $names; do
    $ssh "$(address_of "$name")" "$1" > "$work/said.$name" 2>&1 < /dev/null &
    pids="${pids:-} $!"
  done
  # shellcheck disable=SC2086 # a list of words; the machines are background processes too
  wait $pids
  pids=
  for name in $names; do sed "s/^/$name /" "$work/said.$name"; done
}
# An inventory of all machines for labctl. A lab has a controller; the playbooks here do not mind.
lab_of_machines() { # name
  cat << END
name: $1
kubernetes: "1.36.3"
bundle: ${bundle:-$sources/bundle}
ssh: { user: root, identity: $work/ssh/id_ed25519 }
network: { pods: 10.128.0.0/10 }
nodes:
END
  role=controller
  for name in $names; do
    echo "  - { name: $name, address: $(address_of "$name"), roles: [$role] }"
    role=worker
  done
}
machine() { # name, address, number
  folder=$work/machines/$1
  mkdir -p "$folder/upper/root/.ssh" "$folder/upper/etc/ssh" "$folder/work" "$folder/root"
  chmod 700 "$folder/upper/root" "$folder/upper/root/.ssh"
  cp "$work/ssh/id_ed25519.pub" "$folder/upper/root/.ssh/authorized_keys"
  cp "$work/ssh/host_key" "$folder/upper/etc/ssh/ssh_host_ed25519_key"
  echo "$2 $(cut -d ' ' -f 1,2 "$work/ssh/host_key.pub")" >> "$work/known_hosts"
  ip netns add "lbench-$3"
  at_exit "ip netns del lbench-$3"
  ip link add "lbench-v$3" type veth peer name eth0 netns "lbench-$3"
  at_exit "ip link del lbench-v$3"
  ip link set "lbench-v$3" master "$bridge" up
  ip -n "lbench-$3" link set lo up
  ip -n "lbench-$3" address add "$2/24" dev eth0
  ip -n "lbench-$3" link set eth0 up
  # Ending the first process of a process namespace ends all of them, and with them go the mounts.
  nsenter --net="/run/netns/lbench-$3" \
    unshare --mount --uts --pid --fork --kill-child --propagation private sh -ec '
    hostname "$1"
    mount -t overlay -o "lowerdir=$3,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
    mount -t proc proc "$2/root/proc"
    mount --rbind /dev "$2/root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$2/root/run"
    mkdir "$2/root/run/sshd"
    exec chroot "$2/root" /usr/sbin/sshd -D
  ' machine "$1" "$folder" "$peers/image:$(cat "$peers/image.of")" \
    > "$folder/log" 2>&1 < /dev/null &
}

# A bundle with one file of so many million bytes, of the real bundle's programs: they compress as
# programs do.
payload() { # million bytes
  bundle=$work/bundle-$1
  mkdir "$bundle"
  (
    cd "$sources/bundle/bin"
    cat kube-apiserver kube-controller-manager kubelet kube-scheduler kubectl
  ) | head -c "${1}000000" > "$bundle/payload"
  size=$(stat -c %s "$bundle/payload")
  [ "$size" = "${1}000000" ] || fail "the bundle's programs are less than $1 MB"
  sum=$(sha256sum "$bundle/payload" | cut -d ' ' -f 1)
  cat > "$bundle/bundle.lock" << END
kubernetes: "1.36.3"
architecture: $(sed -n 's/^architecture: //p' "$sources/bundle/bundle.lock")
files:
  - { name: payload, version: "1", path: payload, size: $size, sha256: $sum }
END
}
