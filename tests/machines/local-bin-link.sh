# The directory of local programs is a symbolic link, and has programs of the same names as ours.
# worker, equal
install -d -m 755 /srv/programs
for program in ctr runc crictl; do
  printf '#!/bin/sh\necho theirs\n' > /srv/programs/$program
  chmod 750 /srv/programs/$program
done
chown daemon:daemon /srv/programs/runc
ln /srv/programs/ctr /srv/programs/ctr-of-theirs
rmdir /usr/local/bin
ln -s /srv/programs /usr/local/bin
