//! `route`: a route in the main table, as long as the machine runs. (A unit sets it again after a reboot.)

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Actions, Facts, Question, State};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub to: Ipv4Net,
    /// Next hop.
    pub via: Ipv4Addr,
}

impl Route {
    /// The destination as `ip route` prints it: a host without its prefix length, everything as `default`.
    fn destination(&self) -> String {
        match self.to.prefix_len() {
            0 => "default".to_owned(),
            32 => self.to.addr().to_string(),
            _ => self.to.trunc().to_string(),
        }
    }
}

impl State for Route {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Routes]
    }

    fn diff(&self, facts: &Facts) -> Option<String> {
        let Some(found) = facts.routes.get(&self.destination()) else { return Some("missing".to_owned()) };
        let mut words = found.split_whitespace();
        let via = words.by_ref().find(|word| *word == "via").and_then(|_| words.next());
        if via == Some(self.via.to_string().as_str()) { None } else { Some(format!("is `{found}`")) }
    }

    fn actions(&self, _: &Facts) -> Actions {
        Actions::script(format!("made route {}\n{}\n", self.destination(), self.shell()))
    }

    fn shell(&self) -> String {
        format!("ip route replace {} via {}", self.destination(), self.via)
    }

    fn title(&self) -> String {
        format!("route {} via {}", self.destination(), self.via)
    }

    fn settle(&self, facts: &mut Facts) {
        facts.routes.insert(self.destination(), format!("{} via {} dev eth0", self.destination(), self.via));
    }
}
