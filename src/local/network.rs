//! The lab's network on this machine: a bridge that has the gateway's address, and one network
//! namespace and link per node.
//!
//! Traffic between nodes crosses only the bridge; nothing leaves this machine, and there is no NAT.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::LocalError;
use super::names::Names;
use super::{mounts, program};
use crate::cluster::{LocalNodes, Node};

/// Where `ip netns` keeps named network namespaces.
const NAMESPACES: &str = "/run/netns";

/// The programs for firewall rules: for IPv4, and for IPv6.
const FIREWALLS: [&str; 2] = ["iptables", "ip6tables"];

/// Returns the path of a machine's network namespace.
pub(super) fn namespace(machine: &str) -> PathBuf {
    Path::new(NAMESPACES).join(machine)
}

/// Whether the lab's bridge exists.
pub(super) fn has_bridge(names: &Names) -> bool {
    device(names.bridge()).exists()
}

/// Whether a node's namespace and link exist and the link is on the bridge.
pub(super) fn has_node(names: &Names, node: &str) -> bool {
    let master = fs::read_link(device(&names.link(node)).join("master")).ok();
    let joined =
        master.is_some_and(|path| path.file_name().is_some_and(|name| name == names.bridge()));
    joined && mounts::is_mounted(&namespace(&names.machine(node))).unwrap_or(false)
}

/// Creates what is missing of the bridge and of the namespaces and links of `nodes`. Blocks.
pub(super) fn ensure(names: &Names, local: &LocalNodes, nodes: &[&Node]) -> Result<(), LocalError> {
    let bridge = names.bridge();
    let mut commands = Vec::new();
    if !has_bridge(names) {
        for (subnet, _) in local.subnets() {
            check_free(subnet)?;
        }
        let mac = names.bridge_hardware_address();
        commands.push(format!(
            "link add {bridge} address {mac} type bridge stp_state 0 forward_delay 0"
        ));
    }
    commands.extend(local.subnets().map(|(subnet, gateway)| give(gateway, subnet, bridge)));
    commands.push(format!("link set {bridge} up"));
    let missing: Vec<_> = nodes.iter().filter(|node| !has_node(names, &node.name)).collect();
    for node in &missing {
        let (machine, link) = (names.machine(&node.name), names.link(&node.name));
        if !mounts::is_mounted(&namespace(&machine))? {
            // After a reboot of the host, the name may exist without its namespace.
            remove_file(&namespace(&machine))?;
            commands.push(format!("netns add {machine}"));
        }
        if !device(&link).exists() {
            let mac = names.node_hardware_address(&node.name);
            commands.push(format!(
                "link add {link} type veth peer name eth0 address {mac} netns {machine}"
            ));
        }
        commands.push(format!("link set {link} master {bridge} up"));
    }
    batch("make the network of the local nodes", &[], &commands)?;
    for node in &missing {
        let machine = names.machine(&node.name);
        let places = || node.addresses().zip(local.subnets());
        let mut commands = vec!["link set lo up".to_owned()];
        commands.extend(places().map(|(address, (subnet, _))| give(address, subnet, "eth0")));
        commands.push("link set eth0 up".to_owned());
        commands.extend(places().map(|(_, (_, gateway))| match gateway {
            IpAddr::V4(gateway) => format!("route replace default via {gateway}"),
            IpAddr::V6(gateway) => format!("route replace ::/0 via {gateway}"),
        }));
        batch(&format!("give node {} its address", node.name), &["-n", &machine], &commands)?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    local.subnets().try_for_each(|(subnet, _)| let_bridged_traffic_pass(bridge, firewall(subnet)))
}

/// Returns the command that gives a device an address. Nobody else has it: the kernel need not look
/// for a second, as it would for an IPv6 address, which cannot be used meanwhile.
fn give(address: IpAddr, subnet: IpNet, device: &str) -> String {
    let sure = if address.is_ipv6() { " nodad" } else { "" };
    format!("addr replace {address}/{} dev {device}{sure}", subnet.prefix_len())
}

/// Returns the program for the firewall rules of a network's IP family.
fn firewall(subnet: IpNet) -> &'static str {
    if subnet.addr().is_ipv4() { FIREWALLS[0] } else { FIREWALLS[1] }
}

/// Removes a node's link and namespace; succeeds if they do not exist. Blocks.
pub(super) fn remove_node(link: &str, machine: &str) -> Result<(), LocalError> {
    if device(link).exists() {
        let result = batch("remove a node's link", &[], &[format!("link delete {link}")]);
        // The link disappears with the namespace of its other end, which may be happening right
        // now.
        if device(link).exists() {
            result?;
        }
    }
    let namespace = namespace(machine);
    mounts::unmount_below(&namespace)?;
    remove_file(&namespace)
}

/// Removes the bridge and the links on it; succeeds if it does not exist. Blocks.
pub(super) fn remove_bridge(names: &Names) -> Result<(), LocalError> {
    let bridge = names.bridge();
    if !has_bridge(names) {
        return Ok(());
    }
    let ports = fs::read_dir(device(bridge).join("brif")).into_iter().flatten().flatten();
    let mut commands: Vec<_> =
        ports.map(|port| format!("link delete {}", port.file_name().to_string_lossy())).collect();
    commands.push(format!("link delete {bridge}"));
    batch("remove the lab's bridge", &["-force"], &commands).or_else(|error| {
        match has_bridge(names) {
            true => Err(error),
            false => Ok(()),
        }
    })?;
    for program in FIREWALLS {
        let rules = forward_rules(program);
        for rule in rules.iter().filter(|rule| rule.contains(&format!("-i {bridge} "))) {
            let rule = rule.replacen("-A ", "-D ", 1);
            program::run(
                "remove the bridge's firewall rule",
                program::command(program).args(rule.split_whitespace()),
                "",
            )?;
        }
    }
    Ok(())
}

/// Returns the machines of a lab that still have a network namespace.
pub(super) fn machines(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Accepts bridged traffic in a host firewall that forwards nothing (Docker installs one), which
/// also sees bridged packets where br_netfilter is loaded. The rule is removed with the bridge.
fn let_bridged_traffic_pass(bridge: &str, program: &str) -> Result<(), LocalError> {
    let seen = format!("/proc/sys/net/bridge/bridge-nf-call-{program}");
    if fs::read_to_string(seen).unwrap_or_default().trim() != "1" {
        return Ok(());
    }
    let rules = forward_rules(program);
    let open = rules.iter().all(|rule| rule == "-P FORWARD ACCEPT");
    if open || rules.iter().any(|rule| rule.contains(&format!("-i {bridge} "))) {
        return Ok(());
    }
    let rule = ["-I", "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"];
    program::run(
        "let traffic between nodes through the firewall",
        program::command(program).args(rule),
        "",
    )
    .map(drop)
}

/// Returns the host's rules for forwarded packets of one IP family; empty without its program.
fn forward_rules(program: &str) -> Vec<String> {
    if program::find(program).is_none() {
        return Vec::new();
    }
    let listed =
        program::run("list firewall rules", program::command(program).args(["-S", "FORWARD"]), "");
    listed.unwrap_or_default().lines().map(str::to_owned).collect()
}

fn batch(doing: &str, options: &[&str], commands: &[String]) -> Result<(), LocalError> {
    let mut input = commands.join("\n");
    input.push('\n');
    program::run(doing, program::command("ip").args(options).args(["-batch", "-"]), &input)
        .map(drop)
}

fn device(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

fn remove_file(path: &Path) -> Result<(), LocalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The kernel's IPv6 routes, those of its own addresses included.
const IPV6_ROUTES: &str = "/proc/net/ipv6_route";

/// Whether no route or address of this machine is in `subnet`, so that a lab can have it.
///
/// # Errors
/// If the machine's routes cannot be read.
pub fn is_free(subnet: IpNet) -> Result<bool, LocalError> {
    match check_free(subnet) {
        Ok(()) => Ok(true),
        Err(LocalError::Clash { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses a subnet that this machine already uses. Call it before the lab's own bridge exists.
fn check_free(subnet: IpNet) -> Result<(), LocalError> {
    let read =
        |path: &str| fs::read_to_string(path).map_err(LocalError::io("read", Path::new(path)));
    let with = match subnet {
        IpNet::V4(subnet) => clash(subnet, &read("/proc/net/route")?, &read("/proc/net/fib_trie")?),
        IpNet::V6(subnet) if Path::new(IPV6_ROUTES).exists() => {
            clash_in_ipv6(subnet, &read(IPV6_ROUTES)?)
        }
        IpNet::V6(_) => Some("it has no IPv6".to_owned()),
    };
    match with {
        Some(with) => Err(LocalError::Clash { subnet, with }),
        None => Ok(()),
    }
}

/// Returns the route or address of the host that `subnet` conflicts with.
///
/// A wider route through a gateway (a company's 10.0.0.0/8) does not conflict: the lab's own route
/// is more specific and wins.
fn clash(subnet: Ipv4Net, routes: &str, trie: &str) -> Option<String> {
    let route = routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| {
            u32::from_str_radix(fields.get(index)?, 16).ok().map(|n| Ipv4Addr::from(n.swap_bytes()))
        };
        let (device, to, gateway, mask) = (fields.first()?, number(1)?, number(2)?, number(7)?);
        let net = Ipv4Net::with_netmask(to, mask).ok()?;
        let direct = gateway.is_unspecified() && net.prefix_len() > 0;
        let clashes = subnet.contains(&net) || (direct && net.contains(&subnet));
        clashes.then(|| format!("the route to {net} on {device}"))
    });
    route.or_else(|| {
        let mut address = None;
        for line in trie.lines().map(str::trim) {
            if let Some(found) = line.strip_prefix("|-- ") {
                address = found.parse::<Ipv4Addr>().ok();
            } else if line == "/32 host LOCAL"
                && let Some(found) = address.filter(|found| subnet.contains(found))
            {
                return Some(format!("this machine's address {found}"));
            }
        }
        None
    })
}

/// The same for IPv6, where the machine's own addresses are routes too.
fn clash_in_ipv6(subnet: Ipv6Net, routes: &str) -> Option<String> {
    routes.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address =
            |index: usize| u128::from_str_radix(fields.get(index)?, 16).ok().map(Ipv6Addr::from);
        let length = u8::from_str_radix(fields.get(1)?, 16).ok()?;
        let (net, gateway) = (Ipv6Net::new(address(0)?, length).ok()?, address(4)?);
        let direct = gateway.is_unspecified() && net.prefix_len() > 0;
        let clashes = subnet.contains(&net) || (direct && net.contains(&subnet));
        clashes.then(|| format!("the route to {net} on {}", fields.last().unwrap_or(&"")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n\
        tun0\t0000000A\t010200C0\t0003\t0\t0\t0\t000000FF\n\
        lab1\t0000F00A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
        eth1\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\n";
    const TRIE: &str = "Local:\n  |-- 10.250.3.4\n    /32 host LOCAL\n  |-- 10.251.0.255\n    /32 \
        link BROADCAST\n";

    #[test]
    fn an_ipv6_subnet_in_use_is_refused() {
        let none = "0".repeat(32);
        let route = |to: &str, length: u8, gateway: &str, device: &str| {
            format!("{to} {length:02x} {none} 00 {gateway} 00000100 1 0 00000001 {device}\n")
        };
        let lab = format!("fd000240{}", "0".repeat(24));
        let gateway = "fe800000000000000000000000000001";
        let routes = route(&lab, 64, &none, "lab1")
            + &route(&format!("fd00{}", "0".repeat(28)), 16, gateway, "tun0")
            + &route(&none, 0, &none, "lo");
        let clash = |subnet: &str| clash_in_ipv6(subnet.parse().expect("a subnet"), &routes);
        let with = Some("the route to fd00:240::/64 on lab1".to_owned());
        assert_eq!(clash("fd00:240::/64"), with);
        assert_eq!(clash("fd00:240::/48"), with);
        assert_eq!(clash("fd00:240::1:0/112"), with);
        assert_eq!(clash("fd00:241::/64"), None, "a wider route through a gateway");
    }

    fn clash_of(subnet: &str) -> Option<String> {
        clash(subnet.parse().expect("a subnet"), ROUTES, TRIE)
    }

    #[test]
    fn a_subnet_in_use_is_refused() {
        assert_eq!(
            clash_of("10.240.0.0/24").as_deref(),
            Some("the route to 10.240.0.0/24 on lab1")
        );
        assert_eq!(
            clash_of("10.240.0.0/16").as_deref(),
            Some("the route to 10.240.0.0/24 on lab1")
        );
        assert_eq!(
            clash_of("172.16.9.0/24").as_deref(),
            Some("the route to 172.16.0.0/12 on eth1")
        );
        assert_eq!(clash_of("10.250.0.0/16").as_deref(), Some("this machine's address 10.250.3.4"));
    }

    #[test]
    fn a_wider_route_through_a_gateway_does_not_conflict() {
        assert_eq!(clash_of("10.241.0.0/24"), None);
        assert_eq!(clash_of("192.168.7.0/24"), None);
        assert_eq!(clash_of("10.251.0.0/24"), None);
    }
}
