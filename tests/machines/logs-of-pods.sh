# Logs of another cluster's pods, and a journal on the disk.
# worker, equal
install -d -m 2755 -g daemon /var/log/journal
install -d -m 750 /var/log/pods/shop_web-0_1/web /var/log/containers
echo theirs > /var/log/pods/shop_web-0_1/web/0.log
ln -s /var/log/pods/shop_web-0_1/web/0.log /var/log/containers/web-0.log
