# Something listens where the API server will.
# controller, refused: port 6443, which kube-apiserver needs, is in use by perl (theirs.service)
systemd-run --quiet --unit=theirs --description=theirs perl -e 'use IO::Socket::INET;
  my $it = IO::Socket::INET->new(LocalPort => 6443, Listen => 1) or die; sleep'
timeout 10 sh -c 'until ss -Hltn | grep -q :6443; do sleep 0.05; done'
