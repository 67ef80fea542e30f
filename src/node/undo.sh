# Undoes what the record lists, the newest first: one function per kind of line, as
# `src/node/record.rs` lists them. Whatever fails, the rest is done; what would not go is named, and
# stays in the record.
SYSTEMCTL_SKIP_SYSV=1
export SYSTEMCTL_SKIP_SYSV

remains() { printf '%s\n' "$*" >> "$here/stays"; }
# Not ours and in nobody's way: named, and no reason to fail.
remark() { printf '%s\n' "$*" >> "$here/remarks"; }
listed() { sed -n "s/^$1 //p" "$record"; }

undo() { # directories that programs of the lab call their own, whatever the record says
  set +e
  own=" $* "
  touch "$record"
  undo_units
  undo_rules
  tac "$record" > "$here/lines"
  while read -r kind rest; do
    case " $rest" in *' #torn') refuse; continue ;; esac
    case $kind in
      '' | unit | package | chains | rules | surveyed) ;;
      file | replaced | kept | lines | directory) one "$kind" 1 ;;
      tree | contents | empty | attributes | others) one "$kind" 2 ;;
      hosts | hosts_entry | route | link | module)
        if [ -n "$rest" ]; then "undo_$kind" "$rest"; else refuse; fi
        ;;
      user | group)
        case $rest in '' | root | *[!a-z0-9_-]*) refuse ;; *) "undo_$kind" "$rest" ;; esac
        ;;
      unended | sysctl | setting | swap)
        case $rest in *' '*) "undo_$kind" "$rest" ;; *) refuse ;; esac
        ;;
      *) refuse ;;
    esac
  done < "$here/lines"
  undo_fstab
  undo_packages
  systemctl daemon-reload ||
    remains "systemd still has the units that are gone: systemctl daemon-reload"
  restart_units
  if [ -s "$here/stays" ]; then
    echo "This could not be removed or put back:"
    cat "$here/stays"
    return 1
  fi
  # All but the directory of this very run, which goes by itself, and keys of another lab.
  for entry in "$state"/* "$state"/runs/*; do
    case $entry in "$state/runs" | "$state/kept-keys" | "$here") ;; *) rm -rf -- "$entry" ;; esac
  done
}

# The power went while a line was written, or somebody has edited it: nothing is done that it may
# not have meant.
refuse() {
  remark "left alone: the line \`$kind $rest\` of the record," \
    "which is torn or names nothing of a lab's"
}
# Nor must it become `rm -rf /etc/`.
one() { # kind of a line about a path, how many parts such a path has at least
  path=$rest
  if [ "$kind" = attributes ]; then
    case $rest in *' '*' '*) path=${rest% * *} ;; *) path=/ ;; esac
  fi
  if [ "$kind" = others ]; then
    case $rest in *' '*/) path=${rest%% *} ;; *) path=/ ;; esac
  fi
  case $path/ in
    [!/]* | *//* | */../* | */./*) path=/ ;;
  esac
  if [ "$(printf %s "$path" | tr -cd / | wc -c)" -lt "$2" ] || [ "$path" = / ]; then
    refuse
  else
    "undo_$kind" "$rest"
  fi
}

# All units at the same time; one that does not end by itself is killed.
undo_units() {
  units=$(listed unit | sed 's/ .*//; /^network-online.target$/d')
  # shellcheck disable=SC2086 # one word per unit
  if [ -n "$units" ]; then timeout 200 systemctl stop $units >/dev/null 2>&1; fi
  for unit in $units; do
    if systemctl is-active --quiet "$unit"; then
      systemctl kill -s KILL "$unit" && timeout 30 systemctl stop "$unit"
    fi
    case $(systemctl is-active "$unit") in
      active | activating | deactivating | reloading)
        remains "unit $unit: it does not end: systemctl status $unit"
        ;;
    esac
    systemctl disable --quiet "$unit" 2>/dev/null
    systemctl reset-failed "$unit" 2>/dev/null
  done
  if grep -qx 'unit network-online.target static inactive' "$record"; then
    systemctl stop network-online.target
  fi
}
# What ran before labctl came, with files of its own, runs again with those.
restart_units() {
  listed unit | while read -r unit enabled active; do
    systemctl cat "$unit" >/dev/null 2>&1 || continue
    if [ "$enabled" = enabled ]; then
      systemctl enable --quiet "$unit" || remains "$unit is not enabled again"
    fi
    if [ "$active" = active ]; then
      systemctl start "$unit" || remains "$unit does not start again: journalctl -u $unit"
    fi
  done
}

# Rules in the chains of kube-proxy, the kubelet, the pods and the pod network, whichever was cut
# off before it could remove them. Only those chains and the jumps into them are touched, in one
# step.
undo_rules() {
  grep -qx surveyed "$record" || return 0
  ours=
  for chains in KUBE- CNI- LABCTL-; do
    grep -qx "chains $chains" "$record" || ours="$ours|$chains"
  done
  if [ -n "$ours" ]; then
    undo_chains iptables "(${ours#|})"
    undo_chains ip6tables "(${ours#|})"
  fi
  if command -v nft >/dev/null; then undo_tables; fi
}
undo_chains() { # family, names of our chains as a pattern
  "$1-save" 2>/dev/null | awk -v ours="^:?$2" '
    function flush_table() {
      if (chains != "") printf "%s\n%s%s%sCOMMIT\n", table, chains, jumps, removals
      chains = jumps = removals = ""
    }
    /^\*/ {flush_table(); table = $0}
    /^:/ && $1 ~ ours {
      chain = substr($1, 2)
      chains = chains "-F " chain "\n"; removals = removals "-X " chain "\n"
    }
    /^-A / && $2 !~ ours {
      for (i = 3; i < NF; i++) if (($i == "-j" || $i == "-g") && $(i + 1) ~ ours) {
        jumps = jumps "-D" substr($0, 3) "\n"; break
      }
    }
    END {flush_table()}
  ' > "$here/rules"
  [ ! -s "$here/rules" ] || "$1-restore" --noflush -w 10 < "$here/rules" || remains "rules of $1"
}
# Tables and chains that iptables or kube-proxy made on the way; empty, they are as good as not
# there.
undo_tables() {
  for table in 'ip kube-proxy' 'ip6 kube-proxy'; do
    # shellcheck disable=SC2086 # a family and a name
    if nft list table $table >/dev/null 2>&1 && ! grep -qx "rules $table" "$record"; then
      nft delete table $table || remains "the table $table"
    fi
  done
  nft list chains | awk '
    /^table/ {table = $2 " " $3}
    /chain (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) / {print table, $2}
  ' > "$here/chains"
  while read -r family table chain; do
    case $family/$table in
      ip/filter | ip/nat | ip/mangle | ip/raw | ip6/filter | ip6/nat | ip6/mangle | ip6/raw) ;;
      *) continue ;;
    esac
    if ! grep -qx "rules $family $table $chain" "$record" && empty_chain; then
      nft delete chain "$family" "$table" "$chain" ||
        remains "the chain $chain of the table $family $table"
    fi
  done < "$here/chains"
  for family in ip ip6; do
    for table in filter nat mangle raw; do
      if ! grep -qx "rules $family $table" "$record" &&
        nft list table "$family" "$table" > "$here/table" 2>/dev/null &&
        ! grep -q chain "$here/table"; then
        nft delete table "$family" "$table" || remains "the table $family $table"
      fi
    done
  done
}
empty_chain() { # that accepts what it is given
  nft list chain "$family" "$table" "$chain" > "$here/chain"
  grep -q 'policy accept' "$here/chain" &&
    ! grep -qvE '^(#.*|table .*|.chain .*|..type .*|.?\}|)$' "$here/chain"
}

undo_file() { # path
  rm -f -- "$1" "${1%/*}/.${1##*/}.labctl-"* 2>/dev/null || remains "$1"
}
undo_replaced() { # path
  rm -f -- "${1%/*}/.${1##*/}.labctl-"*
  # One that has other names as well is the same file again.
  case $(stat -c %h -- "$state/originals$1") in
    1) false ;;
    *) ln -Pf -- "$state/originals$1" "$1" ;;
  esac 2>/dev/null || cp -a --remove-destination -- "$state/originals$1" "$1" ||
    remains "$1: what was there before lies in $state/originals$1"
}
# Only for what may have happened to it on the way: the lines of ours are gone by now.
undo_kept() { # path
  if [ -s "$1" ] || [ ! -s "$state/originals$1" ]; then return; fi
  cp -a -- "$state/originals$1" "$1" ||
    remains "$1: what was there before lies in $state/originals$1"
}
undo_lines() { # path
  [ -s "$1" ] || rm -f -- "$1" || remains "$1"
}
undo_unended() { # path, its last line
  if [ "$(tail -n 1 "${1%% *}")" = "${1#* }" ]; then
    truncate -s -1 "${1%% *}" || remains "${1%% *}"
  fi
}

mounted() { awk -v below="$1/" 'index($2, below) == 1 {print $2}' /proc/self/mounts | sort -r; }
# Never through a mount: it may be somebody's disk.
clear() { # directory, more of find's words
  mounted "$1" | while read -r point; do umount -l "$(printf %b "$point")"; done
  if [ -n "$(mounted "$1")" ]; then
    remains "$1: $(mounted "$1" | head -n 1) is mounted there"
    return
  fi
  find "$@" -exec rm -rf --one-file-system -- {} + || remains "$1"
}
# What labctl and the lab's programs put there is gone by now, by name. What is left is somebody
# else's.
undo_directory() { # path
  case $own in *" $1 "*) undo_tree "$1"; return ;; esac
  if [ ! -d "$1" ] || rmdir -- "$1" 2>/dev/null; then return; fi
  # Directories that units are linked into are systemd's to keep.
  case $1 in /etc/systemd/*) return ;; esac
  left=$(find "$1" -mindepth 1 -maxdepth 1 -printf '%f ' | head -c 200)
  remark "$1 stays: what is in it was not put there by labctl: ${left% }"
}
undo_empty() { # path
  if [ ! -d "$1" ] || [ -z "$(ls -A -- "$1")" ]; then return; fi
  left=$(find "$1" -mindepth 1 -maxdepth 1 -printf '%f ' | head -c 200)
  remark "$1 was empty and is not: what is in it was not put there by labctl: ${left% }"
}
undo_tree() { # path
  while grep -qF " $1 " /proc/self/mounts; do umount -l "$1" || break; done
  if [ -d "$1" ]; then clear "$1" -maxdepth 0; fi
}
undo_contents() { # path; find does not follow a link that it begins at
  if [ -d "$1" ]; then clear "$(readlink -f -- "$1")" -mindepth 1 -maxdepth 1; fi
}
undo_others() { # path, names that were in it before, each with a slash behind it
  # What came to /run since then may be anybody's: whoever knows what is ours takes that away.
  case $1 in /run/*) return ;; esac
  [ -d "${1%% *}" ] || return 0
  path=$(readlink -f -- "${1%% *}")
  find "$path" -mindepth 1 -maxdepth 1 -printf '%f\n' | while IFS= read -r name; do
    case /${1#* } in */"$name"/*) ;; *) clear "$path/$name" -maxdepth 0 ;; esac
  done
}
undo_attributes() { # path, mode, owner
  owner=${1##* } path=${1% * *}
  mode=${1% *}
  mode=${mode##* }
  [ -d "$path" ] || return 0
  if ! chown "$owner" "$path" || ! chmod "00$mode" "$path"; then
    remains "mode and owner of $path: $mode $owner"
  fi
}

# Lines of /etc/hosts that end like this go.
without() { # ending
  hosts=$(readlink -f /etc/hosts)
  [ -e "$hosts" ] || return 0
  awk -v end="$1" 'substr($0, length($0) - length(end) + 1) != end' "$hosts" \
    > "$here/hosts" || return 1
  cmp -s "$here/hosts" "$hosts" || replace "$here/hosts" "$hosts"
}
undo_hosts() { without " # $1" || remains "names marked $1 in /etc/hosts"; } # mark
# One name, as labs of older versions have them.
undo_hosts_entry() { without " $1 # labctl" || remains "$1 in /etc/hosts"; } # name

undo_route() { # destination; with more of it when there was another one than ours
  case $1 in *:*) family=-6 ;; *) family=-4 ;; esac
  if [ "$1" != "${1#* }" ]; then
    # shellcheck disable=SC2086 # words of a route
    ip $family route replace $1 || remains "the route $1"
  elif ip "$family" route show exact "$1" | grep -q .; then
    ip "$family" route del "$1" || remains "the route to $1"
  fi
}
undo_link() { # name
  ip link show "$1" >/dev/null 2>&1 || return 0
  # The cables of pods at a bridge of ours. With a pod's network namespace the kernel would take its
  # cable, too, but in its own time.
  ip -o link show master "$1" type veth 2>/dev/null | while IFS=' :@' read -r _ cable _; do
    ip link del "$cable" 2>/dev/null || :
  done
  ip link del "$1" || remains "the link $1"
}
undo_sysctl() { # key, value
  set_back "${1%% *}" "/proc/sys/$(printf %s "${1%% *}" | tr . /)" "${1#* }"
}
undo_setting() { # path, value
  case $1 in
    *..*) refuse ;;
    /proc/sys/* | /sys/*) set_back "${1%% *}" "${1%% *}" "${1#* }" ;;
    *) refuse ;;
  esac
}
# A setting that went with its module, and one that the kernel keeps for itself, are as they were.
set_back() { # name, path, value
  [ -w "$2" ] && [ "$(cat "$2")" != "$3" ] || return 0
  printf '%s\n' "$3" > "$2" || remains "$1: it was $3 and is $(cat "$2")"
}
# One that somebody else uses by now has to stay.
undo_module() { modprobe -q -r "$1"; } # name
undo_swap() { # device, priority
  device=${1% *}
  # The kernel's own choice of a priority is below zero, and cannot be asked for.
  case ${1##* } in -*) priority= ;; *) priority="-p ${1##* }" ;; esac
  # shellcheck disable=SC2086 # an option and its value, or nothing
  swapon --noheadings --show=NAME | grep -qxF "$device" || swapon $priority "$device" ||
    remains "swap on $device"
}

undo_user() { # name
  getent passwd "$1" >/dev/null || return 0
  group=$(getent group "$1" | cut -d : -f 3)
  userdel "$1" || remains "the user $1"
  # Its group goes with it, also when that was there first.
  if [ -n "$group" ] && ! getent group "$1" >/dev/null && ! grep -qxF "group $1" "$record"; then
    groupadd --system --gid "$group" "$1" || remains "the group $1, which was there before"
  fi
}
undo_group() { # name
  ! getent group "$1" >/dev/null || groupdel "$1" || remains "the group $1"
}

undo_fstab() {
  grep -qs '^# labctl: .*swap' /etc/fstab || return 0
  sed -i --follow-symlinks '/swap/s/^# labctl: //' /etc/fstab || remains "swap in /etc/fstab"
}

# What labctl installed, unless somebody installed something since that needs it.
undo_packages() {
  packages=$(listed package | while read -r name; do
    if package_is_there "$name"; then echo "$name"; fi
  done)
  [ -n "$packages" ] || return 0
  # shellcheck disable=SC2086 # one word per package
  others=$(packages_to_go $packages | grep -vxF "$packages")
  if [ -n "$others" ]; then
    # shellcheck disable=SC2086 # one word per package
    remains packages $packages because these need them: $others
    return
  fi
  # shellcheck disable=SC2086 # one word per package
  drop_packages $packages || remains packages $packages
}
