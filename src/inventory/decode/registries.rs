//! Decodes `registries` and `proxy`.

use super::{Decoder, Fields};
use crate::inventory::keys::{PROXY, REGISTRY};
use crate::inventory::{Located, ProxySection, RegistryEntry};

impl Decoder<'_> {
    pub(super) fn registries(&mut self, fields: &Fields<'_>) -> Vec<RegistryEntry> {
        let Some((tree, path)) = fields.get("registries") else { return Vec::new() };
        let Some(hosts) = self.any_mapping(tree, &path) else { return Vec::new() };
        let mut registries = Vec::new();
        for (host, tree) in &hosts.entries {
            let path = path.key(host);
            let host = Located::new((*host).to_owned(), self.positions.key(&path));
            let Some(fields) = self.mapping(tree, &path, REGISTRY) else { continue };
            registries.push(RegistryEntry {
                host,
                mirrors: self.texts(&fields, "mirrors"),
                ca: self.text(&fields, "ca"),
                credentials: self.text(&fields, "credentials"),
            });
        }
        registries
    }

    pub(super) fn proxy(&mut self, fields: &Fields<'_>) -> Option<ProxySection> {
        let fields = self.section(fields, "proxy", PROXY)?;
        Some(ProxySection {
            http: self.text(&fields, "http"),
            https: self.text(&fields, "https"),
            no: self.texts(&fields, "no"),
        })
    }
}
