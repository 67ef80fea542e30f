# nginx may not be started on this machine.
# loadbalancer, refused: nginx.service is masked
systemctl mask --quiet nginx.service
