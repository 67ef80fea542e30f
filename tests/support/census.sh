# Everything about a node that a teardown could have missed: one line a thing, KIND, a tab, and what
# it is. It reads only. Two of these, taken before and after, are compared line by line.
export LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

each() { # kind; puts it before every line
  sed "s/^/$1\t/"
}

# The kernel's own trees are below, as what they mean; the modules' folder is the host's.
pruned() {
  find / \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /usr/lib/modules \) \
    -prune -o "$@"
}
pruned ! -type f ! -type s -printf '%p\t%y %m %U:%G %l\n' | each file
# What is in /run is other programs' state: that it is there counts, not what it says.
pruned -type f -path '/run/*' -printf '%p\t%y %m %U:%G\n' | each file
pruned -type f ! -path '/run/*' -printf '%p\t%y %m %U:%G %s\n' | each file
pruned -type f ! -path '/run/*' ! -path '/var/log/*' -exec sha256sum -- {} + |
  sed 's/^\([0-9a-f]*\)  \(.*\)/\2\t\1/' | each content
# Hard links and attributes that a copy would lose.
pruned -type f ! -path '/run/*' -links +1 -printf '%p\t%n links\n' | each file
pruned \( -type f -o -type d \) ! -path '/run/*' -print0 | xargs -0 lsattr -d 2>/dev/null |
  awk '$1 ~ /[aiAjt]/ {print $2 "\t" $1}' | each attributes

systemctl list-unit-files --no-legend --no-pager --plain |
  sed 's/  */ /g; s/ *$//' | each 'unit file'
systemctl list-units --all --no-legend --no-pager --plain | awk '{print $1, $2, $3, $4}' | each unit
# The session of this script is not counted, nor what the kernel runs for itself.
ps -eo sid=,ppid=,pid=,user=,args= | awk -v own="$(ps -o sid= -p $$)" '
  $1 != own + 0 && $2 != 2 && $3 != 2 {$1 = $2 = $3 = ""; print}' | each process

ip -o link | sed 's/^[0-9]*: //' | each link
ip -o address | sed 's/^[0-9]*: //; s/ valid_lft.*//' | each address
{ ip -4 route show table all; ip -6 route show table all; } |
  sed 's/ expires [0-9]*sec//' | each route
{ ip -4 rule; ip -6 rule; } | each rule
ip neighbour show nud permanent | each neighbour
bridge fdb show 2>/dev/null | each 'bridge entry'
ip netns list | each namespace
{ iptables-save; ip6tables-save; } 2>/dev/null |
  sed '/^#/d; s/\[[0-9]*:[0-9]*\]//' | each 'packet rule'
nft --stateless list ruleset 2>/dev/null | each nftables
{ ipset list -name 2>/dev/null; cat /proc/net/ip_vs 2>/dev/null; } | each ipset

awk '{print $1, $2, $3, $4}' /proc/self/mounts | each mount
sed 's/ .*//' /proc/swaps | each swap
find /sys/fs/cgroup -mindepth 1 -type d 2>/dev/null | each cgroup
sed 's/ .*//' /proc/modules 2>/dev/null | each 'kernel module'

find /proc/sys -type f -perm /444 2>/dev/null | while read -r key; do
  value=$(tr '\n\t' '; ' < "$key" 2>/dev/null) && printf '%s\t%s\n' "${key#/proc/sys/}" "$value"
done | each sysctl
each 'connection table' < /sys/module/nf_conntrack/parameters/hashsize

dpkg-query -W -f '${Package} ${Version} ${Status}\n' 2>/dev/null | each package
awk '/^Package:/ {name = $2} /^Auto-Installed: 1/ {print name}' /var/lib/apt/extended_states \
  2>/dev/null | each 'package that came with others'
getent passwd | each user
getent group | each group
crontab -l 2>/dev/null | each cron
