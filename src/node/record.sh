# The node record: one line for each thing that labctl makes or changes here, written before it is
# made, so that a teardown knows of it even when the run was cut off in between.
record=$state/record
newline='
'
# As it was when this script began. What is in here needs no look; what is not may have been added
# since, by another play. A line that was cut off (the disk was full, the power went) must not run
# into the next one, nor be taken for a whole one: it may name something else by then. What it was
# about was not made yet.
begun=$newline$(cat "$record" 2>/dev/null; echo .)
case $begun in
  *"$newline.") begun=${begun%.} ;;
  *) begun="${begun%.} #torn$newline"; echo ' #torn' >> "$record" ;;
esac
begun=$begun$newline
recorded() { # lines; whether one of them is in the record
  for line; do
    case $begun in *"$newline$line$newline"*) return 0 ;; esac
  done
  for line; do
    grep -qxF -e "$line" "$record" 2>/dev/null && return 0
  done
  return 1
}
made() {
  recorded "$*" || printf '%s\n' "$*" >> "$record"
}
# The same for a line that holds what was found: only the first finding counts, later ones are our
# own work.
found() { # kind and subject, what was found
  has_finding "$1" || printf '%s %s\n' "$1" "$2" >> "$record"
}
has_finding() { # kind and subject; whether a line in the record begins with them
  case $begun in *"$newline$1 "*) return 0 ;; esac
  begins=$1 awk 'index($0, ENVIRON["begins"] " ") == 1 {it = 1; exit} END {exit !it}' \
    "$record" 2>/dev/null
}
made_sysctl() { # key, value found, value wanted; what was so already is nobody's to put back
  [ "$(printf %s "$2" | tr -s '\t ' ' ')" = "$(printf %s "$3" | tr -s '\t ' ' ')" ] ||
    found "sysctl $1" "$2"
}
made_module() { # name
  [ -e "/sys/module/$(printf %s "$1" | tr - _)" ] || made "module $1"
}
made_unit() { # its name, after `see`; with how it was before, because it may have been somebody's
  survey
  found "unit $1" "${enabled:-none} ${active:-inactive}"
}
# What there is before the first unit of ours starts: the rules that other programs have, and what
# our units pull in.
survey() {
  recorded surveyed && return 0
  if command -v nft >/dev/null; then
    nft list tables | awk '/^table/ {print "rules", $2, $3}' >> "$record"
    nft list chains | awk '/^table/ {of = $2 " " $3} /chain/ {print "rules", of, $2}' >> "$record"
  fi
  for chains in KUBE- CNI- LABCTL-; do
    if { iptables-save; ip6tables-save; } 2>/dev/null | grep -q "^:$chains"; then
      made "chains $chains"
    fi
  done
  found 'unit network-online.target' "static $(systemctl is-active network-online.target || :)"
  made surveyed
}
# What a unit's program makes or changes by itself.
leaves() { # path...
  for path; do
    case $path in
      /sys/class/net/*) ip link show "${path##*/}" >/dev/null 2>&1 || made "link ${path##*/}" ;;
      /proc/sys/* | /sys/*) [ ! -r "$path" ] || found "setting $path" "$(cat "$path")" ;;
      *)
        if recorded "tree $path" "contents $path" || has_finding "others $path"; then continue; fi
        if [ -d "$path" ]; then
          # Made by another task of ours, or somebody's that is still empty.
          if recorded "directory $path"; then made "tree $path"; continue; fi
          occupied "$path"
          if recorded "empty $path"; then made "contents $path"; else note_others "$path"; fi
        elif [ ! -e "$path" ] && [ ! -L "$path" ]; then
          above "${path%/*}"
          made "tree $path"
        fi
        ;;
    esac
  done
}
note_others() { # a directory that has something in it: what else is in it later is our program's
  names=$(find -L "$1" -mindepth 1 -maxdepth 1 -printf '%f/' | head -c 4000; echo .)
  case $names in
    *"$newline"*) ;;
    */.) found "others $1" "${names%.}" ;;
  esac
}
above() { # a folder that a program will make, with those above it that are missing
  [ -n "$1" ] && [ ! -d "$1" ] || return 0
  above "${1%/*}"
  made "directory $1"
}
occupied() { # a directory of somebody's that we work in: its attributes come back
  if recorded "directory $1" "empty $1" || has_finding "attributes $1"; then return; fi
  # What is in it later may be ours, and whoever was there first had nothing in it.
  [ -n "$(ls -A -- "$1")" ] || made "empty $1"
  found "attributes $1" "$(stat -L -c '%a %U:%G' -- "$1")"
}
claim() { # a file that is about to be written: ours, or somebody's whose copy is kept
  case $1 in "$state"/*) return 0 ;; esac
  case $begun in *"${newline}file $1$newline"* | *"${newline}replaced $1$newline"*) return 0 ;; esac
  if [ ! -e "$1" ] && [ ! -L "$1" ]; then
    # It may be in there since then, and be gone again: a second line does no harm.
    printf 'file %s\n' "$1" >> "$record"
  elif ! recorded "file $1" "replaced $1"; then
    mkdir -p "$state/originals${1%/*}"
    # One that has other names as well has to have them afterwards.
    saved=$state/originals$1
    { [ "$(stat -c %h -- "$1")" != 1 ] && ln -P -- "$1" "$saved" 2>/dev/null; } ||
      cp -a -- "$1" "$saved"
    made "replaced $1"
  fi
}
# A copy of how it was, once, for whatever may happen to it.
keep() { # a file of somebody's that we change a part of
  if recorded "kept $1" "lines $1"; then return; fi
  mkdir -p "$state/originals${1%/*}"
  cp -a -- "$1" "$state/originals$1"
  made "kept $1"
}
claim_lines() { # a file of somebody's that lines of ours are added to
  if [ ! -e "$1" ]; then
    made "lines $1"
    : > "$1"
  elif [ -s "$1" ] && [ -n "$(tail -c 1 -- "$1")" ]; then
    # It does not end in a newline, and will not afterwards.
    found "unended $1" "$(tail -n 1 -- "$1")"
  fi
}
# A user for a program and a group of the same name, where one of them is missing.
make_user() { # name, home
  # Copies of how it was before, which the tools for users keep; they will come back, too.
  for copy in passwd shadow group gshadow; do claim "/etc/$copy-"; done
  [ -e /etc/.pwd.lock ] || claim /etc/.pwd.lock
  if ! getent group "$1" >/dev/null; then
    made "group $1"
    groupadd --system "$1"
  fi
  if ! getent passwd "$1" >/dev/null; then
    made "user $1"
    useradd --system --gid "$1" --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
  fi
}
# Installs packages, and notes first which ones come with them. How that is done is in
# `src/node/family/`, in front of the task.
install_packages() { # name...
  # shellcheck disable=SC2154 # `manager` stands there
  command -v "$manager" >/dev/null || {
    echo "there is no $manager: install these packages by hand, then run again" >&2
    return 1
  }
  for again in no yes; do
    come=$(packages_to_come "$@") && note_packages && add_packages "$@" && return
    [ $again = yes ] || refresh_packages
  done
  return 1
}
note_packages() {
  for package in $come; do made "package $package"; done
}
# Says on the node which lab it belongs to, before anything else changes there.
mark() { # text
  [ "$(cat "$state/lab" 2>/dev/null)" = "$1" ] && return 0
  {
    # Another play of this run may be at it, too.
    printf '%s\n' "$1" > "$here/lab" && chmod 644 "$here/lab" && sync "$here/lab" &&
      mv -fT "$here/lab" "$state/lab" && sync "$state"
  } > "$here/output" 2>&1 && return 0
  printf '@start 0\n'
  sed 's/^/@output /' "$here/output"
  echo "@output $state/lab cannot be written, and nothing was changed"
  printf '@fail 0 1\n'
  return 1
}
# The keys that cannot be made again. One that this lab has no other copy of is kept when another
# takes its place: whatever the reason, it may be the last.
keep_key() { # path of a file that is about to be written
  [ -f "$1" ] || return 0
  case $1 in
    /etc/kubernetes/pki/ca.key | /etc/kubernetes/pki/etcd/ca.key | \
      /etc/kubernetes/pki/front-proxy-ca.key | /etc/kubernetes/pki/sa.key)
      print=$(sha256sum < "$1")
      print=${print%% *}
      ;;
    /etc/kubernetes/encryption-config.yaml)
      print=$(sed -n 's/^ *secret: *//p' "$1" | head -n 1 | tr -d '\n' | sha256sum)
      print=${print%% *}
      ;;
    *) return 0 ;;
  esac
  # shellcheck disable=SC2154 # `related` stands above this text
  case " $related " in *" $print "*) return 0 ;; esac
  [ ! -e "$state/kept-keys$1.$print" ] || return 0
  mkdir -p -- "$state/kept-keys${1%/*}"
  chmod 700 "$state/kept-keys"
  install -m 600 -- "$1" "$here/kept"
  sync "$here/kept"
  mv -fT -- "$here/kept" "$state/kept-keys$1.$print"
  sync "$state/kept-keys${1%/*}"
}
