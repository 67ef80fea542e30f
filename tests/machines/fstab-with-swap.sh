# fstab has swap in all ways to write it, comments of theirs, and no end of its last line.
# worker, equal
printf '%s\n' '# labctl: a line of the owner' '# /old none swap sw 0 0' \
  'LABEL=swap none swap sw 0 0' '/dev/vg/swap	none	swap	defaults	0 0' \
  '   /indented none swap sw' '/short none swap' > /etc/fstab
printf 'tmpfs /srv/swap tmpfs noauto 0 0' >> /etc/fstab
chmod 664 /etc/fstab
chgrp daemon /etc/fstab
systemctl daemon-reload
