//! What `ssh -G` prints, as values: a line for each setting, its name in small letters.

use std::time::Duration;

/// What stands for a value that the files do not say: OpenSSH's own defaults cannot be told from a
/// value that was written.
pub(super) const UNSAID: &str = "labctl.unsaid";

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum HostWay {
    /// Over TCP.
    Direct,
    /// Through these machines, as `ProxyJump` lists them.
    Jumps(String),
    /// Over what this command reads and writes (`ProxyCommand`).
    Command(String),
    /// By a setting that is not supported, named here.
    Unsupported(&'static str),
}

/// Which agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum AgentChoice {
    /// The one of `SSH_AUTH_SOCK`.
    Usual,
    /// None.
    None,
    /// The one at this socket, or at the one that this `$VARIABLE` names.
    At(String),
}

/// What the files say of a host. Paths are as written, with `~` and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct HostConfig {
    /// What was asked for.
    asked: String,
    pub(in super::super) host: String,
    pub(in super::super) port: u16,
    /// None when they do not say one.
    pub(in super::super) user: Option<String>,
    /// Empty when they do not say any.
    pub(in super::super) identities: Vec<String>,
    pub(in super::super) identities_only: bool,
    pub(in super::super) certificates: Vec<String>,
    pub(in super::super) agent: AgentChoice,
    pub(in super::super) way: HostWay,
    /// Files with host keys; empty when nobody was asked.
    pub(in super::super) known_hosts: Vec<String>,
    pub(in super::super) alias: Option<String>,
    pub(in super::super) connect_timeout: Option<Duration>,
    /// After how much silence a sign of life is asked for, and how often in vain.
    pub(in super::super) keepalive: Option<(Duration, usize)>,
    /// Whether host names are made longer by rules.
    canonical: bool,
}

impl HostConfig {
    /// What is so when nothing is said.
    pub(in super::super) fn none(host: &str) -> Self {
        Self {
            asked: host.to_owned(),
            host: host.to_owned(),
            port: 22,
            user: None,
            identities: Vec::new(),
            identities_only: false,
            certificates: Vec::new(),
            agent: AgentChoice::Usual,
            way: HostWay::Direct,
            known_hosts: Vec::new(),
            alias: None,
            connect_timeout: None,
            keepalive: None,
            canonical: false,
        }
    }

    /// What `ssh -G` has printed.
    pub(super) fn read(text: &str, host: &str) -> Self {
        let mut answer = Self::none(host);
        let mut interval = 0;
        let mut count = 3;
        for line in text.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            match name {
                "hostname" => answer.host = value.to_owned(),
                "port" => answer.port = value.parse().unwrap_or(22),
                "user" if value != UNSAID => answer.user = Some(value.to_owned()),
                "identityfile" if value == "none" => answer.identities.clear(),
                "identityfile" if value != UNSAID => answer.identities.push(value.to_owned()),
                "identitiesonly" => answer.identities_only = value == "yes",
                "certificatefile" if value != "none" => answer.certificates.push(value.to_owned()),
                "identityagent" => answer.agent = AgentChoice::read(value),
                "proxyjump" if value != "none" => answer.way = HostWay::Jumps(value.to_owned()),
                "proxycommand" if value != "none" => {
                    answer.way = HostWay::Command(value.to_owned())
                }
                "userknownhostsfile" | "globalknownhostsfile" => {
                    answer.known_hosts.extend(paths(value));
                }
                "hostkeyalias" => answer.alias = Some(value.to_owned()),
                "connecttimeout" => {
                    let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                    answer.connect_timeout = seconds.map(Duration::from_secs);
                }
                "serveraliveinterval" => interval = value.parse().unwrap_or(0),
                "serveralivecountmax" => count = value.parse().unwrap_or(count),
                "canonicalizehostname" => answer.canonical = !matches!(value, "false" | "no"),
                _ => {}
            }
        }
        if matches!(answer.way, HostWay::Command(_))
            && text.lines().any(|l| l == "proxyusefdpass yes")
        {
            answer.way = HostWay::Unsupported("ProxyUseFdpass");
        }
        if interval > 0 {
            answer.keepalive = Some((Duration::from_secs(interval), count));
        }
        answer
    }

    /// The answer for `host`, which the files cannot tell from the host that was asked for; none
    /// when the host's own name may be in it.
    pub(super) fn of_another(&self, host: &str) -> Option<Self> {
        if self.asked == host {
            return Some(self.clone());
        }
        let own = self.host.eq_ignore_ascii_case(&self.asked) && !self.canonical;
        own.then(|| Self { asked: host.to_owned(), host: host.to_owned(), ..self.clone() })
    }
}

impl AgentChoice {
    fn read(value: &str) -> Self {
        match value {
            "SSH_AUTH_SOCK" => Self::Usual,
            "none" => Self::None,
            other => Self::At(other.to_owned()),
        }
    }
}

/// The paths of a list that OpenSSH prints with blanks between them, without quotes: what does not
/// begin as a path does belongs to the one before.
fn paths(list: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for word in list.split(' ').filter(|word| !word.is_empty() && *word != "none") {
        match paths.last_mut() {
            Some(last) if !word.starts_with(['/', '~', '%', '$']) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => paths.push(word.to_owned()),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_blanks_stay_whole() {
        assert_eq!(
            paths("/home/jane/my lab/hosts ~/.ssh/known_hosts none"),
            ["/home/jane/my lab/hosts", "~/.ssh/known_hosts"]
        );
        assert!(paths("none").is_empty());
    }

    #[test]
    fn every_line_has_its_value() {
        let text = "user labctl.unsaid\nhostname b\nport 22\nidentityfile labctl.unsaid\n\
            identityagent $SOCK\nproxycommand nc %h %p\nproxyusefdpass no\nconnecttimeout none\n\
            hostkeyalias name\ncertificatefile ~/c.pub\nnonsense\n";
        let answer = HostConfig::read(text, "b");
        assert_eq!(answer.agent, AgentChoice::At("$SOCK".into()));
        assert_eq!(answer.way, HostWay::Command("nc %h %p".into()));
        assert_eq!((answer.user.as_deref(), answer.connect_timeout), (None, None));
        assert_eq!(answer.alias.as_deref(), Some("name"));
        assert_eq!(answer.certificates, ["~/c.pub"]);
        assert!(answer.identities.is_empty());
        let passing = text.replace("fdpass no", "fdpass yes");
        assert_eq!(HostConfig::read(&passing, "b").way, HostWay::Unsupported("ProxyUseFdpass"));
    }

    #[test]
    fn an_answer_is_shared_only_when_no_name_is_in_it() {
        let plain = HostConfig::read("hostname 10.0.0.1\n", "10.0.0.1");
        assert_eq!(
            plain.of_another("10.0.0.2").map(|answer| answer.host).as_deref(),
            Some("10.0.0.2")
        );
        let named = HostConfig::read("hostname 10.0.0.1.example.org\n", "10.0.0.1");
        assert!(named.of_another("10.0.0.2").is_none());
        assert!(named.of_another("10.0.0.1").is_some());
    }
}
