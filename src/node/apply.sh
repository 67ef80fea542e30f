# labctl: carries out a play on this node: the input is a tar stream that holds the script and the
# small files that it puts in place. Everyone here can see this text, so it holds no secret.
# shellcheck disable=SC2154 # state stands above this text
umask 077
mkdir -p "$state/runs"
: >> "$state/record"
sweep_runs
# Other plays of this run have their directories beside this one.
here=$(mktemp -d "$state/runs/$$.XXXXXXXX") || exit 1
trap end_run EXIT
tar -xf - -C "$here" && sh "$here/script" "$here"
