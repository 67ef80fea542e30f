"""Four trivial operations: a folder, a file in it, a line in a file that is somebody else's, a command with a check."""

from io import StringIO

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import files, server

files.directory(path="/srv/bench", mode="755", user="root", group="root")
files.put(src=StringIO("labs, not pets\n"), dest="/srv/bench/motd", mode="644", user="root", group="root")
files.line(path="/etc/hosts", line="10.251.0.1 workstation # labctl")
server.shell(
    commands=["echo done > /srv/bench/initialised"],
    _if=lambda: host.get_fact(File, path="/srv/bench/initialised") is None,
)
