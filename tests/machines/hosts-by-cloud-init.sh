# cloud-init writes the table of hosts, and the machine's own name belongs to the loopback device.
# worker, equal
mkdir -p /etc/cloud/cloud.cfg.d /etc/cloud/templates
echo 'manage_etc_hosts: true' > /etc/cloud/cloud.cfg.d/95-hosts.cfg
name=$(uname -n)
printf '127.0.1.1 {{fqdn}} {{hostname}}\n' > /etc/cloud/templates/hosts.debian.tmpl
printf '127.0.1.1 %s.example %s\n127.0.0.1 localhost\n' "$name" "$name" > /etc/hosts
