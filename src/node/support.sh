# labctl: what a bug report needs of this node, as files: a line `@ NAME`, and each line of the file
# after a blank. It reads no key, no kubeconfig and no file with a password.

file() { # name, command...
  printf '@ %s\n' "$1"
  shift
  timeout 10 "$@" 2>&1 </dev/null | sed 's/^/ /'
}
ours() {
  for file in /var/lib/labctl/units/*; do [ ! -e "$file" ] || printf '%s\n' "${file##*/}"; done
}
units=$(ours)
file os-release cat /etc/os-release
file uname uname -a
file uptime uptime
file memory cat /proc/meminfo
file disks df -P -k
file mounts cat /proc/mounts
file addresses ip -o address
file routes ip -o -4 route
file listeners ss -Hltn
file hosts cat /etc/hosts
file record cat /var/lib/labctl/record
file failed systemctl --failed --no-pager
for unit in $units; do
  file "units/$unit" systemctl cat "$unit"
  file "status/$unit" systemctl show "$unit" -p ActiveState,SubState,Result,NRestarts,ExecMainStatus
  file "journal/$unit.log" journalctl --no-pager -q -o short-iso -n 1000 -u "$unit"
done
conf=/etc/kubernetes/admin.conf
if [ -r "$conf" ] && [ -d /var/lib/etcd ]; then
  export KUBECONFIG=$conf
  file cluster/nodes kubectl --request-timeout 5s get nodes -o wide
  file cluster/pods kubectl --request-timeout 5s get pods -A -o wide
  file cluster/events kubectl --request-timeout 5s get events -A
fi
printf '@end\n'
