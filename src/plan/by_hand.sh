set -eu
umask 077
desk=$(mktemp -d)
# Where the files and commands are on a node while the script runs.
there=/var/lib/labctl/by-hand
count=0

# Puts files beside the commands on nodes: NAME=FILE.
give() { # nodes, NAME=FILE...
  nodes=$1
  shift
  for file; do
    mkdir -p "$desk/files/$(dirname -- "${file%%=*}")"
    ln -sf -- "${file#*=}" "$desk/files/${file%%=*}"
  done
  for node in $nodes; do
    tar -C "$desk/files" -chf - . |
      to "$node" "mkdir -p $there && chmod 700 $there && tar -C $there --no-same-owner -xf -"
  done
  rm -r "$desk/files"
}
# Starts commands on nodes: the input.
on() { # nodes
  count=$((count + 1))
  cat > "$desk/commands.$count"
  for node in $1; do
    to "$node" "mkdir -p $there && cd $there && cat > commands && umask 022 &&
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      sh -e commands < /dev/null" < "$desk/commands.$count" > "$desk/said.$node" 2>&1 &
    echo "$! $node" >> "$desk/running"
  done
}
# Waits for what was started.
together() {
  failed=
  while read -r pid node; do
    if wait "$pid"; then
      echo "   $node: done"
    else
      echo "   $node: failed" >&2
      sed 's/^/      /' "$desk/said.$node" >&2
      failed=yes
    fi
  done < "$desk/running"
  rm "$desk/running"
  [ -z "$failed" ]
}
quoted() { # text
  printf "'%s'" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")"
}
play() { # name
  echo "== $1"
}
# Leaves nothing of the script on the nodes, nor its connections.
leave() {
  for node in $all; do
    to "$node" "rm -rf $there" || :
    to "$node" '' -O exit 2> /dev/null || :
  done
  rm -rf "$desk"
}
trap leave EXIT
