# labctl: the smoke test, on the first controller unless a function says otherwise. Each check is a
# function; that it ends well says that what it is called holds.
# shellcheck disable=SC2154 # ns, and what a function's first line names, stand above this text
set -eu
export KUBECONFIG=/etc/kubernetes/admin.conf
PATH=/usr/local/bin:$PATH
# Nothing within a lab is behind a login's proxy.
export NO_PROXY='*' no_proxy='*'

begun=$(date +%s)
k() { kubectl -n "$ns" "$@"; }
fail() {
  echo "$*" >&2
  exit 1
}
# Asks URLs from inside of a pod, in one call: most of the time of a call is kubectl's own. A line
# for each: the URL, and the answer if there was one. wget by its path: the shell of Debian's
# busybox calls it otherwise, and there it crashes.
fetch() { # pod, URLs
  pod=$1
  shift
  # shellcheck disable=SC2016 # the pod's shell fills it in
  k exec "$pod" -- sh -c 'wget=$(which wget)
    for url; do echo "$url $("$wget" -q -T 5 -O - "$url")"; done' sh "$@" </dev/null
}
# A Service's rules follow its creation after a moment, which is up to half a minute where the
# controllers have just lost their API server: client-go looks again after 30 s at most. A first
# packet that came too early is not sent elsewhere later: so new connections are tried until one is
# answered, as long as the check has time to say which one was not. From then on all are.
answers() { # pod, how many of them, URLs; $patience is how long a check tries
  pod=$1 times=$2
  shift 2
  left=$((${patience:-45} - $(date +%s) + begun))
  # shellcheck disable=SC2016
  said=$(k exec "$pod" -- sh -c 'times=$1 end=$(($(date +%s) + $2)) wget=$(which wget); shift 2
    for url; do
      until "$wget" -q -T 2 -O - "$url" > /dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || break
        sleep 0.5
      done
      for _ in $(seq "$times"); do "$wget" -q -T 5 -O - "$url" > /dev/null || exit 0; done
      echo "$url"
    done' sh "$times" "$left" "$@" </dev/null) || fail "cannot run a command in $pod"
  for url; do
    printf '%s\n' "$said" | grep -qxF "$url" || fail "no answer from $url to $pod"
  done
}

# Creates what the checks look at; the manifest is the input.
set_up() {
  kubectl apply -f - >/dev/null
}
# Begins to remove it; nobody waits for it yet. The cluster takes five seconds before it looks into
# a namespace that is deleted. Its pods may end meanwhile.
begin_clean_up() {
  k delete deployment --all --wait=false >/dev/null 2>&1 || :
  kubectl delete namespace "$ns" --ignore-not-found --wait=false >/dev/null
}
# Removes whatever a smoke test has left behind.
clean_up() {
  kubectl delete namespace "$ns" --ignore-not-found --wait=true --timeout=90s >/dev/null
}

# Puts the Deployment's pods into `$list`, a line each: name, address, node. A check that finds
# fewer than all of them fails, so that no loop over them passes because it has nothing to do. The
# loops read `$list` from a here-document and not from a pipe: a failure in them ends the check.
# With `second=yes` it is asked in the second IP family of the lab.
list_pods() { # how many there are
  address=${second:+s[1].ip}
  fields="{.metadata.name} {.status.podIP$address} {.spec.nodeName}"
  list=$(k get pods -l app=web -o "jsonpath={range .items[*]}$fields{'\n'}{end}")
  found=$(printf '%s\n' "$list" | grep -c '^[^ ][^ ]* [^ ][^ ]* [^ ][^ ]*$' || :)
  [ "$found" = "$1" ] || fail "only $found of $1 pods have an address and a node: $list"
}
# An address as a URL has it.
in_url() {
  case $1 in *:*) printf '[%s]\n' "$1" ;; *) printf '%s\n' "$1" ;; esac
}

# By name: a node that is Ready and not the lab's does not stand in for one that is not.
ready() { # $workers: names
  fields="{.metadata.name} {.status.conditions[?(@.type=='Ready')].status}"
  found=$(kubectl get nodes -o "jsonpath={range .items[*]}$fields{'\n'}{end}")
  for worker in $workers; do
    printf '%s\n' "$found" | grep -qxF "$worker True" ||
      fail "$worker is not Ready: $(kubectl get nodes --no-headers)"
  done
}

secret_encrypted() {
  raw=$(etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
    --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt \
    --key=/etc/kubernetes/pki/etcd/healthcheck-client.key \
    get "/registry/secrets/$ns/smoke" --print-value-only | tr -d '\0' | head -c 40)
  case $raw in k8s:enc:*) ;; *) fail "the raw value in etcd does not begin with k8s:enc:" ;; esac
  value=$(k get secret smoke -o 'jsonpath={.data.word}' | base64 -d)
  [ "$value" = in-the-clear ] || fail "the API returns another value than was stored"
}

rollout() {
  k rollout status deployment/web --timeout=150s >/dev/null || {
    k get events --sort-by=.lastTimestamp | tail -n 2 >&2
    k get pods -o wide --no-headers 2>&1 | grep -v ' 1/1 ' | head -n 3 >&2
    exit 1
  }
}

spread() { # how many workers there are
  used=$(printf '%s\n' "$list" | cut -d' ' -f3 | sort -u | grep -c .)
  [ "$used" = "$1" ] || fail "its pods run on $used of $1 workers: $list"
}

all_pods() {
  set --
  while read -r _ address _; do set -- "$@" "http://$(in_url "$address"):8080/"; done <<ALL
$list
ALL
  while read -r from _; do
    said=$(fetch "$from" "$@") || fail "cannot run a command in $from"
    while read -r to address node; do
      url=http://$(in_url "$address"):8080/
      answer=$(printf '%s\n' "$said" | awk -v url="$url" '$1 == url {print $2}')
      [ -n "$answer" ] || fail "$from cannot reach $to ($address on $node)"
      [ "$answer" = "$to" ] || fail "$from sent a request to $to and $answer answered"
    done <<TO
$list
TO
  done <<FROM
$list
FROM
}

cluster_ip() {
  address=${second:+s[1]}
  address=$(k get service web -o "jsonpath={.spec.clusterIP$address}")
  [ -n "$address" ] || fail "the Service web has no ClusterIP"
  # Once its rules are there, every connection is answered, whichever pod it is sent to.
  while read -r pod _; do answers "$pod" 4 "http://$(in_url "$address")/"; done <<PODS
$list
PODS
}

node_port() { # $nodes: addresses of the workers
  port=$(k get service web-nodeport -o 'jsonpath={.spec.ports[0].nodePort}')
  [ -n "$port" ] || fail "the Service web-nodeport has no port"
  set --
  for address in $nodes; do set -- "$@" "http://$(in_url "$address"):$port/"; done
  while read -r pod _; do answers "$pod" 1 "$@"; done <<PODS
$list
PODS
}

dns() { # $name, and $service: the address that it has
  while read -r pod _; do
    answer=$(k exec "$pod" -- nslookup "$name" </dev/null 2>&1) || fail "$pod: $answer"
    case $answer in *"$service"*) ;; *) fail "$pod got the wrong answer: $answer" ;; esac
  done <<PODS
$list
PODS
}

logs() {
  while read -r pod _; do
    said=$(k logs "$pod" </dev/null) || fail "there is no log of $pod"
    case $said in *"serving as $pod"*) ;; *) fail "the log of $pod lacks its output: $said" ;; esac
  done <<PODS
$list
PODS
}

exec_in_pods() {
  while read -r pod _; do
    name=$(k exec "$pod" -- hostname </dev/null) || fail "cannot run a command in $pod"
    [ "$name" = "$pod" ] || fail "hostname in $pod prints $name"
  done <<PODS
$list
PODS
}

# bash only for its /dev/tcp: a minimal node has no HTTP client.
port_forward() {
  pod=${list%% *}
  log=$(mktemp)
  # Not `k`: what is ended below is kubectl itself and not a shell that waits for it.
  kubectl -n "$ns" port-forward --address 127.0.0.1 "pod/$pod" :8080 > "$log" 2>&1 &
  forward=$!
  trap 'kill $forward 2>/dev/null; rm -f "$log"' EXIT
  until grep -q '^Forwarding' "$log"; do
    kill -0 $forward 2>/dev/null || fail "$(cat "$log")"
    sleep 0.1
  done
  port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log" | head -n 1)
  # The line after the empty one. Not up to the end: that comes a second after the answer.
  answer=$(bash -c 'exec 3<>/dev/tcp/127.0.0.1/'"$port"'; printf "GET / HTTP/1.0\r\n\r\n" >&3
    while read -r line && [ ${#line} -gt 1 ]; do :; done <&3
    read -r line <&3; echo "$line"')
  [ "$answer" = "$pod" ] || fail "asked $pod and got: $answer"
}

# Where the inventory asks for metrics-server.
top_nodes() { # $workers: names
  found=$(kubectl top nodes --no-headers)
  for worker in $workers; do
    printf '%s\n' "$found" | grep -q "^$worker  *[0-9]" ||
      fail "there are no figures of $worker: $found"
  done
}

# The API stays up through the load balancer when a controller stops. On that controller: stop, and
# start again until it is well.
stop_control_plane() { # units
  systemctl stop "$@"
}
watch_api() {
  for try in 1 2 3 4 5 6 7 8 9 10; do
    kubectl --request-timeout=10s get --raw=/readyz >/dev/null || fail "call $try of 10 failed"
  done
}
start_control_plane() { # units
  systemctl start "$@"
  # shellcheck disable=SC2016 # the inner shell fills it in
  timeout 100 sh -c 'until kubectl --server=https://127.0.0.1:6443 get --raw=/readyz
    do sleep 0.2; done' >/dev/null 2>&1
}
