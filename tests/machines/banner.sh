# Every login is greeted, also one without a terminal, and the last greeting has no end.
# worker, equal
echo 'echo "Property of Example Corp. Do not touch."' > /etc/profile.d/zz-banner.sh
printf 'All activity is logged.\n' > /etc/motd
cat - /root/.bashrc > /root/greeting << 'END'
echo "last backup: never"
echo "careful" >&2
printf '\033]2;%s\a' "$(uname -n)"
END
mv /root/greeting /root/.bashrc
