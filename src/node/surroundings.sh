# labctl: what else is on this machine, as `around`, a question, and a line of its answer. An answer begins with its
# question alone: without that line the question could not be asked, and nothing follows from it. Part of a probe.
around() { # question, how many lines at most, an awk program that says them, its arguments; its input is what it reads
  printf 'around\t%s\n' "$1"
  question=$1 most=$2 program=$3
  shift 3
  awk -v question="$question" -v most="$most" '
    function say(line) { if (said++ < most) print "around\t" question "\t" substr(line, 1, 200) }
    '"$program" "$@"
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
  later
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
# What may get in the way later, above all at the next boot.
# shellcheck disable=SC2016 # what is quoted is awk's
later() {
  around memory 1 '$1 == "MemTotal:" { say($2) }' < /proc/meminfo
  around mtu 100 'END {
    while (at++ < devices) if ((getline mtu < ("/sys/class/net/" device[at] "/mtu")) > 0) say(device[at] " " mtu)
  } NR > 2 { sub(/:.*/, ""); device[++devices] = $1 }' < /proc/net/dev
  firewalls
  printf 'around\tswap\n'
  for maker in /etc/systemd/system/*.wants/*.swap /run/systemd/generator.late/*.swap \
    /etc/systemd/zram-generator.conf /usr/lib/systemd/zram-generator.conf \
    /etc/systemd/system/*.wants/zramswap.service /etc/systemd/system/*.wants/dphys-swapfile.service; do
    [ -s "$maker" ] || continue
    # One that is masked makes none.
    [ ! -L "/etc/systemd/system/${maker##*/}" ] || [ -s "/etc/systemd/system/${maker##*/}" ] || continue
    printf 'around\tswap\t%.200s\n' "$maker"
  done
  if [ -L /etc/systemd/system/swap.target ] && [ ! -s /etc/systemd/system/swap.target ]; then
    printf 'around\tswapless\n'
  fi
  set --
  seen=/
  for file in /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf; do
    # The first file of a name hides the others.
    case $seen in *"/${file##*/}/"*) continue ;; esac
    seen=$seen${file##*/}/
    case $file in */90-labctl-*) ;; *) [ ! -f "$file" ] || set -- "$@" "$file" ;; esac
  done
  around sysctls 500 'BEGIN {
    for (at = 1; at < ARGC; at++) { file = ARGV[at]; while ((getline line < file) > 0) setting(file, line); close(file) }
    exit
  }
  function setting(file, line,   at) {
    if (line !~ /^[ \t]*-?[a-z]/ || !(at = index(line, "="))) return
    say(file "=" line)
  }' "$@" < /dev/null
  cat /etc/environment 2>/dev/null | around proxies 20 '{ sub(/^[ \t]*(export[ \t]+)?/, "") }
    tolower($0) ~ /^(http|https|all)_proxy=./ { sub(/=.*/, ""); say($0) }'
  settings cloudhosts '^[[:space:]]*manage_etc_hosts:[[:space:]]*["'\'']?([Tt]rue|localhost|template)' \
    /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg /var/lib/cloud/instance/cloud-config.txt
  settings keepsroutes '^[[:space:]]*ManageForeignRoutes[[:space:]]*=[[:space:]]*(no|false|off|0)' \
    /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d/*.conf /run/systemd/networkd.conf.d/*.conf \
    /usr/lib/systemd/networkd.conf.d/*.conf
}
settings() { # question, pattern, files: which of them have a line like that
  printf 'around\t%s\n' "$1"
  question=$1
  shift
  grep -lsE -- "$@" | head -n 5 | sed "s/^/around\t$question\t/"
}
firewalls() {
  printf 'around\tfirewalls\n'
  grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf && printf 'around\tfirewalls\tufw\n'
  [ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" != 1 ] || printf 'around\tfirewalls\tselinux\n'
  # To ask for rules must not load the modules that hold them.
  if [ ! -e /proc/modules ] || grep -qsE '^(nf_tables|iptable_filter) ' /proc/modules; then
    # shellcheck disable=SC2016 # what is quoted is awk's
    if answer=$(timeout 5 iptables -S FORWARD 2>/dev/null); then
      printf '%s\n' "$answer" | around forward 200 'NF { say($0) }'
    fi
  else
    printf 'around\tforward\n'
  fi
}
