"""30 tasks: for each of five services four files, a template, and the unit."""

from pyinfra.operations import files, systemd

for service in ["alpha", "beta", "gamma", "delta", "epsilon"]:
    for source, target in [
        ("app.service", f"/etc/systemd/system/bench-{service}.service"),
        ("app.env", f"/etc/bench/{service}.env"),
        ("app.conf", f"/etc/bench/{service}.conf"),
        ("limits.conf", f"/etc/bench/{service}.limits"),
    ]:
        files.put(src=f"../files/{source}", dest=target, mode="644", user="root", group="root")
    files.template(
        src="templates/peers.j2", dest=f"/etc/bench/{service}.peers", mode="644", user="root", group="root"
    )
    systemd.service(service=f"bench-{service}.service", running=True, enabled=True)
