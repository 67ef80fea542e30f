# Swap will be there after the next boot: by zram, by a unit, by a service.
# worker, equal
printf '[zram0]\nzram-size = ram / 2\n' > /etc/systemd/zram-generator.conf
printf '[Swap]\nWhat=/swap\n[Install]\nWantedBy=swap.target\n' > /etc/systemd/system/swap.swap
mkdir -p /etc/systemd/system/multi-user.target.wants /etc/systemd/system/swap.target.wants
ln -s ../swap.swap /etc/systemd/system/swap.target.wants/swap.swap
ln -s /usr/lib/systemd/system/zramswap.service /etc/systemd/system/multi-user.target.wants/
systemctl daemon-reload
