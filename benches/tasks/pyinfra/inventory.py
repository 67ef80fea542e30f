"""Three nodes, by address; the templates know them by name."""

hosts = [
    (f"node-{number}", {"ssh_hostname": f"10.250.0.{number + 10}", "address": f"10.250.0.{number + 10}"})
    for number in range(3)
]
