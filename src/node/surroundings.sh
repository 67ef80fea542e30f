# labctl: what else is on this machine, as `around`, a question, and a line of its answer. Part of a
# probe.
#
# An answer begins with its question alone: without that line the question could not be asked, and
# nothing follows from it. Every answer has a bound. Programs are few, because every run starts
# them: one awk reads what they say, and the files.
surroundings() {
  read -r release < /proc/sys/kernel/osrelease
  if [ -d "/lib/modules/$release" ]; then there=yes; else there=no; fi
  printf 'around\tkernel\naround\tkernel\t%s %s\n' "$there" "$release"
  swap_makers
  settings=
  seen=/
  for file in /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf \
    /usr/lib/sysctl.d/*.conf; do
    # The first file of a name hides the others.
    case $seen in *"/${file##*/}/"*) continue ;; esac
    seen=$seen${file##*/}/
    case $file in */90-labctl-*) ;; *) [ ! -f "$file" ] || settings="$settings $file" ;; esac
  done
  set -- /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg /var/lib/cloud/instance/cloud-config.txt
  clouds=$*
  set -- /etc/systemd/networkd.conf.d/*.conf /run/systemd/networkd.conf.d/*.conf \
    /usr/lib/systemd/networkd.conf.d/*.conf
  networks="/etc/systemd/networkd.conf $*"
  dropins=
  for unit in etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet \
    kube-proxy; do
    for units in /etc /run /usr/local/lib /usr/lib; do
      for file in "$units/systemd/system/$unit.service.d"/*.conf; do
        [ ! -f "$file" ] || dropins="$dropins $file"
      done
    done
  done
  places='/var/lib/labctl /var/lib/containerd /usr/local/bin /opt/cni/bin'
  # shellcheck disable=SC2086 # a path per word
  unwritable $places /etc/hosts /etc/systemd/system /etc/kubernetes
  programs | awk -v settings="$settings" -v clouds="$clouds" -v networks="$networks" \
    -v places="$places" -v dropins="$dropins" "$reading"
}
# Mounted read-only, or marked as immutable: root may not write there either.
unwritable() { # paths
  printf 'around\tunwritable\n'
  for place; do
    above=$place
    until [ -e "$above" ]; do above=${above%/*} above=${above:-/}; done
    [ -w "$above" ] || printf 'around\tunwritable\t%s\n' "$place"
  done
}
# What programs say. Only the answer of one that succeeds has its question's name below it.
programs() {
  answer addresses ip -o address show
  answer routes all_routes
  answer listeners ss -Hltnp
  set --
  for place in $places; do
    until [ -e "$place" ]; do place=${place%/*} place=${place:-/}; done
    set -- "$@" "$place"
  done
  answer room timeout 5 df -P -k -- "$@"
  # To ask for rules must not load the modules that hold them: without those, there are no rules.
  if ! command -v iptables >/dev/null; then
    answer forward true
  elif [ ! -e /proc/modules ] || [ -e /sys/module/nf_tables ] ||
    [ -e /sys/module/iptable_filter ]; then
    answer forward iptables -w 2 -S FORWARD
    # Before the first run only: that saves every other run a program.
    if [ ! -e /var/lib/labctl/record ]; then
      answer input iptables -w 2 -S INPUT
      answer chains chains
    fi
  else
    answer forward true
  fi
}
all_routes() {
  ip -o -4 route show && ip -o -6 route show
}
# What kube-proxy and the kubelet have put into the firewall.
chains() {
  iptables-save | sed -n 's/^:\(KUBE-[^ ]*\) .*/\1/p'
  ! command -v nft >/dev/null || nft list tables | sed -n 's/^table ip6\{0,1\} \(kube-proxy\)$/\1/p'
}
answer() { # question, command...
  question=$1
  shift
  "$@" 2>/dev/null && echo "@$question"
  echo @
}
# What turns swap on at the next boot, if it is not masked.
swap_makers() {
  printf 'around\tswap\n'
  if is_masked swap.target; then return; fi
  for maker in /etc/systemd/system/*.wants/*.swap /run/systemd/generator.late/*.swap \
    /etc/systemd/zram-generator.conf /usr/lib/systemd/zram-generator.conf \
    /etc/systemd/system/*.wants/zramswap.service \
    /etc/systemd/system/*.wants/dphys-swapfile.service; do
    [ -s "$maker" ] || continue
    ! is_masked "${maker##*/}" || continue
    printf 'around\tswap\t%.200s\n' "$maker"
  done
}
is_masked() { # unit
  [ -L "/etc/systemd/system/$1" ] && [ ! -s "/etc/systemd/system/$1" ]
}
# shellcheck disable=SC2016 # it is awk's
reading='
function say(question, line) {
  if (said[question]++ < 500) print "around\t" question "\t" substr(line, 1, 200)
}
/^@./ {
  question = substr($0, 2)
  print "around\t" question
  for (at = 1; at <= lines; at++) read(question, line[at], at)
}
/^@/ { lines = 0; next }
lines < 2000 { line[++lines] = $0 }
function read(question, text, at,   word, count) {
  count = split(text, word, " ")
  # What is of use on its own link only, every device has in IPv6.
  if (word[1] ~ /^fe80:/ || word[4] ~ /^fe80:/) return
  if (question == "addresses") { if (count > 3) say(question, word[2] " " word[4]) }
  else if (question == "listeners") listener(text, word[4])
  else if (question == "room") {
    split(places, place, " ")
    if (at > 1 && word[4] ~ /^[0-9]+$/) say(question, place[at - 1] " " word[6] " " word[4])
  }
  else if (count) say(question, text)
}
function listener(text, port,   pid, name) {
  sub(/.*:/, "", port)
  # It may be out of sight: the kernel, or another machine in the same network namespace.
  if (!match(text, /pid=[0-9]+/)) return
  pid = substr(text, RSTART + 4, RLENGTH - 4)
  name = match(text, /\(\("[^"]*"/) ? substr(text, RSTART + 3, RLENGTH - 4) : "-"
  say("listeners", port " " unit(pid) " " name)
}
# The last part of a control group that is a unit.
function unit(pid,   text, part, at, found) {
  if (pid in units) return units[pid]
  found = "-"
  while (found == "-" && (getline text < ("/proc/" pid "/cgroup")) > 0)
    for (at = split(text, part, "/"); at > 0 && found == "-"; at--)
      if (part[at] ~ /\.(service|scope)$/) found = part[at]
  close("/proc/" pid "/cgroup")
  return units[pid] = found
}
function matching(question, files, pattern,   file, count, at, text) {
  print "around\t" question
  count = split(files, file, " ")
  for (at = 1; at <= count; at++) {
    while ((getline text < file[at]) > 0) if (text ~ pattern) { say(question, file[at]); break }
    close(file[at])
  }
}
END {
  print "around\tresolvers"
  while ((getline < "/etc/resolv.conf") > 0) if ($1 == "nameserver") say("resolvers", $2)
  stub = "/run/systemd/resolve/resolv.conf"
  while ((getline < stub) > 0) if ($1 == "nameserver") say("resolvers", $2)
  while ((getline < "/proc/meminfo") > 0)
    if ($1 == "MemTotal:") { print "around\tmemory"; say("memory", $2) }
  print "around\tmtu"
  while ((getline < "/proc/net/dev") > 0) {
    if (!sub(/:.*/, "")) continue
    if ((getline mtu < ("/sys/class/net/" $1 "/mtu")) > 0) say("mtu", $1 " " mtu)
    close("/sys/class/net/" $1 "/mtu")
  }
  print "around\tfirewalls"
  while ((getline < "/etc/ufw/ufw.conf") > 0) if (/^ENABLED=yes/) say("firewalls", "ufw")
  while ((getline < "/sys/fs/selinux/enforce") > 0) if (/^1/) say("firewalls", "selinux")
  print "around\tsysctls"
  count = split(settings, file, " ")
  for (at = 1; at <= count; at++) {
    while ((getline < file[at]) > 0) if (/^[ \t]*-?[a-z][^=]*=/) say("sysctls", file[at] "=" $0)
    close(file[at])
  }
  # Names alone: a value may have a password in it.
  print "around\tproxies"
  while ((getline < "/etc/environment") > 0) {
    sub(/^[ \t]*(export[ \t]+)?/, "")
    if (tolower($0) ~ /^(http|https|all)_proxy=./) { sub(/=.*/, ""); say("proxies", $0) }
  }
  hosts = "^[ \t]*manage_etc_hosts:[ \t]*[\"\047]?([Tt]rue|localhost|template)"
  matching("cloudhosts", clouds, hosts)
  matching("dropins", dropins, "^[ \t]*ExecStart[ \t]*=")
  matching("keepsroutes", networks, "^[ \t]*ManageForeignRoutes[ \t]*=[ \t]*(no|false|off|0)")
}
'
