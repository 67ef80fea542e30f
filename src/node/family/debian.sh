# Packages of Debian, Ubuntu and what is made of them: apt and dpkg. `src/machine/family.rs` lists
# what the functions are for; every family has the same ones.

packages_to_come() { # name...
  planned=$(apt -s install "$@") || return
  # A line for a package that is there in another version has that version in brackets: it stays
  # afterwards.
  printf '%s\n' "$planned" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p'
}
add_packages() { # name...
  unstarted apt install "$@"
}
refresh_packages() {
  outside apt-get -q -o Acquire::Retries=2 update
}
package_is_there() { # name
  dpkg-query -W "$1" 2>/dev/null | grep -q .
}
packages_to_go() { # name...
  # apt plans nothing after an installation that was cut off.
  dpkg --configure -a >&2
  apt -s purge "$@" | sed -n 's/^\(Purg\|Remv\) \([^ ]*\) .*/\2/p'
}
drop_packages() { # name...
  apt purge "$@"
}

apt() {
  outside env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
    -o DPkg::Lock::Timeout=120 "$@"
}
# Without IPv6 Debian's own site of nginx, which listens at [::]:80, keeps nginx from starting and
# with it from being installed. So packages start nothing there: plays do, with their own files.
unstarted() { # command...
  policy=/usr/sbin/policy-rc.d
  if [ -e /proc/net/if_inet6 ] || [ -L "$policy" ] ||
    { [ -e "$policy" ] && ! grep -q '^# labctl' "$policy"; }; then
    "$@"
    return
  fi
  # It forbids nothing any more once this run is over, however it ended.
  # shellcheck disable=SC2154 # `here` stands above this text
  printf '#!/bin/sh\n# labctl: while it installs packages\n[ ! -e %s ] || exit 101\n' \
    "$here" > "$policy"
  chmod 755 "$policy"
  "$@" && code=0 || code=$?
  rm -f "$policy"
  return "$code"
}
