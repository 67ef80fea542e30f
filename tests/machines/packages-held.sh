# Packages are held and pinned, and a third-party source is broken.
# worker, equal
apt-mark hold conntrack socat ipset
printf 'Package: *\nPin: release o=Nobody\nPin-Priority: 1001\n' > /etc/apt/preferences.d/theirs
echo 'deb http://192.0.2.1:9/gone stable main' > /etc/apt/sources.list.d/third-party.list
