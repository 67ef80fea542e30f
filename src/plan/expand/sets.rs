//! Sets are worked out once for all nodes of a play, not once per node: a lab of a thousand nodes
//! has a thousand names and routes on each of them.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::str::FromStr;

use super::Expansion;
use crate::cluster::{Node, Role};
use crate::module::file::Content;
use crate::module::hosts::{Hosts, Name, is_mark};
use crate::module::routes::{Route, Routes, WIDEST};
use crate::module::set::Set;
use crate::plan::ExpandError;
use crate::playbook::{Each, HostsArgs, RoutesArgs};
use crate::render::Context;

/// What the nodes share of one task, from the first node that needs it on.
#[derive(Default)]
pub(super) struct Shared {
    names: OnceCell<Set<Name>>,
    routes: OnceCell<Set<Route>>,
    file: OnceCell<(Content, bool)>,
}

impl Shared {
    /// A file that is the same on every node, and whether it is a secret.
    pub(super) fn file(
        &self,
        render: impl FnOnce() -> Result<(Content, bool), ExpandError>,
    ) -> Result<(Content, bool), ExpandError> {
        if let Some(file) = self.file.get() {
            return Ok(file.clone());
        }
        let file = render()?;
        Ok(self.file.get_or_init(|| file).clone())
    }
}

impl Expansion<'_> {
    pub(super) fn hosts(
        &self,
        args: &HostsArgs,
        place: &str,
        shared: &Shared,
    ) -> Result<Hosts, ExpandError> {
        if !is_mark(&args.mark) {
            let what = format!("mark `{}` is neither `labctl` nor like `labctl-mine`", args.mark);
            return Err(self.error(place, what));
        }
        let names = self.set(&shared.names, args.each, place, |context| {
            let name = self.text(&args.name, place, context)?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic() && c != '#') {
                return Err(self.error(place, format!("`{name}` is not a host name")));
            }
            let address =
                self.parsed(&self.text(&args.address, place, context)?, "address", place)?;
            Ok((name.clone(), Name { address, name }))
        })?;
        Ok(Hosts { mark: args.mark.clone(), names })
    }

    pub(super) fn routes(
        &self,
        args: &RoutesArgs,
        place: &str,
        context: &Context,
        shared: &Shared,
    ) -> Result<Routes, ExpandError> {
        let within = self.text(&args.within, place, context)?;
        let within: ipnet::Ipv4Net = self.parsed(&within, "CIDR", place)?;
        if within.prefix_len() < WIDEST {
            let what =
                format!("{within} is too wide to own all routes in it; /{WIDEST} is the widest");
            return Err(self.error(place, what));
        }
        let routes = self.set(&shared.routes, args.each, place, |context| {
            let to: ipnet::Ipv4Net =
                self.parsed(&self.text(&args.to, place, context)?, "CIDR", place)?;
            let via = self.parsed(&self.text(&args.via, place, context)?, "address", place)?;
            if !within.contains(&to) {
                return Err(self.error(place, format!("{to} is not within {within}")));
            }
            Ok((to.trunc().to_string(), Route { to, via }))
        })?;
        Ok(Routes { within, routes })
    }

    /// The elements for each node that the set is made of, without this node's own where it is one
    /// of its peers. `element` names what may be there only once.
    fn set<T: std::fmt::Display>(
        &self,
        shared: &OnceCell<Set<T>>,
        each: Option<Each>,
        place: &str,
        element: impl Fn(&Context) -> Result<(String, T), ExpandError>,
    ) -> Result<Set<T>, ExpandError> {
        let peers: Vec<&Node> = match each {
            None => Vec::new(),
            Some(Each::Nodes | Each::Peers) => self.materials.cluster.nodes.iter().collect(),
            Some(Each::Controllers) => self.materials.cluster.with_role(Role::Controller).collect(),
            Some(Each::Workers | Each::PeerWorkers) => {
                self.materials.cluster.with_role(Role::Worker).collect()
            }
        };
        let but_own = matches!(each, Some(Each::Peers | Each::PeerWorkers));
        let own = peers.iter().position(|peer| but_own && peer.name == self.node.name);
        if let Some(set) = shared.get() {
            return Ok(set.without(own));
        }
        let contexts = match each {
            None => vec![self.common.clone()],
            Some(_) => peers.iter().map(|peer| self.common.of_peer(peer)).collect(),
        };
        let (mut seen, mut elements) = (BTreeSet::new(), Vec::with_capacity(contexts.len()));
        for context in &contexts {
            let (key, element) = element(context)?;
            if let Some(key) = seen.replace(key) {
                return Err(self.error(place, format!("{key} is in this set twice")));
            }
            elements.push(element);
        }
        Ok(shared.get_or_init(|| Set::new(elements)).without(own))
    }

    fn parsed<T: FromStr>(&self, text: &str, kind: &str, place: &str) -> Result<T, ExpandError> {
        let a = if kind.starts_with('a') { "an" } else { "a" };
        text.parse().map_err(|_| self.error(place, format!("`{text}` is not {a} {kind}")))
    }
}
