# labctl: directories of runs, each named after the process that removes it when it ends.
# shellcheck disable=SC2154 # state stands above this text

# A killed run could not remove its directory, which may contain keys, so the next run removes it.
# `undo` contains how to undo what such a run left elsewhere: a key, if the node lost power.
sweep_runs() {
  for old in "$state"/runs/*; do
    pid=${old##*/}
    [ -e "/proc/${pid%.*}/exe" ] || {
      # What could not be undone now, on a full disk for instance, is tried again by the next run.
      [ ! -f "$old/undo" ] || sh "$old/undo" || { rm -f "$old/key"; continue; }
      rm -rf "$old"
    }
  done
}
# Empty directories are removed too if the record is gone: after a teardown they, and whose turn it
# was, are all that is left of labctl.
end_run() {
  rm -rf "$here"
  [ -e "$state/record" ] || {
    rm -f "$state/run"
    rmdir "$state/runs" "$state" 2>/dev/null
  }
}
