# A person's own units, also those of root, which run without a login.
# worker, equal
useradd --create-home --shell /bin/sh ann
install -d /var/lib/systemd/linger /root/.config/systemd/user/default.target.wants
touch /var/lib/systemd/linger/ann
printf '[Service]\nExecStart=/bin/sleep 100003\n' > /root/.config/systemd/user/kubelet.service
ln -s ../kubelet.service /root/.config/systemd/user/default.target.wants/kubelet.service
install -d -o ann -g ann /home/ann/.config/systemd/user
printf '[Service]\nExecStart=/bin/sleep 100004\n' > /home/ann/.config/systemd/user/etcd.service
systemd-run --quiet --uid=ann --unit=of-ann sleep 100005
