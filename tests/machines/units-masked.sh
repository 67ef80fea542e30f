# Units of the same names as ours are masked, and one of theirs has failed.
# worker, equal
systemctl mask --quiet kubelet.service containerd.service
systemd-run --quiet --unit=fails false
timeout 10 sh -c 'until systemctl is-failed --quiet fails; do sleep 0.05; done'
