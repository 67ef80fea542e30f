# labctl: what this machine is like, as `machine`, a key and a value: what src/machine/mod.rs reads.
# Part of a probe.
machine() {
  (
    # shellcheck disable=SC1091 # it is the node's
    . /etc/os-release
    printf 'machine\t%s\t%s\n' system "$ID" like "${ID_LIKE-}" release "${VERSION_ID-}"
  ) 2>/dev/null
  printf 'machine\tarchitecture\t%s\n' "$(uname -m)"
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then version=2; else version=1; fi
  printf 'machine\tcgroup\t%s\n' "$version"
  systemctl --version 2>/dev/null | {
    read -r _ version _ && printf 'machine\tsystemd\t%s\n' "$version"
  }
  own=$(ip -o -4 address show 2>/dev/null | awk '$2 != "lo" {sub("/.*", "", $4); print $4}')
  printf 'machine\taddresses\t%s\n' "$(echo "$own" | tr '\n' ' ')"
}
