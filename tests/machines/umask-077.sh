# What root makes, nobody else may read.
# worker, equal
printf 'umask 077\n' > /root/.bashrc
printf 'umask 077\n' >> /etc/profile
sed -i 's/^UMASK.*/UMASK 077/' /etc/login.defs
