# labctl: reads blobs from stdin into the node's store, each after its header, `SHA256 FORM SIZE`.
# If `keep` is a directory, compressed blobs are also kept there for other nodes.
#
# The sender is not trusted, because it may be another node and this runs as root: only an expected
# checksum becomes part of a path, each is accepted once, and none may use more space than the
# blob's size.
# The variables store, beside, keep, expected, header_length, signature and notes stand above this.
# shellcheck disable=SC2154
umask 077
mkdir -p "$store" || exit 1
for old in "$store"/.incoming-*; do
  pid=${old##*/.incoming-}
  [ -e "/proc/${pid%%-*}/exe" ] || rm -f "$old"
done
# OpenSSL uses what the processor has for it, and is several times as fast; where it is not there,
# sha256sum judges.
is_whole() { # sha256, file
  case $(openssl dgst -sha256 -r < "$2" 2>/dev/null) in "$1 "*) return 0 ;; esac
  [ "$(sha256sum < "$2")" = "$1  -" ]
}
# As `head -c` does, in pieces that a pipe holds at once.
take() { # bytes
  dd bs=64K iflag=fullblock,count_bytes count="$1" status=none
}
refuse() { # why
  wait
  echo "$1" >&2
  exit 1
}
# Says what it can take in.
say_ready() {
  [ ! -d "$beside" ] || echo '@beside'
  if command -v zstd > /dev/null; then echo '@ready zst'; else echo '@ready raw'; fi
}
receive() {
  set -f
  while header=$(take "$header_length") && [ -n "$header" ]; do
    announced "$header"
    incoming=$store/.incoming-$$-$sha
    write_blob || {
      rm -f "$incoming"
      [ -z "$keep" ] || rm -f "$keep/.$sha"
      refuse 'a blob could not be written'
    }
    # One blob is verified and renamed while the next one is being received.
    place_blob &
  done
  wait
}
announced() { # header; sets $sha, $form, $size and $whole
  # shellcheck disable=SC2086 # three words
  set -- $1
  sha=$1 form=$2 size=$3
  case ${#header}/$# in
    $((header_length - 1))/3) ;;
    *) refuse 'what the sender announces is not a blob' ;;
  esac
  case $size in *[!0-9]*) refuse 'the sender announces a blob without a size' ;; esac
  case $expected in
    *" $sha:"*) ;;
    *) refuse 'the sender announces a blob that nobody asked for' ;;
  esac
  rest=${expected#*" $sha:"} whole=${rest%%" "*}
  expected="${expected%%" $sha:"*} ${rest#*" "}"
  # What is packed is smaller, or it would not be packed.
  [ "$size" -le "$whole" ] || refuse "the sender announces $size bytes for a blob of $whole"
}
write_blob() {
  case $form${keep:+ kept} in
    raw*) take "$size" > "$incoming" ;;
    # Nothing follows: the workstation has put it beside this node, whose machine is the
    # workstation.
    box*) cp -- "$beside/$sha" "$incoming" ;;
    zst) take "$size" | zstd -dcq | take $((whole + 1)) > "$incoming" ;;
    'zst kept') take "$size" | tee "$keep/.$sha" | zstd -dcq | take $((whole + 1)) > "$incoming" ;;
    *) false ;;
  esac
}
place_blob() {
  if is_whole "$sha" "$incoming" && mv -f "$incoming" "$store/$sha"; then
    printf '%s\t%s\n' "$sha" "$(LC_ALL=C stat -c "$signature" "$store/$sha")" >> "$notes"
    if [ -n "$keep" ] && [ "$(stat -c %s "$keep/.$sha" 2>/dev/null)" = "$size" ]; then
      mv -f "$keep/.$sha" "$keep/$sha.zst"
    fi
    echo "@blob $sha"
  else
    rm -f "$incoming"
    [ -z "$keep" ] || rm -f "$keep/.$sha"
  fi
}
