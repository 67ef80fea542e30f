# Which run may change this node. The scripts of one run may be here at the same time; those of
# another wait a moment, because the connection of a run that was killed takes a while to end, and
# are then refused as long as the first run's connection lasts. $state/run says who it is: the run,
# the process at this end of its connection, and words for a person.
turn() { # run, who it is; $patience is how many seconds to wait
  patience=${patience:-20}
  until take_turn "$1" "$2" > "$here/output" 2>&1; do
    if [ "$patience" -le 0 ]; then
      printf '@start 0\n'
      sed 's/^/@output /' "$here/output"
      printf '@fail 0 1\n'
      return 1
    fi
    patience=$((patience - 1))
    sleep 1
  done
}
take_turn() { # run, who it is; fails, and says by whom, when another run has the node
  # Two scripts that begin at once must not both find nobody here.
  # A disk that is full or read-only is no reason to refuse: a teardown may be about to mend it.
  ! command -v flock >/dev/null || ! command exec 9>> "$state/run" || flock 9
  if taken "$1"; then
    turned=0
    printf '%s\n%s\n%s\n' "$1" "$(connection)" "$2" > "$state/run" || :
  else
    turned=1
  fi
  exec 9>&-
  return "$turned"
}
taken() { # run; fails, and says by whom, when another run has the node
  { read -r run && read -r process since && read -r who; } < "$state/run" || return 0
  # The first word is a lab directory, which has a lock: its earlier run has ended, though nobody
  # may have told this end of its connection.
  [ "${run%% *}" != "${1%% *}" ] && [ "$(began "$process")" = "$since" ] || return 0
  echo "another run is changing this node: $who"
  echo "nothing was changed here; run this again once the other run has ended"
  echo "if it has ended, and only its connection hangs: kill $process on this node"
  return 1
}
# The process that serves this connection, and when it began: sshd has one for each, and it ends
# with the connection. Where nothing is called so, it is this script: a server that serves all
# connections with one process would have the node for ever.
connection() {
  process=$$
  while [ "$process" -gt 1 ]; do
    about=$(cat "/proc/$process/stat")
    name=${about#*\(}
    about=${about##*) }
    about=${about#? }
    case $name in
      sshd* | dropbear*)
        echo "$process $(began "$process")"
        return
        ;;
    esac
    process=${about%% *}
  done
  echo "$$ $(began "$$")"
}
# When a process began, in clock ticks since the machine did, and which start of the machine that
# was: no later process has both. Nothing when there is no such process.
began() { # process
  about=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # The name, in brackets, may hold anything; 19 fields later comes the start.
  # shellcheck disable=SC2086 # fields
  set -- ${about##*) }
  echo "${20} $(cat /proc/sys/kernel/random/boot_id)"
}
