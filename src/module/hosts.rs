//! `hosts`: entries in `/etc/hosts`, so that nodes can resolve each other's names without DNS.
//!
//! Each line of a set ends with the set's mark. All other lines are left alone. A line with the
//! mark that is not in the set belongs to a node that has left and is removed by the same task.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Each, Facts, Question, Site, State, quote, set::Set,
    set::parsed,
};
use crate::node::record::{self, Kind};

const HOSTS: &str = "/etc/hosts";

/// Whether a mark is valid: `labctl`, or a name that begins with `labctl-`, so that it cannot be
/// someone else's comment.
fn is_mark(mark: &str) -> bool {
    let rest = mark.strip_prefix("labctl").unwrap_or("?");
    rest.is_empty()
        || rest.len() > 1
            && rest.starts_with('-')
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// `hosts`: entries in `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsArgs {
    /// The comment at the end of each line: `labctl`, or a name that begins with `labctl-`. Other
    /// lines with this comment are removed.
    pub mark: String,
    /// One entry for each of these nodes.
    #[serde(default)]
    pub each: Option<Each>,
    /// The address. Rendered once for all nodes, with `peer` but without `node`.
    pub address: String,
    /// The host name; rendered like `address`.
    pub name: String,
}

impl Arguments for HostsArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        if !is_mark(&self.mark) {
            let mark = &self.mark;
            return Err(format!("mark `{mark}` is neither `labctl` nor like `labctl-mine`"));
        }
        let names = Set::worked_out(site, self.each, |site| {
            let name = site.text(&self.name)?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic() && c != '#') {
                return Err(format!("`{name}` is not a host name"));
            }
            let address = parsed(&site.text(&self.address)?, "an address")?;
            Ok((name.clone(), Name { address, name }))
        })?;
        Ok(Desired::Hosts(Hosts { mark: self.mark.clone(), names }))
    }
}

/// All entries with one mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Hosts {
    /// The comment that identifies these lines.
    pub mark: String,
    /// The entries.
    pub names: Set<Name>,
}

/// A name with its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The address.
    pub address: IpAddr,
    /// The name.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.name)
    }
}

impl Hosts {
    fn ending(&self) -> String {
        format!(" # {}", self.mark)
    }

    /// Returns the lines of this set in the text of `/etc/hosts`, without their mark.
    fn found<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let ending = self.ending();
        text.lines().filter_map(|line| line.strip_suffix(ending.as_str())).collect()
    }
}

impl State for Hosts {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Text(HOSTS.to_owned())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let text = facts.texts.get(HOSTS).map(String::as_str).unwrap_or_default();
        let mut found = self.found(text);
        if found.is_empty() && self.names.iter().next().is_some() {
            return Some(Difference::missing());
        }
        // As labctl has written them.
        if found.iter().copied().eq(self.names.lines()) {
            return None;
        }
        let mut wanted: Vec<&str> = self.names.lines().collect();
        found.sort_unstable();
        wanted.sort_unstable();
        let missing = wanted.iter().find(|line| found.binary_search(line).is_err());
        if let Some(line) = missing {
            return Some(Difference::alter(format!("`{line}` is missing")));
        }
        let left = |line: &&&str| wanted.binary_search(line).is_err();
        if let Some(line) = found.iter().find(left) {
            return Some(Difference::alter(format!("`{line}` is left over")));
        }
        let twice = found.windows(2).find(|pair| pair[0] == pair[1]);
        twice.map(|pair| Difference::alter(format!("`{}` is there more than once", pair[0])))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let (own, mark) = (self.names.own(), &self.mark);
        let payload = format!("hosts-{mark}");
        Actions {
            script: format!("set_hosts {mark} {} \"$payload/{payload}\"\n", quote(&own)),
            payloads: vec![(payload, self.names.text())],
            ..Actions::default()
        }
    }

    // The same text on every node, so that `explain` can show it once.
    fn shell(&self) -> String {
        let (mark, text) = (&self.mark, self.names.text());
        let own = match self.names.own() {
            own if own.is_empty() => own,
            own => format!("grep -vxF {} | ", quote(&own)),
        };
        let text = String::from_utf8_lossy(&text);
        format!(
            "sed -i '/ # {mark}$/d' {HOSTS}\n{own}sed 's/$/ # {mark}/' >> {HOSTS} \
            <<'EOF'\n{text}EOF"
        )
    }

    fn title(&self) -> String {
        format!("{HOSTS}: names marked {}", self.mark)
    }

    fn records(&self) -> &'static [Kind] {
        &[record::HOSTS, record::LINES, record::UNENDED, record::KEPT]
    }

    fn subject(&self) -> Option<(String, String)> {
        Some((format!("the set of names marked {}", self.mark), self.names.id()))
    }

    fn settle(&self, facts: &mut Facts) {
        let ending = self.ending();
        let text = facts.texts.entry(HOSTS.to_owned()).or_default();
        let others = text.lines().filter(|line| !line.ends_with(&ending)).map(str::to_owned);
        let ours = self.names.lines().map(|line| format!("{line}{ending}"));
        *text = others.chain(ours).map(|line| line + "\n").collect();
    }
}
