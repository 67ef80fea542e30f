# Another language and another time zone.
# worker, equal
printf 'LANG=de_DE.UTF-8\nLC_NUMERIC=de_DE.UTF-8\n' > /etc/default/locale
ln -sf /usr/share/zoneinfo/Pacific/Kiritimati /etc/localtime
echo 'TZ=Pacific/Kiritimati' >> /etc/environment
