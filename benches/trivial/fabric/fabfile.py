"""Four trivial operations: a folder, a file in it, a line in a file that is somebody else's, a command with a check.

fabric runs commands; that they change nothing when there is nothing to change is the script's own business. A thread
for each node keeps its connection for all four, which is faster than fabric's own ThreadingGroup: that one waits for
the slowest node after every command.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from fabric import Connection

OPERATIONS = [
    "test -d /srv/bench || mkdir -m 755 /srv/bench",
    "echo 'labs, not pets' | cmp -s - /srv/bench/motd || echo 'labs, not pets' > /srv/bench/motd",
    "grep -qxF '10.251.0.1 workstation # labctl' /etc/hosts || echo '10.251.0.1 workstation # labctl' >> /etc/hosts",
    "test -e /srv/bench/initialised || echo done > /srv/bench/initialised",
]


def work(address: str) -> None:
    with Connection(address, user="root") as node:
        for operation in OPERATIONS:
            node.run(operation, hide=True, in_stream=False)


addresses = sys.argv[1:]
with ThreadPoolExecutor(max_workers=len(addresses)) as threads:
    list(threads.map(work, addresses))
