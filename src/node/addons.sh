# The lab's own add-ons: manifests that stay on every controller, and objects that leave the cluster
# with them.

# The objects of a manifest that are in the cluster, one per line: uid, kind, its version, namespace
# or -, name.
objects() { # manifest, kubectl...
  manifest=$1
  shift
  "$@" get -f "$manifest" --ignore-not-found -o go-template='{{define "object"}}'\
'{{.metadata.uid}} {{.kind}} {{.apiVersion}} '\
'{{with .metadata.namespace}}{{.}}{{else}}-{{end}} {{.metadata.name}}{{"\n"}}{{end}}'\
'{{if .items}}{{range .items}}{{template "object" .}}{{end}}{{else}}{{template "object" .}}{{end}}'
}
begin_addons() {
  : > "$payload/gone"
}
# Without kubectl the manifest is only kept.
set_addon() { # sha256 among the payloads, mode, path, seconds until it must run, kubectl...
  sha=$1 mode=$2 kept=$3 seconds=$4
  shift 4
  if [ $# -gt 0 ]; then
    # What was applied before may be gone by now. Of a kind that nobody knows any more there is
    # nothing either.
    if [ -e "$kept" ]; then objects "$kept" "$@" >> "$payload/gone" 2> "$payload/said" || :; fi
    end=$(($(date +%s) + seconds))
    apply_addon "$@"
    objects "$payload/$sha" "$@" > "$payload/there"
    await_addon "$@"
  fi
  put "$mode" root:root "$sha" "$payload/$sha" "$kept"
}
apply_addon() { # kubectl...
  # Objects of a kind that the manifest itself defines have to wait for it, and so have those in a
  # namespace of its own.
  until "$@" apply --server-side --force-conflicts --field-manager=labctl \
    -f "$payload/$sha" > "$payload/applied" 2> "$payload/said"; do
    if ! grep -q -e 'no matches for kind' -e 'not find the requested resource' \
      -e '^Error from server (NotFound): .*namespaces' "$payload/said" ||
      [ "$(date +%s)" -ge "$end" ]; then
      cat "$payload/applied"
      if [ "$mode" = 600 ]; then reasons < "$payload/said"; else cat "$payload/said"; fi
      return 1
    fi
    sleep 0.5
  done
  cat "$payload/applied"
}
# Waits until what was applied is running.
await_addon() { # kubectl...
  while read -r _ kind _ namespace name; do
    left=$((end - $(date +%s)))
    [ "$left" -gt 0 ] || left=1
    case $kind in
      Deployment | DaemonSet | StatefulSet)
        "$@" -n "$namespace" rollout status "$kind/$name" --timeout="${left}s" < /dev/null
        ;;
      Job)
        "$@" -n "$namespace" wait --for=condition=complete "job/$name" --timeout="${left}s" \
          < /dev/null
        ;;
      *) continue ;;
    esac > "$payload/waited" 2>&1 || {
      cat "$payload/waited"
      echo "what does not run in $namespace:"
      "$@" -n "$namespace" get pods --no-headers < /dev/null | grep -v ' Running ' || :
      return 1
    }
  done < "$payload/there"
}
# Deletes what no manifest has any more, the last object first, and then the manifests of nobody.
prune_addons() { # folder, names of files that stay between spaces, kubectl...
  kept_in=$1 names=$2
  shift 2
  : > "$payload/stay"
  for file in "$kept_in"/*.yaml; do
    if [ ! -e "$file" ] || [ $# = 0 ]; then continue; fi
    case $names in
      *" ${file##*/} "*) objects "$file" "$@" >> "$payload/stay" ;;
      *) objects "$file" "$@" >> "$payload/gone" 2> "$payload/said" || unknown_kinds ;;
    esac
  done
  awk 'FILENAME == ARGV[1] {stay[$1] = 1; next} !($1 in stay || $1 in gone) {
    gone[$1] = 1; lines[++n] = $0
  } END {while (n) print lines[n--]}' "$payload/stay" "$payload/gone" > "$payload/delete"
  while read -r uid kind version namespace name; do
    case $uid in *-*-*) ;; *) continue ;; esac
    case $version in
      */*) kind=$kind.${version#*/}.${version%%/*} ;;
      *) kind=$kind.$version. ;;
    esac
    if [ "$namespace" = - ]; then namespace=; fi
    "$@" delete "$kind" "$name" ${namespace:+-n "$namespace"} --ignore-not-found --timeout=120s \
      < /dev/null
  done < "$payload/delete"
  for file in "$kept_in"/*.yaml; do
    case $names in *" ${file##*/} "*) ;; *) rm -f -- "$file" ;; esac
  done
}
# Objects of a kind that nobody knows any more are gone; whatever else is wrong is.
unknown_kinds() {
  if grep -v -e 'no matches for kind' -e 'ensure CRDs are installed' "$payload/said" |
    grep -q .; then
    cat "$payload/said"
    return 1
  fi
}
