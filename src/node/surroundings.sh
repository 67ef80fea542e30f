# labctl: what else is on this machine, as `around`, a question, and a line of its answer. An answer begins with its
# question alone: without that line the question could not be asked, and nothing follows from it. Part of a probe.
around() { # question, how many lines at most, an awk program that says them; its input is what it reads
  printf 'around\t%s\n' "$1"
  awk -v question="$1" -v most="$2" '
    function say(line) { if (said++ < most) print "around\t" question "\t" substr(line, 1, 200) }
    '"$3"
}
# shellcheck disable=SC2016 # what is quoted is awk's
surroundings() {
  if answer=$(timeout 5 ip -o -4 address show 2>/dev/null); then
    printf '%s\n' "$answer" | around addresses 200 'NF > 3 { say($2 " " $4) }'
  fi
  if answer=$(timeout 5 ip -o -4 route show 2>/dev/null); then
    printf '%s\n' "$answer" | around routes 300 'NF { say($0) }'
  fi
  if answer=$(timeout 5 ss -Hltnp 2>/dev/null); then
    # The unit of a listener is the last part of its control group that is one.
    printf '%s\n' "$answer" | around listeners 300 '
      function unit(pid,   line, parts, count, at, found) {
        found = "-"
        while (found == "-" && (getline line < ("/proc/" pid "/cgroup")) > 0) {
          count = split(line, parts, "/")
          for (at = count; at > 0 && found == "-"; at--) if (parts[at] ~ /\.(service|scope)$/) found = parts[at]
        }
        close("/proc/" pid "/cgroup")
        return found
      }
      match($0, /pid=[0-9]+/) {
        pid = substr($0, RSTART + 4, RLENGTH - 4)
        name = match($0, /\(\("[^"]*"/) ? substr($0, RSTART + 3, RLENGTH - 4) : "-"
        port = $4
        sub(/.*:/, "", port)
        say(port " " unit(pid) " " name)
      }'
  fi
  around resolvers 20 'END {
    for (at = 1; at < 3; at++) {
      file = at == 1 ? "/etc/resolv.conf" : "/run/systemd/resolve/resolv.conf"
      while ((getline < file) > 0) if ($1 == "nameserver") say($2)
    }
  }' < /dev/null
  room
  release=$(uname -r)
  if [ -d "/lib/modules/$release" ]; then there=yes; else there=no; fi
  printf 'around\tkernel\naround\tkernel\t%s %s\n' "$there" "$release"
  if [ -e /proc/net/if_inet6 ]; then there=yes; else there=no; fi
  printf 'around\tipv6\naround\tipv6\t%s\n' "$there"
}
# How much room there is where a lab's files go: the place, what it is mounted at, and what is free in KiB.
room() {
  places='/var/lib/labctl /var/lib/containerd /usr/local/bin /opt/cni/bin'
  set --
  for place in $places; do
    until [ -e "$place" ]; do place=${place%/*} place=${place:-/}; done
    set -- "$@" "$place"
  done
  answer=$(timeout 5 df -P -k -- "$@" 2>/dev/null) || return 0
  # shellcheck disable=SC2016 # what is quoted is awk's
  printf '%s\n' "$answer" |
    around room 10 'BEGIN { split("'"$places"'", place, " ") } NR > 1 && $4 ~ /^[0-9]+$/ { say(place[NR - 1] " " $6 " " $4) }'
}
