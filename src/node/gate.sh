# labctl: lets other nodes of a run read this node's blob store, for as long as the run holds this
# script's input open.
# shellcheck disable=SC2154 # state, user, public and minutes stand above this text
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
trap '' HUP PIPE

mkdir -p "$state/runs" "$state/blobs" || exit 1
sweep_runs
here=$(mktemp -d "$state/runs/$$.XXXXXXXX") || exit 1
trap 'rm -rf -- "$here"' EXIT

home=$(getent passwd "$user" | cut -d: -f6)
group=$(id -gn "$user")
keys=$(readlink -f -- "$home/.ssh/authorized_keys" 2>/dev/null)
: "${keys:=$home/.ssh/authorized_keys}"
printf '%s\n' "$keys" > "$here/keys" || exit 1

# How our line is taken out. It is a file of its own, so that whoever finds the directory of a run
# that was killed, by a power failure for instance, can do it as well.
cat > "$here/undo" << 'EOF' || exit 1
mark=' labctl-spread'
keys=$(cat "${here:=${0%/*}}/keys") && [ -n "$keys" ] || exit 1
new=${keys%/*}/.authorized_keys.labctl-$$
others() {
  grep -v "$mark" "$keys"
  [ $? -le 1 ]
}
# Takes out what a run put in, this one or one that was killed, and leaves the file byte for byte as
# it was. When there is no room to write it, it stays as it is.
take_out() {
  rm -f -- "${keys%/*}"/.authorized_keys.labctl-*
  [ -f "$keys" ] && grep -q "$mark" "$keys" || return 0
  made=$(grep -m 1 "$mark" "$keys")
  made=${made##*"$mark"}
  if cp -a -- "$keys" "$new" && others > "$new" && others | cmp -s -- - "$new"; then
    # The line before ours may have had no end of its own.
    case $made in *line*)
      case $(tail -n 1 "$keys") in *"$mark"*) truncate -s -1 "$new" || return 1 ;; esac ;;
    esac
    case $made in *file*) if [ ! -s "$new" ]; then
      rm -f -- "$new" "$keys"
      case $made in *folder*) rmdir -- "${keys%/*}" 2>/dev/null ;; esac
      return 0
    fi ;; esac
    sync -- "$new" && mv -fT -- "$new" "$keys" && return 0
  fi
  rm -f -- "$new"
  return 1
}
case $0 in */undo) take_out ;; esac
EOF
# shellcheck source=/dev/null
. "$here/undo"

# Lets the run's key in, to one command and nothing else, and not for longer than the run can take.
put_in() {
  [ -n "$home" ] && [ -d "$home" ] && take_out || return 1
  made=
  if [ ! -d "${keys%/*}" ]; then
    install -d -m 700 -o "$user" -g "$group" -- "${keys%/*}" || return 1
    made=$made,folder
  fi
  add_line && return 0
  rm -f -- "$new"
  case $made in *folder*) rmdir -- "${keys%/*}" 2>/dev/null ;; esac
  return 1
}
add_line() {
  if [ -e "$keys" ]; then
    cp -a -- "$keys" "$new" && cmp -s -- "$keys" "$new" || return 1
  else
    install -m 600 -o "$user" -g "$group" -- /dev/null "$new" || return 1
    made=$made,file
  fi
  if [ -s "$new" ] && [ "$(tail -c 1 "$new" | wc -l)" = 0 ]; then
    echo >> "$new" || return 1
    made=$made,line
  fi
  sudo=
  [ "$user" = root ] || sudo='sudo -n '
  until=$(date -d "+$minutes minutes" +%Y%m%d%H%M) || return 1
  # shellcheck disable=SC2016 # sshd's shell fills it in
  give='give \"$SSH_ORIGINAL_COMMAND\"'
  line=$(printf 'restrict,expiry-time="%s",command="%ssh %s/%s" %s%s%s' \
    "$until" "$sudo" "$here" "$give" "$public" "$mark" "$made")
  printf '%s\n' "$line" >> "$new" && [ "$(tail -n 1 "$new")" = "$line" ] || return 1
  sync -- "$new" && mv -fT -- "$new" "$keys"
}

cleanup() {
  take_out
  rm -rf -- "$here"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# What the key's holder may run: it gives blobs by their SHA-256, packed as they came when they are
# asked for so.
cat > "$here/give" << 'EOF' || exit 1
set -f
here=${0%/*}
state=${here%/runs/*}
form=${1%% *}
for sha in ${1#* }; do
  case $sha in *[!0-9a-f]*) exit 1 ;; esac
  [ "${#sha}" = 64 ] || exit 1
  if [ "$form" = zst ] && [ -f "$here/$sha.zst" ]; then
    printf '%s zst %18s\n' "$sha" "$(stat -c %s "$here/$sha.zst")"
    cat "$here/$sha.zst" || exit 1
  else
    printf '%s raw %18s\n' "$sha" "$(stat -c %s "$state/blobs/$sha" || echo 0)"
    cat "$state/blobs/$sha" || exit 1
  fi
done
EOF

# The key that this node itself asks others with, and the host keys that the workstation has seen of
# them.
until_dot() {
  while IFS= read -r line && [ "$line" != . ]; do printf '%s\n' "$line"; done
}
until_dot > "$here/key" || exit 1
until_dot > "$here/known_hosts" || exit 1
until_dot | while IFS= read -r sha; do
  [ ! -f "$state/blobs/$sha" ] || echo "@has $sha"
done
command -v ssh > /dev/null && echo "@takes"
put_in && echo "@gives"
echo "@open $here"
cat > /dev/null
