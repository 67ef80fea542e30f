# labctl: one play on one node. $1 is a folder of this run: this script, its payloads, its output.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 022
here=$1
# shellcheck disable=SC2034 # for the tasks
payload=$here/payload
state=/var/lib/labctl

folders() { # a folder and those above it, where missing
  [ -n "$1" ] && [ ! -d "$1" ] || return 0
  if [ -e "$1" ] || [ -L "$1" ]; then
    # Not ours, so it must not get into the record either: a teardown would remove it.
    echo "$1 is there and is not a folder"
    return 1
  fi
  folders "${1%/*}"
  made "directory $1"
  mkdir -p -- "$1"
}
folder() { # mode, owner, path
  if [ -d "$3" ]; then occupied "$3"; else folders "$3"; fi
  chown "$2" "$3"
  # With fewer digits chmod would leave a folder's set-group-ID bit as it is.
  chmod "00$1" "$3"
}
# Files appear whole or not at all: a temporary name in the same folder, checked, then renamed. The name ends in
# something that no program looks for: CNI reads every *.conflist of its folder, also the hidden ones.
begin() { # path; sets $temporary
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    echo "$1 is a folder, and a file is wanted there"
    return 1
  fi
  folders "${1%/*}"
  claim "$1"
  temporary=${1%/*}/.${1##*/}.labctl-
  # What a killed run left. Another play of this run may be at the same file. A process that has ended but was not
  # waited for yet still takes signals, but has no program any more.
  for old in "$temporary"*; do
    [ -e "/proc/${old##*-}/exe" ] || rm -f -- "$old"
  done
  temporary=$temporary$$
}
put() { # mode, owner, sha256, source, path
  begin "$5"
  install -m "$1" -o "${2%:*}" -g "${2#*:}" -- "$4" "$temporary" || torn
  if [ "$(sha256sum < "$temporary")" != "$3  -" ]; then
    echo "$5: what arrived has another checksum than what was sent"
    torn
  fi
  mv -fT -- "$temporary" "$5"
}
torn() { # a copy that is not whole
  rm -f -- "$temporary"
  return 1
}
# A blob of the store, in its place: a hard link costs nothing; another file system gets a copy. Its hash is noted with
# the stat signature of both names, so that the next probe need not read them again.
link() { # mode, owner, sha256, path
  begin "$4"
  blob=$state/blobs/$3
  # All names of a file share its mode and owner, so where others have it otherwise this one has to be a copy.
  case $(stat -c '%h %a %U:%G' -- "$blob") in
    "1 "* | *" $1 $2") ln -- "$blob" "$temporary" 2>/dev/null || cp -- "$blob" "$temporary" || torn ;;
    *) cp -- "$blob" "$temporary" || torn ;;
  esac
  chown "$2" "$temporary"
  chmod "$1" "$temporary"
  # Two names of one file cannot be renamed over each other: then the link is there already.
  # shellcheck disable=SC3013 # POSIX has had -ef since 2024, and shells long before
  if [ "$temporary" -ef "$4" ]; then rm -f -- "$temporary"; else mv -fT -- "$temporary" "$4"; fi
  # shellcheck disable=SC2154 # `signature` stands above this text: the stat format that probes use
  stat -c "$3	$signature" -- "$4" "$blob" >> "$state/known"
}
note_file() { # source, path
  begin "$2"
  cp -- "$1" "$temporary"
  mv -fT -- "$temporary" "$2"
}
note() { # text, path
  printf '%s\n' "$1" > "$here/note"
  note_file "$here/note" "$2"
}
# Said by a task that found nothing to change.
same() { : > "$here/same"; }

# How systemd sees a unit: sets $active, $enabled (empty when there is no such unit) and $stale.
see() { # unit
  active='' enabled='' stale=''
  while IFS='=' read -r key value; do
    case $key in
      ActiveState) active=$value ;;
      UnitFileState) enabled=$value ;;
      NeedDaemonReload) stale=$value ;;
    esac
  done << END
$(systemctl show -p ActiveState,UnitFileState,NeedDaemonReload -- "$1")
END
  [ -n "$active" ] || return 1
}
# Has systemd take up unit files that it has not read yet; then it may see the unit differently.
reread() { # unit, after `see`
  [ "$stale" = yes ] || return 0
  systemctl daemon-reload
  rm -f "$here/enabled"
  see "$1"
}
# What is started at boot is nothing that systemd must know at once, but it must know it some time: `finish` tells it,
# because it then reads every unit of the machine again. (From version 255 on it asks for that at the next unit.)
enable() { # unit, after `see`
  case $enabled in
    enabled | static | generated | alias | indirect) return 0 ;;
  esac
  systemctl enable --quiet --no-reload -- "$1"
  : > "$here/enabled"
}
# At the end of all tasks, of one that fails too, and before one that waits.
finish() {
  [ -e "$here/enabled" ] || return 0
  rm -f "$here/enabled"
  systemctl daemon-reload
}

# Runs one task and says how it went, in lines that only this function writes: a task's own output goes to a file.
run() { # number, unit whose journal explains a failure
  printf '@start %s\n' "$1"
  [ ! -e "$here/same" ] || rm -f "$here/same"
  ( set -e; "task_$1" ) > "$here/output" 2>&1 < /dev/null
  code=$?
  if [ "$code" -eq 0 ]; then
    if [ -e "$here/same" ]; then printf '@same %s\n' "$1"; else printf '@done %s\n' "$1"; fi
    return
  fi
  tail -n 20 "$here/output" | sed 's/^/@output /'
  finish
  [ -z "$2" ] || journalctl -u "$2" -n 15 --no-pager -o short-iso 2>/dev/null | sed 's/^/@journal /'
  printf '@fail %s %s\n' "$1" "$code"
  exit 0
}
