//! A place that a task is worked out at: a node, a peer where the task is repeated, and what can be
//! named there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Materials;
use crate::cluster::{Node, Role};
use crate::machine::Family;
use crate::module::file::{Blob, Content};
use crate::module::site::SHOWS_A_SECRET;
use crate::module::{Each, Shared, Site};
use crate::render::Context;

/// From this length in bytes on, a password is no word that other texts have by chance.
const SHORTEST_SECRET: usize = 8;

/// What all places of a lab have in common.
pub(super) struct Lab<'a> {
    pub materials: &'a Materials<'a>,
    /// What is the same on all nodes.
    pub common: Context,
    /// The place of each node among those that leave their own out.
    places: BTreeMap<(Each, &'a str), usize>,
}

impl<'a> Lab<'a> {
    pub fn new(materials: &'a Materials<'a>) -> Self {
        let common = Context::of_lab(materials.cluster, materials.artefacts);
        let mut lab = Self { materials, common, places: BTreeMap::new() };
        for each in [Each::Peers, Each::PeerWorkers] {
            let places = lab.peers(each).enumerate();
            let places: Vec<_> = places.map(|(at, it)| ((each, it.name.as_str()), at)).collect();
            lab.places.extend(places);
        }
        lab
    }

    /// Whether the run is for this node.
    pub fn is_in_limit(&self, node: &Node) -> bool {
        let limit = &self.materials.artefacts.limit;
        limit.is_empty() || limit.contains(&node.name)
    }

    /// The places of a task on `node`: one for each peer that it is repeated for.
    pub fn places<'p>(
        &'p self,
        node: &'p Node,
        each: Option<Each>,
        own: &'p Context,
        shared: &'p Shared,
    ) -> impl Iterator<Item = Place<'p>> {
        let place = move |context| Place { lab: self, node, context, shared };
        let once = each.is_none().then(|| place(Cow::Borrowed(own)));
        let peers = each.into_iter().flat_map(move |each| self.peers(each));
        let others = peers.filter(move |peer| !leaves_own_out(each) || peer.name != node.name);
        once.into_iter().chain(others.map(move |peer| place(Cow::Owned(own.on(node, Some(peer))))))
    }

    /// The nodes that `each` stands for, the node itself among them.
    fn peers(&self, each: Each) -> impl Iterator<Item = &'a Node> + use<'a> {
        let wanted = move |node: &&Node| match each {
            Each::Nodes | Each::Peers => true,
            Each::Controllers => node.has(Role::Controller),
            Each::Workers | Each::PeerWorkers => node.has(Role::Worker),
        };
        self.materials.cluster.nodes.iter().filter(wanted)
    }

    /// Returns the content of `pki/NAME`, `kubeconfig/NAME` or `backup/NAME`, and whether it
    /// contains a private key.
    pub fn artefact(&self, name: &str) -> Result<(Content, bool), String> {
        let missing = || format!("there is no `{name}` in this lab");
        match name.split_once('/') {
            Some(("pki", file)) => {
                let bytes = self.materials.pki.file(file).ok_or_else(missing)?;
                Ok((
                    Content::inline(bytes.expose()),
                    !file.ends_with(".crt") && !file.ends_with(".pub"),
                ))
            }
            Some(("kubeconfig", file)) => {
                let bytes = self.materials.kubeconfigs.get(file).ok_or_else(missing)?;
                Ok((Content::inline(bytes.expose()), true))
            }
            Some(("backup", _)) => {
                let blob = self.materials.handed.get(name).ok_or_else(|| {
                    format!("there is no `{name}` in this run; only `labctl etcd restore` has it")
                })?;
                Ok((Content::Blob(blob.clone()), true))
            }
            _ => Err(format!("`{name}` is neither pki/NAME nor kubeconfig/NAME")),
        }
    }

    /// Whether a text contains a secret of the lab, whoever wrote the playbook.
    fn is_secret(&self, text: &str) -> bool {
        let artefacts = &self.materials.artefacts;
        let mut keys = artefacts.encryption_keys.iter().filter_map(|(_, key)| key.expose_text());
        let token = artefacts.bootstrap_token.expose_text().unwrap_or_default();
        let registries = artefacts.registries.values();
        let mut passwords = registries.filter_map(|it| it.password.expose_text());
        text.contains("PRIVATE KEY-----")
            || !token.is_empty() && text.contains(token)
            || keys.any(|key| !key.is_empty() && text.contains(key))
            || passwords.any(|password| has_password(text, password))
    }
}

/// Whether a text has a password of a registry in it. A short one may be a word of any text, so it
/// counts only as containerd's configuration has it.
fn has_password(text: &str, password: &str) -> bool {
    let quoted = serde_json::Value::from(password).to_string();
    !password.is_empty()
        && (text.contains(&format!("password = {quoted}"))
            || password.len() >= SHORTEST_SECRET && text.contains(password))
}

/// Whether a node is none of its own peers.
fn leaves_own_out(each: Option<Each>) -> bool {
    matches!(each, Some(Each::Peers | Each::PeerWorkers))
}

/// One place.
pub(super) struct Place<'p> {
    lab: &'p Lab<'p>,
    node: &'p Node,
    pub context: Cow<'p, Context>,
    shared: &'p Shared,
}

impl Place<'_> {
    fn rendered(&self, name: &str, context: &Context) -> Result<(Content, bool), String> {
        let text = self.lab.materials.renderer.render(name, context);
        let text = text.map_err(|error| error.to_string())?;
        let secret = self.lab.is_secret(&text);
        Ok((Content::inline(text.into_bytes()), secret))
    }
}

impl Site for Place<'_> {
    fn text(&self, text: &str) -> Result<String, String> {
        if !text.contains('{') {
            return Ok(text.to_owned());
        }
        let text = self.lab.materials.renderer.text(text, &self.context);
        let text = text.map_err(|error| error.to_string())?;
        if self.lab.is_secret(&text) { Err(SHOWS_A_SECRET.to_owned()) } else { Ok(text) }
    }

    fn content(&self, text: &str) -> Result<(Content, bool), String> {
        let text = self.lab.materials.renderer.text(text, &self.context);
        let text = text.map_err(|error| error.to_string())?;
        let secret = self.lab.is_secret(&text);
        Ok((Content::inline(text.into_bytes()), secret))
    }

    fn template(&self, name: &str, shared: bool) -> Result<(Content, bool), String> {
        if !shared {
            return self.rendered(name, &self.context);
        }
        if let Some(file) = self.shared.file.get() {
            return Ok(file.clone());
        }
        let file = self.rendered(name, &self.lab.common)?;
        Ok(self.shared.file.get_or_init(|| file).clone())
    }

    fn artefact(&self, name: &str) -> Result<(Content, bool), String> {
        self.lab.artefact(name)
    }

    fn blob(&self, name: &str) -> Result<(Blob, Option<String>), String> {
        let file = self.lab.materials.bundle.file(name).map_err(|error| error.to_string())?;
        let blob = Blob {
            sha256: file.sha256.clone(),
            size: file.size,
            source: file.path.clone(),
            name: name.to_owned(),
        };
        Ok((blob, file.image.clone()))
    }

    fn addons(&self) -> Vec<(String, Content)> {
        let all = self.lab.materials.artefacts.addons.iter();
        all.map(|it| (it.name.clone(), Content::inline(it.manifest.expose()))).collect()
    }

    fn is_first(&self) -> bool {
        let mut controllers = self.lab.materials.cluster.with_role(Role::Controller);
        let first = controllers.find(|node| self.lab.is_in_limit(node));
        first.is_some_and(|first| first.name == self.node.name)
    }

    fn family(&self) -> &'static Family {
        Family::named(&self.node.facts.family)
    }

    fn shared(&self) -> &Shared {
        self.shared
    }

    fn own_element(&self, each: Option<Each>) -> Option<usize> {
        self.lab.places.get(&(each?, self.node.name.as_str())).copied()
    }

    fn elements<'s>(
        &'s self,
        each: Option<Each>,
    ) -> Box<dyn Iterator<Item = Box<dyn Site + 's>> + 's> {
        let common = &self.lab.common;
        let place = move |context: Cow<'s, Context>| -> Box<dyn Site + 's> {
            Box::new(Place { lab: self.lab, node: self.node, context, shared: self.shared })
        };
        match each {
            None => Box::new(std::iter::once(place(Cow::Borrowed(common)))),
            Some(each) => {
                let peers = self.lab.peers(each);
                Box::new(peers.map(move |peer| place(Cow::Owned(common.of_peer(peer)))))
            }
        }
    }
}
