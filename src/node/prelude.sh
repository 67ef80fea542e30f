# labctl: one play on one node. $1 is a folder of this run: this script, its payloads, its output.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
# Companies give every login a proxy. Nothing within a lab is behind one; packages are.
outer=${NO_PROXY-${no_proxy-}}
NO_PROXY='*'
no_proxy='*'
export NO_PROXY no_proxy
outside() { NO_PROXY=$outer no_proxy=$outer "$@"; }
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
# Files appear whole or not at all: a temporary name in the same folder, checked, then renamed. The
# name ends in something that no program looks for: CNI reads every *.conflist of its folder, also
# the hidden ones.
begin() { # path; sets $temporary
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    echo "$1 is a folder, and a file is wanted there"
    return 1
  fi
  folders "${1%/*}"
  claim "$1"
  keep_key "$1"
  temporary=${1%/*}/.${1##*/}.labctl-
  # What a killed run left. Another play of this run may be at the same file. A process that has
  # ended but was not waited for yet still takes signals, but has no program any more.
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
# A blob of the store, in its place: a hard link costs nothing; another file system gets a copy. Its
# hash is noted with the stat signature of both names, so that the next probe need not read them
# again.
link() { # mode, owner, sha256, path
  begin "$4"
  blob=$state/blobs/$3
  # All names of a file share its mode and owner, so where others have it otherwise this one has to
  # be a copy.
  case $(stat -c '%h %a %U:%G' -- "$blob") in
    "1 "* | *" $1 $2")
      ln -- "$blob" "$temporary" 2>/dev/null || cp -- "$blob" "$temporary" || torn
      ;;
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
# Waits for something that comes true by itself. It changes nothing, so the task is reported as
# unchanged however long it took. The last failed check's output is what explains a time-out.
# Whether a condition is true. It becomes a file, because an argument has a maximum length.
holds() { # condition
  printf '%s\n' "$1" > "$payload/condition"
  sh "$payload/condition"
}
wait_until() { # seconds, condition
  same
  finish
  end=$(($(date +%s) + $1))
  printf '%s\n' "$2" > "$payload/condition"
  until timeout 15 sh "$payload/condition" > "$payload/check" 2>&1; do
    if [ "$(date +%s)" -ge $end ]; then
      cat "$payload/check"
      echo "timed out after $1 s"
      return 1
    fi
    sleep 0.2
  done
}
# Applies a manifest, and keeps it once that has succeeded.
apply_objects() { # sha256 of the manifest among the payloads, its mode, its path, kubectl...
  sha=$1 mode=$2 kept=$3
  shift 3
  "$@" apply -f "$payload/$sha" > "$payload/applied" 2> "$payload/said" || {
    code=$?
    cat "$payload/applied"
    # It quotes what it could not apply.
    if [ "$mode" = 600 ]; then reasons < "$payload/said"; else cat "$payload/said"; fi
    return "$code"
  }
  cat "$payload/applied"
  [ "$mode" = 600 ] || cat "$payload/said"
  if cmp -s "$payload/$sha" "$kept" && [ "$(stat -c %a -- "$kept")" = "$mode" ] &&
    ! grep -qv ' unchanged$' "$payload/applied"; then same; fi
  put "$mode" root:root "$sha" "$payload/$sha" "$kept"
}
# Of what kubectl says, what holds nothing of a manifest.
reasons() {
  echo 'There is a Secret in this manifest, so kubectl is not quoted in full:'
  sed -n -e 's/^\(Error from server ([A-Za-z]*)\).*/\1/p' -e '/^The connection to the server /p' \
    -e 's/^\(error: \(unable to recognize\|resource mapping not found\)\).*/\1/p' \
    -e 's/^\(error: no matches for kind\).*/\1/p' \
    -e 's/^\(The [A-Za-z]* "[^"]*" is invalid\).*/\1/p' \
    -e 's/^\(Unable to connect to the server\).*/\1/p'
}
# A kernel setting, now and after a reboot.
set_sysctl() { # key, value, its file in /proc/sys, the line and the file that say it again at boot
  was=$(cat "$3")
  made_sysctl "$1" "$was" "$2"
  note "$4" "$5"
  printf '%s\n' "$2" > "$3"
}

# How systemd sees a unit: sets $active, $sub, $enabled (empty when there is no such unit), $stale,
# $job (what it is about to do), and of a service $type, $main (its process), $code and $status (how
# the last one ended), $restarts and $invocation.
see() { # unit
  active='' sub='' enabled='' stale='' job='' type='' main=0 code=0 status=0 restarts=0
  invocation=''
  while IFS='=' read -r key value; do
    case $key in
      ActiveState) active=$value ;;
      SubState) sub=$value ;;
      UnitFileState) enabled=$value ;;
      NeedDaemonReload) stale=$value ;;
      Job) job=$value ;;
      Type) type=$value ;;
      MainPID) main=$value ;;
      ExecMainCode) code=$value ;;
      ExecMainStatus) status=$value ;;
      NRestarts) restarts=$value ;;
      InvocationID) invocation=$value ;;
    esac
  done << END
$(systemctl show -p "ActiveState,SubState,UnitFileState,NeedDaemonReload,Job,$seen" -- "$1")
END
  [ -n "$active" ] || return 1
}
seen=Type,MainPID,ExecMainCode,ExecMainStatus,NRestarts,InvocationID
# Has systemd take up unit files that it has not read yet; then it may see the unit differently.
reread() { # unit, after `see`
  [ "$stale" = yes ] || return 0
  systemctl daemon-reload
  rm -f "$here/enabled"
  see "$1"
}
# What is started at boot is nothing that systemd must know at once, but it must know it some time:
# `finish` tells it, because it then reads every unit of the machine again. (From version 255 on it
# asks for that at the next unit.)
enable_unit() { # unit, after `see`
  case $enabled in
    enabled | static | generated | alias | indirect) return 0 ;;
  esac
  systemctl enable --quiet --no-reload -- "$1"
  : > "$here/enabled"
}
disable() { # unit
  systemctl disable --quiet "$1" 2>/dev/null || :
}
# A unit that crashed too often refuses to start until its failures are forgotten.
start() { # unit, after `see`; `restart` or `reload-or-restart`
  [ "$active" = inactive ] || systemctl reset-failed "$1" 2>/dev/null || :
  systemctl "$2" "$1"
}
stop() { # unit, the note of what it was started with
  systemctl stop "$1"
  rm -f "$2"
}
# Hundredths of a second since the machine began, which no clock that is set can change.
now() {
  read -r now _ < /proc/uptime
  now=${now%.*}${now#*.}
}
# Said by a task that has started a unit: the task is done when the unit was seen to stay up.
stays() { # unit, at least and at most so long (hundredths of a second), what to note then, where
  now
  see "$1"
  printf '%s\n' "$1 $now $restarts $2 $3 $4 $5" > "$here/watched"
}
# Whether a unit stays up. One that says itself when it is ready was waited for by systemctl. Of any
# other nobody knows more than that its program was started: it is watched until it listens and goes
# on for a moment, or for long enough. Of one that does not, sets $ended: the run of it (its
# invocation) that ended last.
watch() { # unit, since when, restarts then, at least and at most so long
  heard='' flaps='' ended=''
  while see "$1"; do
    now
    # Somebody has it restart, as an API server does with those beside it: that it ends now says
    # nothing, and what starts then is the unit to watch.
    if [ -n "$job" ] && [ $((now - $2)) -lt $(($5 + 500)) ]; then
      heard='' flaps=''
      sleep 0.1
      continue
    fi
    # Started again between two looks.
    if [ -n "$flaps" ] && [ "$ended" != "$invocation" ]; then break; fi
    ended=$invocation
    case $active/$sub in
      failed/* | */auto-restart*) break ;;
      inactive/*) [ "$type" != oneshot ] || return 0; break ;;
      deactivating/*) flaps=yes ;;
    esac
    # It may run at this moment, but how it ended is known when it has ended again.
    [ "$restarts" -le "$3" ] || flaps=yes
    if [ $((now - $2)) -ge $(($5 + 500)) ]; then break; fi
    if [ -z "$flaps" ] && [ "$active" != activating ]; then
      case $type in simple | exec | idle) ;; *) return 0 ;; esac
      if [ -z "$heard" ] && ss -Hltnp 2>/dev/null | grep -q "pid=$main,"; then heard=$now; fi
      if [ $((now - $2)) -ge "$5" ]; then return 0; fi
      if [ -n "$heard" ] && [ $((now - $2)) -ge "$4" ] && [ $((now - heard)) -ge 50 ]; then
        return 0
      fi
    fi
    sleep 0.1
  done
  case $code in
    2 | 3) how="its program was killed by signal $status" ;;
    1) how="its program ended with exit code $status" ;;
    0) how='its program ended' ;;
    *) how="it is $active ($sub)" ;;
  esac
  echo "$1 does not stay up: $how; started again $restarts times"
  return 1
}
# Watches the units that tasks have started, all at the same time, and says how these tasks went.
settle() {
  [ -e "$here/pending" ] || return 0
  mv -- "$here/pending" "$here/settling"
  fails=''
  while read -r number unit since before least most fingerprint place; do
    if watch "$unit" "$since" "$before" "$least" "$most" > "$here/output"; then
      note_file "$payload/$fingerprint" "$place"
      printf '@done %s\n' "$number"
    else
      # shellcheck disable=SC2154 # `did_not_stay` stands above this text
      note "$did_not_stay" "$place"
      failed "$number" "$unit" 1 "$ended"
      fails=yes
    fi
  done < "$here/settling"
  [ -z "$fails" ] || { finish; exit 0; }
}
failed() { # number, unit whose journal explains it, exit code, which run of it if not the last
  tail -n 20 "$here/output" | sed 's/^/@output /'
  [ -z "$2" ] || journal "$2" "$4" | cut -c 1-1000 | sed 's/^/@journal /'
  printf '@fail %s %s\n' "$1" "$3"
}
# What the journal has of one run of a unit; of others only when that left no word.
journal() { # unit, which run of it if not the last
  if [ -n "$2" ]; then invocation=$2; else see "$1" || :; fi
  timeout 5 journalctl --sync > /dev/null 2>&1 || :
  last=''
  [ -z "$invocation" ] ||
    last=$(entries "_SYSTEMD_INVOCATION_ID=$invocation" + "INVOCATION_ID=$invocation")
  if [ -n "$last" ]; then printf '%s\n' "$last"; else entries -u "$1"; fi
}
entries() { # which
  timeout 20 journalctl -q --no-pager -o cat -n 200 "$@" 2>/dev/null
}
# At the end of all tasks, of one that fails too, and before one that waits.
finish() {
  [ -e "$here/enabled" ] || return 0
  rm -f "$here/enabled"
  systemctl daemon-reload
}

# Runs one task and says how it went, in lines that only this function writes: a task's own output
# goes to a file.
run() { # number, unit whose journal explains a failure
  printf '@start %s\n' "$1"
  [ ! -e "$here/same" ] || rm -f "$here/same"
  ( set -e; "task_$1" ) > "$here/output" 2>&1 < /dev/null
  code=$?
  if [ "$code" -eq 0 ]; then
    if [ -e "$here/watched" ]; then
      printf '%s %s\n' "$1" "$(cat "$here/watched")" >> "$here/pending"
      rm -f "$here/watched"
    elif [ -e "$here/same" ]; then printf '@same %s\n' "$1"; else printf '@done %s\n' "$1"; fi
    return
  fi
  finish
  failed "$1" "$2" "$code" ''
  settle
  exit 0
}
# Records of stat signatures only grow, and only the newest count.
trim_notes() {
  if [ "$(wc -l < "$state/known" 2>/dev/null || echo 0)" -gt 5000 ]; then
    tail -n 1000 "$state/known" > "$here/known" && cp "$here/known" "$state/known"
  fi
}
remarks() {
  [ ! -e "$here/remarks" ] || sed 's/^/@remark /' "$here/remarks"
}
