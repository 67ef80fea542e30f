# nginx serves a site of somebody's.
# loadbalancer, equal
mkdir -p /srv/site
echo theirs > /srv/site/index.html
echo 'server { listen 8081; root /srv/site; access_log off; }' > /etc/nginx/sites-enabled/theirs
chmod 600 /etc/nginx/nginx.conf
systemctl enable --quiet --now nginx.service
