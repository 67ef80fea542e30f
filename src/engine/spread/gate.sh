# labctl: lets other nodes of a run read this node's blob store, for as long as the run holds this script's input open.
# shellcheck disable=SC2154 # state, user, public and minutes stand above this text
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
trap '' HUP PIPE
mark=' labctl-spread'

mkdir -p "$state/runs" "$state/blobs" || exit 1
for old in "$state"/runs/*; do
  pid=${old##*/}
  [ -e "/proc/${pid%.*}/exe" ] || rm -rf "$old"
done
here=$(mktemp -d "$state/runs/$$.XXXXXXXX") || exit 1

home=$(getent passwd "$user" | cut -d: -f6)
group=$(id -gn "$user")
keys=$(readlink -f -- "$home/.ssh/authorized_keys" 2>/dev/null)
: "${keys:=$home/.ssh/authorized_keys}"
new=${keys%/*}/.authorized_keys.labctl-$$

# Takes out what a run put in, this one or one that was killed, and leaves the file byte for byte as it was.
take_out() {
  rm -f -- "${keys%/*}"/.authorized_keys.labctl-*
  [ -f "$keys" ] && grep -q "$mark" "$keys" || return 0
  made=$(grep -m 1 "$mark" "$keys")
  made=${made##*"$mark"}
  cp -a -- "$keys" "$new" || return 1
  grep -v "$mark" "$keys" > "$new"
  # The line before ours may have had no end of its own.
  case $made in *line*) case $(tail -n 1 "$keys") in *"$mark"*) truncate -s -1 "$new" ;; esac ;; esac
  case $made in *file*) if [ ! -s "$new" ]; then
    rm -f -- "$new" "$keys"
    case $made in *folder*) rmdir -- "${keys%/*}" 2>/dev/null ;; esac
    return 0
  fi ;; esac
  mv -fT -- "$new" "$keys"
}

# Lets the run's key in, to one command and nothing else, and not for longer than the run can take.
put_in() {
  [ -n "$home" ] && [ -d "$home" ] && take_out || return 1
  made=
  if [ ! -d "${keys%/*}" ]; then
    install -d -m 700 -o "$user" -g "$group" -- "${keys%/*}" || return 1
    made=$made,folder
  fi
  if [ -e "$keys" ]; then
    cp -a -- "$keys" "$new" || return 1
  else
    install -m 600 -o "$user" -g "$group" -- /dev/null "$new" || return 1
    made=$made,file
  fi
  if [ -s "$new" ] && [ "$(tail -c 1 "$new" | wc -l)" = 0 ]; then
    echo >> "$new"
    made=$made,line
  fi
  sudo=
  [ "$user" = root ] || sudo='sudo -n '
  until=$(date -d "+$minutes minutes" +%Y%m%d%H%M) || return 1
  # shellcheck disable=SC2016 # sshd's shell fills it in
  printf 'restrict,expiry-time="%s",command="%ssh %s/give \\"$SSH_ORIGINAL_COMMAND\\"" %s%s%s\n' \
    "$until" "$sudo" "$here" "$public" "$mark" "$made" >> "$new" && mv -fT -- "$new" "$keys"
}

cleanup() {
  take_out
  rm -rf -- "$here"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# What the key's holder may run: it gives blobs by their SHA-256, packed as they came when they are asked for so.
cat > "$here/give" <<'EOF'
set -f
here=${0%/*}
state=${here%/runs/*}
form=${1%% *}
for sha in ${1#* }; do
  case $sha in *[!0-9a-f]*) exit 1 ;; esac
  [ "${#sha}" = 64 ] || exit 1
  if [ "$form" = zst ] && [ -f "$here/$sha.zst" ]; then
    printf '%s zst %s\n' "$sha" "$(stat -c %s "$here/$sha.zst")"
    cat "$here/$sha.zst" || exit 1
  else
    printf '%s raw %s\n' "$sha" "$(stat -c %s "$state/blobs/$sha" || echo 0)"
    cat "$state/blobs/$sha" || exit 1
  fi
done
EOF

# The key that this node itself asks others with, and the host keys that the workstation has seen of them.
until_dot() {
  while IFS= read -r line && [ "$line" != . ]; do printf '%s\n' "$line"; done
}
until_dot > "$here/key"
until_dot > "$here/known_hosts"
until_dot | while IFS= read -r sha; do
  [ ! -f "$state/blobs/$sha" ] || echo "@has $sha"
done
command -v ssh > /dev/null && echo "@takes"
put_in && echo "@gives"
echo "@open $here"
cat > /dev/null
