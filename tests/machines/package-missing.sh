# A package is missing that can be had, while a third-party source cannot be reached.
# worker, equal
offered=/srv/offered
mkdir -p "$offered/socat/DEBIAN" /var/lib/apt/lists/partial
dpkg-query -L socat | while read -r path; do
  if [ -d "$path" ]; then
    mkdir -p "$offered/socat$path"
  else
    cp -a "$path" "$offered/socat$path"
  fi
done
dpkg -s socat | grep -v -e '^Status:' -e '^Conffiles:' > "$offered/socat/DEBIAN/control"
dpkg-deb --build "$offered/socat" "$offered/socat.deb"
{
  dpkg-deb --field "$offered/socat.deb"
  printf 'Filename: ./socat.deb\nSize: %s\n' "$(stat -c %s "$offered/socat.deb")"
  printf 'SHA256: %s\n' "$(sha256sum < "$offered/socat.deb" | cut -d' ' -f1)"
} > "$offered/Packages"
rm -rf "$offered/socat" /etc/apt/sources.list /etc/apt/sources.list.d/*
echo "deb [trusted=yes] file:$offered ./" > /etc/apt/sources.list
echo 'deb http://192.0.2.1:9/gone stable main' > /etc/apt/sources.list.d/third-party.list
echo 'Acquire::http::Timeout "2";' > /etc/apt/apt.conf.d/99-theirs
dpkg --purge socat
