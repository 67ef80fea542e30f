# labctl: checks, beside a probe. They may take a moment each (a kubectl, an etcdctl), so all run at
# the same time as the rest of it. Each says its number and how it ended, in one write; one that is
# not over in time says nothing.
check() { # number, command
  {
    (eval "$2") >/dev/null 2>&1 </dev/null
    printf 'check\t%s\t%s\n' "$1" $?
  } &
}
