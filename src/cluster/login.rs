//! How labctl logs in to a node, as the inventory says it. What it leaves out is for OpenSSH's
//! configuration to say, and else as it usually is.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::names;

/// How labctl logs in to one node: the node's own values over the inventory's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ssh {
    /// Host name or address to connect to; the node's address unless given.
    pub host: String,
    /// TCP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Login name.
    #[serde(default)]
    pub user: Option<String>,
    /// Private key file, absolute, `~` resolved. `None`: the agent, then the usual files in
    /// `~/.ssh`.
    #[serde(default)]
    pub identity: Option<PathBuf>,
    /// The machines to go through, the first of them first; an empty list is no jump host,
    /// whatever the configuration says.
    #[serde(default, deserialize_with = "one_or_many")]
    pub jump: Option<Vec<Jump>>,
    /// How many seconds reaching each machine and logging in may take.
    #[serde(default)]
    pub connect_timeout: Option<u16>,
    /// Whether the host key of a machine that nobody knows is accepted and recorded.
    #[serde(default)]
    pub accept_new: bool,
    /// How commands of a login that is not root's become root's.
    #[serde(default)]
    pub escalation: Escalation,
}

/// A bastion in front of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jump {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Login name.
    #[serde(default)]
    pub user: Option<String>,
    /// Private key file, absolute.
    #[serde(default)]
    pub identity: Option<PathBuf>,
}

/// How commands become root's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// The program that does it.
    pub tool: Tool,
    /// Where its password comes from, when it wants one.
    pub password: PasswordSource,
}

/// A program that runs commands as root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// sudo(8).
    #[default]
    Sudo,
    /// doas(1).
    Doas,
}

/// Where a password comes from. It is in none of these itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordSource {
    /// From a person, at a terminal.
    #[default]
    Person,
    /// From the first line of a file.
    File(PathBuf),
    /// From the first line that a command prints.
    Command(String),
}

impl Ssh {
    /// A login to `host`, of which nothing else is said.
    pub fn to(host: impl Into<String>) -> Self {
        Self { host: host.into(), ..Self::default() }
    }
}

impl Jump {
    /// The jump host that `text` names: `host`, `user@host` or `user@host:port`; an IPv6 address
    /// before a port is in brackets.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        if let Some(user) = user {
            check_user(user).map_err(|wrong| format!("has a user that {wrong}"))?;
        }
        let bracketed = place.strip_prefix('[').and_then(|place| place.split_once(']'));
        let parts = match bracketed {
            Some((host, "")) => Some((host, None)),
            Some((host, port)) => port.strip_prefix(':').map(|port| (host, Some(port))),
            None => place.split_once(':').map(|(host, port)| (host, Some(port))),
        };
        let (host, port) = match parts {
            Some((host, None)) => (host, None),
            // More than one colon without brackets is an IPv6 address.
            Some((host, Some(port))) if !port.contains(':') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, Some(port.ok_or("has a port that is not a number from 1 to 65535")?))
            }
            _ => (place, None),
        };
        names::check_host(host).map_err(|wrong| format!("has a host that {wrong}"))?;
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, identity: None })
    }
}

/// Whether `user` can be a login name; the error says why not. `user@domain` can.
///
/// # Errors
/// With what is wrong with it.
pub fn check_user(user: &str) -> Result<(), String> {
    if user.is_empty() {
        return Err("is empty".to_owned());
    }
    // A user that begins with a hyphen would be an option to `ssh`.
    if user.starts_with('-') {
        return Err("begins with a hyphen".to_owned());
    }
    match user.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/')) {
        Some(_) => Err("has a space or one of : /".to_owned()),
        None => Ok(()),
    }
}

/// One jump host, as earlier versions wrote it, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Jump>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Jump),
        Many(Vec<Jump>),
    }
    Ok(Option::<OneOrMany>::deserialize(from)?.map(|jumps| match jumps {
        OneOrMany::One(jump) => vec![jump],
        OneOrMany::Many(jumps) => jumps,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_as_people_write_them() {
        let jump = Jump::parse("jane@corp.example@bastion.example.org:2222").expect("a jump host");
        assert_eq!(jump.user.as_deref(), Some("jane@corp.example"));
        assert_eq!((jump.host.as_str(), jump.port), ("bastion.example.org", Some(2222)));
        let jump = Jump::parse("192.0.2.1").expect("a jump host");
        assert_eq!((jump.user, jump.port), (None, None));
        for (text, port) in [("fd00::1", None), ("[fd00::1]", None), ("[fd00::1]:23", Some(23))] {
            let jump = Jump::parse(text).expect("a jump host");
            assert_eq!((jump.host.as_str(), jump.port), ("fd00::1", port), "{text}");
        }
        for wrong in [
            "",
            "@host",
            "host:",
            "host:0",
            "-x@host",
            "a b@host",
            "-host",
            "fd00::1:x",
            "[fd00::1",
        ] {
            assert!(Jump::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let one = r#"{"host":"192.0.2.10","port":22,"user":"root","identity":null,
            "jump":{"host":"bastion","port":23,"user":"jane"}}"#;
        let ssh: Ssh = serde_json::from_str(one).expect("a login");
        let jumps = ssh.jump.as_deref().expect("a jump host");
        assert_eq!((jumps.len(), jumps[0].port), (1, Some(23)));
        let none = r#"{"host":"192.0.2.10","port":22,"user":"root","identity":null,"jump":null}"#;
        assert_eq!(serde_json::from_str::<Ssh>(none).expect("a login").jump, None);
        let text = serde_json::to_string(&ssh).expect("JSON");
        assert_eq!(serde_json::from_str::<Ssh>(&text).expect("a login"), ssh);
    }
}
