# The table of hosts may not be changed, not even by root.
# worker, refused: /etc/hosts cannot be written
chattr +i /etc/hosts
