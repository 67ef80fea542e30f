# nginx is installed and off; its configuration is a symbolic link, and it has a drop-in.
# loadbalancer, equal
mv /etc/nginx/nginx.conf /etc/nginx/theirs.conf
ln -s theirs.conf /etc/nginx/nginx.conf
install -d -m 700 /etc/systemd/system/nginx.service.d
printf '[Service]\nNice=5\n' > /etc/systemd/system/nginx.service.d/nice.conf
systemctl daemon-reload
