# A containerd serves somebody's containers, those of Docker for example.
# worker, refused: containerd.service runs already, and labctl did not start it
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
  > /usr/lib/systemd/system/containerd.service
systemctl daemon-reload
systemctl enable --quiet --now containerd.service
systemd-run --quiet --unit=shop sleep 100001
