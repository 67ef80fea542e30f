# labctl: the journal of the lab's units on this node, or of one unit. $unit, $lines, $since and
# $follow stand above this text.
# shellcheck disable=SC2154
ours() {
  for file in /var/lib/labctl/units/*; do [ ! -e "$file" ] || printf '%s\n' "${file##*/}"; done
}
set --
if [ -n "$unit" ]; then
  systemctl cat "$unit" >/dev/null 2>&1 || {
    echo "there is no unit $unit on this node; the lab's are: $(ours | tr '\n' ' ')" >&2
    exit 1
  }
  set -- -u "$unit"
else
  for name in $(ours); do set -- "$@" -u "$name"; done
  [ $# -gt 0 ] || { echo 'labctl has started no unit on this node' >&2; exit 1; }
fi
[ -z "$since" ] || set -- "$@" --since "$since"
[ -z "$lines" ] || set -- "$@" -n "$lines"
[ -z "$follow" ] || set -- "$@" -f
exec journalctl --no-pager -q -o short-iso "$@"
