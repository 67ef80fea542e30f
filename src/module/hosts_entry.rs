//! `hosts_entry`: a line in `/etc/hosts`, so that nodes find each other by name without any DNS.
//!
//! Lines of ours end with a mark. Everything else in the file belongs to others and is left as it is.

use std::net::Ipv4Addr;

use super::{Actions, Facts, Question, State, quote};

const HOSTS: &str = "/etc/hosts";
const MARK: &str = "# labctl";

/// A name with its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// The address.
    pub address: Ipv4Addr,
    /// The name.
    pub name: String,
}

impl HostsEntry {
    fn line(&self) -> String {
        format!("{} {} {MARK}", self.address, self.name)
    }

    /// How every line of ours for this name ends.
    fn ending(&self) -> String {
        format!(" {} {MARK}", self.name)
    }
}

impl State for HostsEntry {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Text(HOSTS.to_owned())]
    }

    fn diff(&self, facts: &Facts) -> Option<String> {
        let text = facts.texts.get(HOSTS).map(String::as_str).unwrap_or_default();
        let ours: Vec<&str> = text.lines().filter(|line| line.ends_with(&self.ending())).collect();
        match ours.as_slice() {
            [one] if *one == self.line() => None,
            [] => Some("missing".to_owned()),
            [one] => Some(format!("is {}", one.split(' ').next().unwrap_or_default())),
            _ => Some("there more than once".to_owned()),
        }
    }

    fn actions(&self, _: &Facts) -> Actions {
        // Written in place and not by rename: the file is a bind mount in some containers.
        Actions::script(format!(
            "claim_lines {HOSTS}\n\
             made hosts_entry {name}\n\
             {{ grep -v {pattern} {HOSTS} || :; echo {line}; }} > \"$payload/hosts\"\n\
             cat \"$payload/hosts\" > {HOSTS}\n",
            name = quote(&self.name),
            pattern = quote(&format!(" {} {MARK}$", self.name.replace('.', "\\."))),
            line = quote(&self.line())
        ))
    }

    fn shell(&self) -> String {
        format!("echo {} >> {HOSTS}", quote(&self.line()))
    }

    fn title(&self) -> String {
        format!("{HOSTS}: {}", self.name)
    }

    fn settle(&self, facts: &mut Facts) {
        let text = facts.texts.entry(HOSTS.to_owned()).or_default();
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.ends_with(&self.ending())).map(str::to_owned).collect();
        lines.push(self.line());
        *text = lines.join("\n") + "\n";
    }
}
