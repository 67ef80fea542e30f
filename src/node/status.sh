# labctl: how this node is, for `labctl status`: lines of fields with tabs between them, and what
# two servers answer as it is. It writes nothing here, and every question has a bound of seconds.
# What is asked stands above this text: $units, $certificates, $places, $health, $paths, $own and
# $peers (of the pod network), $api (URLs, of this node's API server), $etcd (yes on a member).
# shellcheck disable=SC2154

printf 'clock\t%s\n' "$(date +%s.%N)"

# Jobs in the background write whole short lines, which do not mix. All of them ask with curl; a
# node without it is not asked what only curl can ask.
ask_many() { # what, URLs; $from is what curl is given beside them
  what=$1
  shift
  for url; do
    set -- "$@" -o /dev/null "$url"
    shift
  done
  # shellcheck disable=SC2086 # words
  curl -sk -Z -m 2 $from -w "$what\t%{http_code}\t%{url_effective}\n" "$@" 2>/dev/null
}
etcd_says() {
  pki=/etc/kubernetes/pki/etcd
  server=https://127.0.0.1:2379
  set -- --cacert "$pki/ca.crt" --cert "$pki/healthcheck-client.crt" \
    --key "$pki/healthcheck-client.key"
  # A lab may have an etcd without certificates on purpose.
  [ -d "$pki" ] || { server=http://127.0.0.1:2379 && set --; }
  for question in maintenance/status cluster/member/list; do
    said=$(curl -sS -m 2 "$@" -d '{}' "$server/v3/$question" 2>&1)
    printf 'etcd\t%s\t%s\n' "$question" "$said"
  done
}
# As the administrator, whose certificate and key are in a kubeconfig; bash hands them to curl
# without a file. Where the kubeconfig has none, the API asks for none.
# shellcheck disable=SC2016 # bash fills it in
api_says() { # URLs
  conf=/etc/kubernetes/admin.conf
  [ -r "$conf" ] && command -v bash >/dev/null || return 0
  if ! grep -q client-certificate-data: "$conf"; then
    curl -sSk -m 4 -w "\n@%{http_code} %{url_effective}\n" "$@" 2>&1
    return 0
  fi
  timeout 5 bash -c 'data() { sed -n "s/^ *$1-data: *//p" "$0" | base64 -d; }
    curl -sS -m 4 --cacert <(data certificate-authority) --cert <(data client-certificate) \
      --key <(data client-key) -w "\n@%{http_code} %{url_effective}\n" "$@" 2>&1' \
    "$conf" "$@" </dev/null
}

# From the gateway of the node's own pods to those of other workers.
ask_peers() { # own, URLs
  case "
$addresses
" in *"
$1
"*) ;; *) return 0 ;; esac
  # Where no pod has run yet there is nobody at the other end, in a lab that is well too.
  from="--interface $1 --connect-timeout 0.5"
  shift
  ask_many peer "$@"
}

addresses=$(ip -o address show 2>/dev/null | awk '{sub("/.*", "", $4); print $4}')
if command -v curl >/dev/null; then
  from=
  # shellcheck disable=SC2086 # a word each
  [ -z "$health" ] || ask_many health $health &
  # shellcheck disable=SC2086
  [ -z "$paths" ] || ask_many path $paths &
  # shellcheck disable=SC2086
  [ -z "$peers" ] || ask_peers $own $peers &
  # shellcheck disable=SC2086
  [ -z "$second_peers" ] || ask_peers $second_own $second_peers &
  [ -z "$etcd" ] || etcd_says &
fi

read -r up _ < /proc/uptime
read -r load _ < /proc/loadavg
printf 'machine\t%s\t%s\t%s\n' "${up%.*}" "$load" "$(nproc)"
for address in $addresses; do printf 'address\t%s\n' "$address"; done
# shellcheck disable=SC2086
systemctl show -p Id,ActiveState,SubState,UnitFileState,NRestarts,Result -- $units 2>/dev/null |
  sed 's/^/unit\t/'
printf 'unit\t\n'
for place in $places; do
  [ -d "$place" ] || continue
  [ -w "$place" ] || printf 'readonly\t%s\n' "$place"
done
# shellcheck disable=SC2086
timeout 3 df -P -k $places 2>/dev/null | awk 'NR > 1 {print "room\tspace\t" $5 "\t" $4 "\t" $6}'
# shellcheck disable=SC2086
timeout 3 df -P -i $places 2>/dev/null | awk 'NR > 1 {print "room\tinodes\t" $5 "\t" $4 "\t" $6}'
awk 'NR > 1 {print "swap\t" $1}' /proc/swaps 2>/dev/null
{ ip -o -4 route show; ip -o -6 route show; } 2>/dev/null | head -n 2000 | sed 's/^/route\t/'
head -n 2000 /etc/hosts | sed 's/^/hosts\t/'
[ ! -f /var/lib/labctl/lab ] || sed 's/^/mark\t/' /var/lib/labctl/lab

# Certificates and nothing beside them: of a kubeconfig the client's alone.
set --
for file in $certificates; do
  [ -f "$file" ] || continue
  # A kubeconfig may have a token, or nothing.
  case $file in *.conf) grep -q client-certificate-data: "$file" || continue ;; esac
  set -- "$@" "$file"
done
[ $# = 0 ] || awk '
  FNR == 1 {if (NR > 1) print ""; printf "certificate\t%s\t", FILENAME; inside = 0}
  FILENAME ~ /\.conf$/ {if ($1 == "client-certificate-data:") printf "%s", $2; next}
  /^-----BEGIN CERTIFICATE-----/ {inside = 1}
  inside {printf "%s|", $0}
  /^-----END CERTIFICATE-----/ {inside = 0}
  END {print ""}' "$@"

if [ -n "$api" ] && command -v curl >/dev/null; then
  # shellcheck disable=SC2086
  said=$(api_says $api)
  wait
  printf 'api\n%s\napi-end\n' "$said"
fi
wait
printf 'end\n'
