//! `routes`: the routes of a network in the main table, until the next reboot. (A unit sets them
//! after a reboot.)
//!
//! Every manually configured route (`proto boot`) to a part of that network is ours: one that is
//! not in the set leads to a node that has left and is removed by the same task. Routes of the
//! kernel and of routing daemons are left alone.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Each, Facts, Question, Site, State, set::Set,
    set::parsed,
};
use crate::node::record::{self, Kind};

/// The widest network whose routes may be treated as ours; a wider one would include routes of the
/// Internet.
pub const WIDEST: u8 = 8;

/// `routes`: the routes of a network in the main table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesArgs {
    /// The network; other routes to parts of it are removed.
    pub within: String,
    /// One route for each of these nodes.
    #[serde(default)]
    pub each: Option<Each>,
    /// Destination CIDR. Rendered once for all nodes, with `peer` but without `node`.
    pub to: String,
    /// Next hop; rendered like `to`.
    pub via: String,
}

impl Arguments for RoutesArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let within = site.text(&self.within)?;
        let within: IpNet = parsed(&within, "a CIDR")?;
        if within.prefix_len() < WIDEST {
            return Err(format!(
                "{within} is too wide to own all routes in it; /{WIDEST} is the widest"
            ));
        }
        let routes = Set::worked_out(site, self.each, |site| {
            let to: IpNet = parsed(&site.text(&self.to)?, "a CIDR")?;
            let via = parsed(&site.text(&self.via)?, "an address")?;
            if !within.contains(&to) {
                return Err(format!("{to} is not within {within}"));
            }
            Ok((to.trunc().to_string(), Route { to, via }))
        })?;
        Ok(Desired::Routes(Routes { within, routes }))
    }
}

/// All routes to parts of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct Routes {
    /// The network.
    pub within: IpNet,
    /// The routes.
    pub routes: Set<Route>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub to: IpNet,
    /// Next hop.
    pub via: IpAddr,
}

impl Route {
    /// Returns the destination as `ip route` prints it: a host without its prefix length.
    fn destination(&self) -> String {
        destination(self.to)
    }
}

fn destination(to: IpNet) -> String {
    if to.prefix_len() == to.max_prefix_len() {
        to.addr().to_string()
    } else {
        to.trunc().to_string()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {}", self.destination(), self.via)
    }
}

/// Returns the word of a route that follows `word`.
fn after<'a>(route: &'a str, word: &str) -> Option<&'a str> {
    let mut words = route.split_whitespace();
    words.by_ref().find(|it| *it == word).and_then(|_| words.next())
}

/// Whether a route was configured manually. `ip route` omits the protocol `boot`.
fn is_manual(route: &str) -> bool {
    after(route, "proto").is_none_or(|it| it == "boot")
}

impl Routes {
    /// Whether a route on a node is one of ours, desired or not.
    fn owns(&self, to: &str, route: &str) -> bool {
        let network = to.parse::<IpNet>().ok();
        let network = network.or_else(|| to.parse::<IpAddr>().ok().map(IpNet::from));
        network.is_some_and(|to| self.within.contains(&to)) && is_manual(route)
    }
}

impl State for Routes {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Routes]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let mut ours = 0;
        for (route, line) in self.routes.iter().zip(self.routes.lines()) {
            let to = line.split(' ').next().unwrap_or_default();
            let Some(found) = facts.routes.get(to) else {
                return Some(Difference::alter(format!("{to} is missing")));
            };
            let via = || after(found, "via").and_then(|via| via.parse().ok());
            let is_it = found.strip_prefix(line).is_some_and(|rest| rest.starts_with(' '));
            if !is_it && via() != Some(route.via) {
                return Some(Difference::alter(format!("is `{found}`")));
            }
            ours += usize::from(is_manual(found));
        }
        let owned = |(to, route): &(&Arc<str>, &Arc<str>)| self.owns(to, route);
        if facts.routes.iter().filter(owned).count() == ours {
            return None;
        }
        let wanted: BTreeSet<_> = self.routes.iter().map(Route::destination).collect();
        let left = facts.routes.iter().filter(owned).find(|(to, _)| !wanted.contains(&***to));
        left.map(|(_, route)| Difference::alter(format!("`{route}` is left over")))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let within = destination(self.within);
        let payload =
            format!("routes-{}", self.within.trunc().to_string().replace(['/', ':'], "-"));
        Actions {
            script: format!("set_routes {within} '{}' \"$payload/{payload}\"\n", self.routes.own()),
            payloads: vec![(payload, self.routes.text())],
            ..Actions::default()
        }
    }

    // The same on every node, so that `explain` can show it once: a node needs no route to itself.
    fn shell(&self) -> String {
        let text = self.routes.text();
        format!(
            "while read -r to via gateway; do\n  ip -o address | grep -qwF \"$gateway\" || \
             ip route replace \"$to\" via \"$gateway\"\ndone <<'EOF'\n{}EOF\n\
             # Of `ip route show root {} proto boot`, delete what is not in that list.",
            String::from_utf8_lossy(&text),
            destination(self.within)
        )
    }

    fn title(&self) -> String {
        format!("routes to {}", destination(self.within))
    }

    fn records(&self) -> &'static [Kind] {
        &[record::ROUTE]
    }

    fn subject(&self) -> Option<(String, String)> {
        Some((format!("the set of routes to {}", self.within.trunc()), self.routes.id()))
    }

    fn settle(&self, facts: &mut Facts) {
        let kept = std::mem::take(&mut facts.routes);
        facts.routes = kept.into_iter().filter(|(to, route)| !self.owns(to, route)).collect();
        for route in self.routes.iter() {
            facts.routes.insert(route.destination().into(), format!("{route} dev eth0").into());
        }
    }
}
