//! What else is on a node's machine: other people's addresses, routes, listeners, files. Asked in
//! every probe, judged before a plan is made, and kept by nobody.
//!
//! A question without an answer is `None`, and nothing follows from it. The shell that asks is
//! `src/node/surroundings.sh`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// The questions of `src/node/surroundings.sh`, each with the words for it.
pub const QUESTIONS: &[(&str, &str)] = &[
    ("addresses", "its addresses"),
    ("routes", "its routes"),
    ("listeners", "which ports are in use"),
    ("resolvers", "its resolvers"),
    ("room", "free disk space"),
    ("unwritable", "where it can be written"),
    ("dropins", "drop-ins of units"),
    ("kernel", "the kernel's modules"),
    ("memory", "its memory"),
    ("mtu", "the MTU of its devices"),
    ("firewalls", "firewalls"),
    ("forward", "the rules for forwarded packets"),
    ("swap", "swap after a reboot"),
    ("sysctls", "kernel settings after a reboot"),
    ("proxies", "proxies"),
    ("cloudhosts", "who writes /etc/hosts"),
    ("keepsroutes", "whether routes stay"),
];

/// How many words of an answer are shown to a person: what a node says may be long.
const SHOWN: usize = 8;

/// What a machine has answered: the lines of each answer, by question.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a>(pub &'a BTreeMap<String, Vec<String>>);

/// An address of the machine, with its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAddress {
    /// The device.
    pub device: String,
    /// The address with its prefix length.
    pub network: IpNet,
}

/// A route of the machine's main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteThere {
    /// The destination.
    pub to: IpNet,
    /// The next hop, if there is one.
    pub via: Option<IpAddr>,
    /// The device; empty for routes that lead nowhere.
    pub device: String,
}

/// A process that listens on a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// Its systemd unit, if it has one.
    pub unit: Option<String>,
    /// Its name.
    pub name: String,
}

/// The room in a place that files of a lab go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The place.
    pub place: String,
    /// Where its file system is mounted.
    pub mount: String,
    /// Free space in bytes.
    pub free: u64,
}

/// A kernel setting in a file of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingThere<'a> {
    /// The file.
    pub file: &'a str,
    /// The setting, with dots.
    pub key: String,
    /// Its value.
    pub value: &'a str,
}

impl<'a> Surroundings<'a> {
    fn lines(self, question: &str) -> Option<impl Iterator<Item = &'a str>> {
        Some(self.0.get(question)?.iter().map(String::as_str))
    }

    fn first(self, question: &str) -> Option<&'a str> {
        self.lines(question)?.next()
    }

    /// The words for questions without an answer; none if nothing was asked.
    pub fn unanswered(self) -> Vec<&'static str> {
        let open = QUESTIONS.iter().filter(|(question, _)| !self.0.contains_key(*question));
        if self.0.is_empty() { Vec::new() } else { open.map(|(_, words)| *words).collect() }
    }

    /// Its addresses, those of the loopback device included.
    pub fn addresses(self) -> Option<Vec<OwnAddress>> {
        let own = |line: &str| {
            let (device, network) = line.split_once(' ')?;
            // A point-to-point address has no prefix length.
            let network =
                network.parse().or_else(|_| network.parse::<IpAddr>().map(IpNet::from)).ok()?;
            Some(OwnAddress { device: device.to_owned(), network })
        };
        Some(self.lines("addresses")?.filter_map(own).collect())
    }

    /// Its routes, without the default one.
    pub fn routes(self) -> Option<Vec<RouteThere>> {
        Some(self.lines("routes")?.filter_map(route).collect())
    }

    /// The processes that listen on TCP ports, as far as they can be seen.
    pub fn listeners(self) -> Option<Vec<Listener>> {
        let listener = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (port, unit) = (words.next()?.parse().ok()?, words.next()?);
            let unit = Some(unit).filter(|unit| *unit != "-").map(str::to_owned);
            Some(Listener { port, unit, name: words.next()?.to_owned() })
        };
        Some(self.lines("listeners")?.filter_map(listener).collect())
    }

    /// The resolvers in its configuration.
    pub fn resolvers(self) -> Option<Vec<IpAddr>> {
        Some(self.lines("resolvers")?.filter_map(|line| line.parse().ok()).collect())
    }

    /// The room where files of a lab go.
    pub fn room(self) -> Option<Vec<Room>> {
        let room = |line: &str| {
            let mut words = line.split(' ');
            let (place, mount) = (words.next()?.to_owned(), words.next()?.to_owned());
            let free = words.next()?.parse::<u64>().ok()?.checked_mul(1024)?;
            Some(Room { place, mount, free })
        };
        Some(self.lines("room")?.filter_map(room).collect())
    }

    /// The places that not even root can write in.
    pub fn unwritable(self) -> Option<Vec<&'a str>> {
        Some(self.lines("unwritable")?.collect())
    }

    /// Drop-ins of others that replace the command of a unit of the lab's.
    pub fn drop_ins(self) -> Option<Vec<&'a str>> {
        Some(self.lines("dropins")?.collect())
    }

    /// The running kernel's release, if the directory of its modules is missing.
    pub fn kernel_without_modules(self) -> Option<&'a str> {
        self.first("kernel")?.strip_prefix("no ")
    }
}

impl<'a> Surroundings<'a> {
    /// Its memory in MB.
    pub fn memory(self) -> Option<u64> {
        Some(self.first("memory")?.parse::<u64>().ok()? / 1000)
    }

    /// The MTU of a device.
    pub fn mtu(self, device: &str) -> Option<u32> {
        let of = |line: &str| line.strip_prefix(device)?.strip_prefix(' ')?.parse().ok();
        self.lines("mtu")?.find_map(of)
    }

    /// What is on that filters packets or accesses.
    pub fn firewalls(self) -> Option<Vec<&'a str>> {
        Some(self.lines("firewalls")?.take(SHOWN).collect())
    }

    /// The rules of the chain FORWARD, as `iptables -S` prints them.
    pub fn forward_rules(self) -> Option<Vec<&'a str>> {
        Some(self.lines("forward")?.collect())
    }

    /// The rules of the chain INPUT; asked only before labctl has worked on the machine.
    pub fn input_rules(self) -> Vec<&'a str> {
        self.lines("input").into_iter().flatten().collect()
    }

    /// The chains and tables that a kube-proxy or a kubelet has made; asked only before labctl has
    /// worked on the machine.
    pub fn kube_chains(self) -> Vec<&'a str> {
        self.lines("chains").into_iter().flatten().collect()
    }

    /// The files that turn swap on at the next boot.
    pub fn swap_makers(self) -> Option<Vec<&'a str>> {
        Some(self.lines("swap")?.take(SHOWN).collect())
    }

    /// Kernel settings in files of others.
    pub fn sysctls(self) -> Option<Vec<SettingThere<'a>>> {
        let setting = |line: &'a str| {
            let mut parts = line.splitn(3, '=');
            let (file, key, value) = (parts.next()?, parts.next()?, parts.next()?);
            let key = key.trim().trim_start_matches('-').replace('/', ".");
            Some(SettingThere { file, key, value: value.trim() })
        };
        Some(self.lines("sysctls")?.filter_map(setting).collect())
    }

    /// The names of variables that set a proxy for every login.
    pub fn proxies(self) -> Option<Vec<&'a str>> {
        Some(self.lines("proxies")?.take(SHOWN).collect())
    }

    /// The file that has cloud-init write `/etc/hosts` at every boot.
    pub fn cloud_writes_hosts(self) -> Option<&'a str> {
        self.first("cloudhosts")
    }

    /// Whether the configuration of systemd-networkd has it leave the routes of others alone.
    pub fn keeps_routes(self) -> Option<bool> {
        Some(self.lines("keepsroutes")?.next().is_some())
    }
}

/// Reads `10.0.0.0/8 via 10.1.0.1 dev eth0` and `blackhole 10.0.0.0/8`.
fn route(line: &str) -> Option<RouteThere> {
    const KINDS: [&str; 5] = ["unicast", "blackhole", "unreachable", "prohibit", "throw"];
    let mut words = line.split_whitespace().skip_while(|word| KINDS.contains(word));
    let to = words.next()?;
    let to = to.parse().or_else(|_| to.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let rest: Vec<&str> = words.collect();
    let after = |key: &str| rest.iter().skip_while(|word| **word != key).nth(1).copied();
    let via = after("via").and_then(|via| via.parse().ok());
    Some(RouteThere { to, via, device: after("dev").unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(answers: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        answers.iter().map(|(question, lines)| ((*question).to_owned(), owned(lines))).collect()
    }

    #[test]
    fn a_question_without_an_answer_is_none_and_an_empty_answer_is_empty() {
        let said = answers(&[("routes", &[])]);
        let around = Surroundings(&said);
        assert_eq!((around.routes(), around.addresses()), (Some(Vec::new()), None));
        assert!(around.unanswered().contains(&"its addresses"));
        assert!(!around.unanswered().contains(&"its routes"));
        // Nothing was asked at all.
        assert_eq!(Surroundings(&BTreeMap::new()).unanswered(), [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let said = answers(&[
            ("addresses", &["eth0 10.0.0.5/24", "tun0 10.8.0.1", "eth1", "eth2 fe80::1/64", ""]),
            ("listeners", &["6443 haproxy.service haproxy", "80 - a name", "99999 - x", "1"]),
            ("room", &["/var/lib/labctl / 4", "/opt /opt much", "/x / 99999999999999999999"]),
        ]);
        let around = Surroundings(&said);
        let own: Vec<String> = around
            .addresses()
            .into_iter()
            .flatten()
            .map(|own| format!("{} {}", own.device, own.network))
            .collect();
        assert_eq!(own, ["eth0 10.0.0.5/24", "tun0 10.8.0.1/32", "eth2 fe80::1/64"]);
        let ports: Vec<_> = around.listeners().into_iter().flatten().map(|it| it.port).collect();
        assert_eq!(ports, [6443, 80]);
        let room = Room { place: "/var/lib/labctl".into(), mount: "/".into(), free: 4096 };
        assert_eq!(around.room(), Some(vec![room]));
    }

    #[test]
    fn routes_have_destination_hop_and_device() {
        let said = answers(&[(
            "routes",
            &[
                "default via 192.0.2.1 dev eth0",
                "10.0.0.0/8 via 10.1.0.1 dev ens10 proto static metric 50",
                "10.200.1.0/24 dev cni0 proto kernel scope link src 10.200.1.1",
                "blackhole 10.32.0.0/16",
                "172.16.0.9 dev wg0 scope link",
                "fd00:200::/64 via fd00::1 dev eth0 metric 1024 pref medium",
                "fd00::9 dev wg0 proto kernel metric 256 pref medium",
            ],
        )]);
        let routes = Surroundings(&said).routes().expect("an answer");
        let told: Vec<String> = routes
            .iter()
            .map(|it| format!("{} {:?} {}", it.to, it.via.map(|via| via.to_string()), it.device))
            .collect();
        assert_eq!(
            told,
            [
                "10.0.0.0/8 Some(\"10.1.0.1\") ens10",
                "10.200.1.0/24 None cni0",
                "10.32.0.0/16 None ",
                "172.16.0.9/32 None wg0",
                "fd00:200::/64 Some(\"fd00::1\") eth0",
                "fd00::9/128 None wg0"
            ]
        );
    }
}
