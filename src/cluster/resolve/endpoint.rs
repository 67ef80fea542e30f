//! The endpoint: where clients reach the API servers, and on which port.

use std::net::IpAddr;

use super::Resolver;
use super::networks::Networks;
use super::nodes::Draft;
use crate::cluster::{Api, Role, names};
use crate::inventory::{Located, did_you_mean};

/// The port of every API server.
const SERVER_PORT: u16 = 6443;

/// The port of a load balancer on a machine where an API server uses 6443.
const SHARED_PORT: u16 = 8443;

/// What is behind the endpoint.
enum Backend<'d, 'i> {
    /// One of the lab's load balancers.
    Loadbalancer(&'d Draft<'i>),
    /// One of the lab's controllers, without a load balancer.
    Controller(&'d Draft<'i>),
    /// Another name or address.
    Own(String),
}

impl Resolver<'_, '_> {
    pub(super) fn api(&mut self, drafts: &[Draft<'_>], networks: &Networks) -> Option<Api> {
        let target = match &self.inventory.api.endpoint {
            Some(endpoint) => self.named(endpoint, drafts, networks)?,
            None => self.default_target(drafts)?,
        };
        let port = self.port(&target, drafts)?;
        let (host, loadbalancer) = match target {
            Backend::Loadbalancer(draft) => {
                (draft.address?.to_string(), draft.name.map(str::to_owned))
            }
            Backend::Controller(draft) => (draft.address?.to_string(), None),
            Backend::Own(host) => (host, None),
        };
        let names = self.api_names();
        Some(Api { host, port, loadbalancer, server_port: SERVER_PORT, names })
    }

    /// Returns additional names and addresses of the API for its certificate.
    fn api_names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.inventory.api.names.iter().flat_map(|names| &names.value) {
            let text = name.value.as_str();
            let wrong = if text.parse::<IpAddr>().is_ok() {
                None
            } else if let Some(wrong) = names::wrong_address(text) {
                Some(wrong.to_owned())
            } else if text.contains(':') {
                Some("has a port in it".to_owned())
            } else {
                names::check_domain(text).err()
            };
            match wrong {
                Some(wrong) => {
                    let help = "write a name or an address that clients use for the API, such as \
                        api.example.org";
                    self.problems.error(name.at, format!("`api.names`: `{text}` {wrong}"), help);
                }
                None => names.push(text.to_owned()),
            }
        }
        names
    }

    /// Returns the first load balancer, else the first controller.
    fn default_target<'d, 'i>(&mut self, drafts: &'d [Draft<'i>]) -> Option<Backend<'d, 'i>> {
        if let Some(loadbalancer) = drafts.iter().find(|draft| draft.has(Role::Loadbalancer)) {
            return Some(Backend::Loadbalancer(loadbalancer));
        }
        let mut controllers = drafts.iter().filter(|draft| draft.has(Role::Controller));
        let first = controllers.next()?;
        if controllers.next().is_some() && drafts.iter().all(|draft| draft.roles.is_some()) {
            let name = first.name.unwrap_or("the first controller");
            let at = self.inventory.nodes.as_ref().map(|nodes| nodes.at).unwrap_or_default();
            let what = format!(
                "several controllers and no load balancer: everything reaches the API through \
                `{name}` alone"
            );
            let help = "add a node with `roles: [loadbalancer]`, or set `api.endpoint` to a name \
                of your own";
            self.problems.warning(at, what, help);
        }
        Some(Backend::Controller(first))
    }

    /// Returns what `endpoint` names.
    fn named<'d, 'i>(
        &mut self,
        endpoint: &Located<String>,
        drafts: &'d [Draft<'i>],
        networks: &Networks,
    ) -> Option<Backend<'d, 'i>> {
        let text = endpoint.value.as_str();
        let address = text.parse::<IpAddr>().ok();
        let is_it = |draft: &&Draft<'_>| {
            let own = [draft.address, draft.second_address];
            draft.name == Some(text) || (address.is_some() && own.contains(&address))
        };
        if let Some(draft) = drafts.iter().find(is_it) {
            // Problems with its roles were reported already.
            draft.roles.as_ref()?;
            if draft.has(Role::Loadbalancer) {
                return Some(Backend::Loadbalancer(draft));
            }
            if draft.has(Role::Controller) {
                return Some(Backend::Controller(draft));
            }
            let what = format!(
                "`api.endpoint` is the node `{}`, which is not a load balancer",
                draft.name.unwrap_or(text)
            );
            let help = match drafts
                .iter()
                .find(|draft| draft.has(Role::Loadbalancer))
                .and_then(|draft| draft.name)
            {
                Some(name) => format!("did you mean `{name}`?"),
                None => {
                    "name a node with the role loadbalancer or controller, or a name of your own"
                        .to_owned()
                }
            };
            self.problems.error(endpoint.at, what, help);
            return None;
        }
        let (what, help) = match wrong(text, address, drafts, networks) {
            None => return Some(Backend::Own(text.to_owned())),
            Some(wrong) => wrong,
        };
        self.problems.error(endpoint.at, what, help);
        None
    }

    fn port(&mut self, target: &Backend<'_, '_>, drafts: &[Draft<'_>]) -> Option<u16> {
        let shared = drafts
            .iter()
            .find(|draft| draft.has(Role::Loadbalancer) && draft.has(Role::Controller));
        let shared_name = shared.map(|draft| draft.name.unwrap_or("the load balancer"));
        let given = self.inventory.api.port;
        if let Backend::Controller(draft) = target {
            let name = draft.name.unwrap_or("the controller");
            if let Some(given) = given.filter(|given| given.value != SERVER_PORT) {
                let what = format!(
                    "`{name}` is a controller, and its API server listens on {SERVER_PORT}, not {}",
                    given.value
                );
                let help = "leave `port` out; another port needs a load balancer as the endpoint";
                self.problems.error(given.at, what, help);
                return None;
            }
            if let (Some(shared), Some(endpoint)) = (shared_name, &self.inventory.api.endpoint) {
                let what = format!(
                    "`api.endpoint` is the controller `{name}`, beside the load balancer `{shared}`"
                );
                self.problems.error(endpoint.at, what, format!("did you mean `{shared}`?"));
                return None;
            }
            return Some(SERVER_PORT);
        }
        let default = if shared.is_some() { SHARED_PORT } else { SERVER_PORT };
        if let (Some(shared), Some(given)) =
            (shared_name, given.filter(|given| given.value == SERVER_PORT))
        {
            let what = format!(
                "`{shared}` cannot balance on port {SERVER_PORT}: it is a controller too, and its \
                API server listens there"
            );
            self.problems.error(
                given.at,
                what,
                format!("leave `port` out for {SHARED_PORT}, or choose another"),
            );
            return None;
        }
        Some(given.map_or(default, |given| given.value))
    }
}

/// Returns what to write in place of a name that no node has.
fn other_name(text: &str, drafts: &[Draft<'_>]) -> String {
    let mut names =
        drafts.iter().filter(|draft| draft.has(Role::Loadbalancer) || draft.has(Role::Controller));
    let own = "a name of your own needs a dot, such as api.example.org";
    if let Some(near) = did_you_mean(text, names.clone().filter_map(|draft| draft.name)) {
        return format!("did you mean `{near}`? {own}");
    }
    match names.find(|draft| draft.has(Role::Loadbalancer)).and_then(|draft| draft.name) {
        Some(name) => format!("the load balancer is `{name}`; {own}"),
        None => format!("name a load balancer node; {own}"),
    }
}

/// Returns why `text` cannot be a custom endpoint, and what could be.
fn wrong(
    text: &str,
    address: Option<IpAddr>,
    drafts: &[Draft<'_>],
    networks: &Networks,
) -> Option<(String, String)> {
    if let Some(address) = address {
        let inside = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&address));
        let key = if inside(&networks.pods) {
            "network.pods"
        } else if inside(&networks.services) {
            "network.services"
        } else {
            return None;
        };
        let what = format!(
            "`api.endpoint` {address} is inside `{key}`, which nothing outside the cluster can \
            reach"
        );
        return Some((
            what,
            "name a load balancer node, or an address in the network of the nodes".to_owned(),
        ));
    }
    let own = || "a load balancer node, or a name or address of your own".to_owned();
    if let Some(wrong) = names::wrong_address(text) {
        return Some((format!("`api.endpoint` `{text}` {wrong}"), own()));
    }
    if let Some((host, port)) = text.rsplit_once(':') {
        let what = format!("`api.endpoint` `{text}` has a port in it");
        return Some((what, format!("write `endpoint: {host}` and `port: {port}`")));
    }
    if !text.contains('.') {
        let what = format!("`api.endpoint`: no node is called `{text}`");
        return Some((what, other_name(text, drafts)));
    }
    let wrong = names::check_domain(text).err()?;
    Some((format!("`api.endpoint` `{text}` {wrong}"), own()))
}
