# The distribution's etcd is installed and off: its user, its unit, its configuration.
# controller, equal
useradd --system --home-dir /var/lib/etcd --shell /bin/false etcd
install -d -o etcd -g etcd -m 700 /var/lib/etcd
install -d -m 750 /etc/etcd
echo 'ETCD_NAME=theirs' > /etc/default/etcd
echo 'ETCD_NAME=theirs' > /etc/etcd/etcd.conf
printf '[Service]\nUser=etcd\nExecStart=/usr/bin/etcd\n[Install]\nWantedBy=multi-user.target\n' \
  > /usr/lib/systemd/system/etcd.service
systemctl daemon-reload
