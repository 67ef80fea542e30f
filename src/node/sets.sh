# What is shared with others and of which only a part is ours: names in /etc/hosts, routes in the
# main table.

# Sets all lines of a mark at once.
set_hosts() { # mark, this node's own line that it does without, file of lines
  hosts=$(readlink -f /etc/hosts)
  claim_lines "$hosts"
  keep "$hosts"
  made hosts "$1"
  { grep -v " # $1\$" "$hosts" || [ $? = 1 ]; } > "$here/hosts"
  # What others wrote last may not end in a newline.
  [ -z "$(tail -c 1 "$here/hosts")" ] || echo >> "$here/hosts"
  awk -v own="$2" -v mark=" # $1" '$0 != own {print $0 mark}' "$3" >> "$here/hosts"
  replace "$here/hosts" "$hosts"
}

# Gives a file of somebody's a new text: all of it or nothing of it, whatever happens in between. A
# file that is a mount of its own (as in containers) cannot be renamed over, and is written in
# place.
replace() { # new text, path
  beside=${2%/*}/.${2##*/}.labctl-$$
  if ! copy_as "$1" "$2" "$beside"; then
    rm -f -- "$beside"
    echo "$2 is left as it was: there is no room for the new text beside it"
    return 1
  fi
  if why=$(mv -fT -- "$beside" "$2" 2>&1); then return; fi
  rm -f -- "$beside"
  case $why in
    *[Bb]usy*) in_place "$1" "$2" ;;
    *) echo "$why"; return 1 ;;
  esac
}
copy_as() { # text, file whose mode and owner the copy has, copy
  cp -a -- "$2" "$3" && cat -- "$1" > "$3" && cmp -s -- "$1" "$3" && sync -- "$3"
}
# The room is made first: with empty lines behind the old text, which are taken back where there is
# none.
in_place() { # new text, path
  cp -- "$2" "$here/before"
  new=$(wc -c < "$1") old=$(wc -c < "$2")
  if make_room "$((new - old))" "$2" && overwrite "$1" "$2" "$new"; then return; fi
  overwrite "$here/before" "$2" "$old" || echo "a copy of $2 is in $state/originals$2"
  echo "$2 is left as it was: there is no room for the new text"
  return 1
}
make_room() { # bytes, path
  [ "$1" -le 0 ] || head -c "$1" /dev/zero | tr '\0' '\n' >> "$2"
}
overwrite() { # text, path, length of the text
  dd if="$1" of="$2" conv=notrunc,fsync bs=64k 2>/dev/null && truncate -s "$3" -- "$2" &&
    cmp -s -- "$1" "$2"
}

# Sets all routes of a network at once. Routes in it that were set by hand and are not in the file
# lead to nodes that have left.
set_routes() { # network, the node's own route that it does without, file of `TO via GATEWAY`
  case $1 in *:*) family=-6 ;; *) family=-4 ;; esac
  ip -o "$family" route show root "$1" > "$here/routes"
  ip -o "$family" route show root "$1" proto boot > "$here/routes.ours"
  awk -v own="$2" -v record="$here/routes.record" '
    FILENAME == ARGV[1] {if ($1 == "route") known[$2] = 1; next}
    # The first one counts. One with a metric is not replaced by ours, which comes before it; in
    # IPv6 every route has one, and ours has 1024.
    FILENAME == ARGV[2] {sub(/( linkdown| dead)* *$/, ""); if (!($1 in there)) there[$1] = $0; next}
    FILENAME == ARGV[3] {ours[$1] = 1; next}
    {
      wanted[$1] = 1
      found = $1 in there ? there[$1] : $1
      if ($0 == own || index(found " ", $0 " ") == 1) next
      if (!($1 in known)) {
        if (found ~ / metric / && found !~ /:.* metric 1024 /) found = $1
        print "route", found > record
      }
      print "route replace", $0
    }
    END {for (to in ours) if (!(to in wanted)) print "route del", to, "proto boot"}
  ' "$record" "$here/routes" "$here/routes.ours" "$3" > "$here/routes.batch"
  [ ! -e "$here/routes.record" ] || cat "$here/routes.record" >> "$record"
  ip -batch "$here/routes.batch"
}
