# A slim machine: directories that most have are not there.
# worker, equal
rm -rf /etc/modules-load.d /etc/sysctl.d /opt /usr/local/sbin /usr/libexec
