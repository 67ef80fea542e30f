# labctl: the probe. It writes nothing here, and answers in lines of fields with tabs between them,
# because a path or a unit can hold almost anything else. A call of one of these functions, with
# what is asked, is a question.

clock() {
  printf 'clock\t%s\n' "$(date +%s.%N)"
}
verdict() { # number, how a test ended
  printf 'check\t%s\t%s\n' "$1" "$2"
}
tools() { # programs
  for tool; do command -v "$tool" >/dev/null || printf 'missing\t%s\n' "$tool"; done
}
text() { # path
  [ -f "$1" ] || return 0
  printf 'text\t%s\t' "$1"
  base64 -w0 "$1"
  echo
}
names() { # directory, how many names at most
  [ -d "$1" ] || return 0
  printf 'names\t%s\t' "$1"
  # A name holds no slash.
  # shellcheck disable=SC2012 # every other way needs find, and lists the directory itself too
  ls -A "$1" | head -n "$2" | tr '\n' '/'
  echo
}
routes() {
  { ip -o -4 route show; ip -o -6 route show; } 2>/dev/null | sed 's/^/route\t/'
}
images() {
  command -v ctr >/dev/null &&
    timeout 10 ctr -n k8s.io images ls -q 2>/dev/null | sed 's/^/image\t/'
}
units() { # names
  read -r up _ < /proc/uptime
  printf 'uptime\t%s\n' "${up%.*}"
  asked=Id,ActiveState,SubState,UnitFileState,NeedDaemonReload,NRestarts
  asked=$asked,ActiveEnterTimestampMonotonic
  systemctl show -p $asked -- "$@" 2>/dev/null | sed 's/^/unit\t/'
}

# What is at paths. Of each, what is wanted is said in the same order, which stat keeps; it passes
# over what is missing. A file whose noted hash is the wanted one costs one look into the notes;
# those without a note are hashed by one program.
end='
'
show() { # path
  printf 'other\t%s\t' "$1"
  base64 -w0 < "$1"
  echo
}
look() { # `tHASH ` per path, or `fHASH ` for one whose text must not be sent, or `- `; paths
  known=
  # shellcheck disable=SC2154 # `notes`, `signature` and `longest` stand above this text
  [ ! -e "$notes" ] || known=$end$(cat "$notes")$end
  want=$1
  shift
  # shellcheck disable=SC2154
  stat -c "$signature" -- "$@" 2>/dev/null | look_at "$@"
}
look_at() { # paths; their signatures are its input
  texts=$end unknown=
  while IFS= read -r line; do
    printf 'path\t%s\n' "$line"
    case $line in "regular "*) ;; *) continue ;; esac
    path=/${line#*|/}
    while [ $# -gt 1 ] && [ "$1" != "$path" ]; do shift; want=${want#* }; done
    this=${want%% *} may=no
    mode=${line#*|} mode=${mode%%|*} size=${line#*|*|*|} size=${size%%|*}
    # shellcheck disable=SC2154
    case $this$mode in t*[4567]) [ "$size" -gt "$longest" ] || may=show ;; esac
    case $known in
      *"$end${this#?}	$line$end"*) printf 'hash\t%s  %s\n' "${this#?}" "$path" ;;
      *"	$line$end"*)
        grep -F -e "	$line" "$notes" | sed 's/^/known\t/'
        [ $may = no ] || show "$path"
        ;;
      *)
        unknown=$unknown$path$end
        [ $may = no ] || texts="$texts$path	${this#?}$end"
        ;;
    esac
  done
  set -f
  IFS=$end
  # shellcheck disable=SC2086 # a path per line
  set -- $unknown
  [ $# = 0 ] || sha256sum -- "$@" 2>/dev/null | hashes
  set +f
  unset IFS
}
hashes() { # what sha256sum prints is its input
  while IFS= read -r line; do
    # It begins with a backslash when the name has one, and then there are two of them.
    case $line in \\*) line=$(printf '%s\n' "${line#?}" | sed 's/\\\\/\\/g') ;; esac
    printf 'hash\t%s\n' "$line"
    path=/${line#*/}
    case $texts in *"$end$path	${line%% *}$end"*) ;; *"$end$path	"*) show "$path" ;; esac
  done
}
