//! Decodes `registries` and `proxy`.

use super::{Decoder, Fields};
use crate::inventory::keys::{PROXY, REGISTRY};
use crate::inventory::{ProxySection, RegistryEntry};

impl Decoder<'_> {
    pub(super) fn registries(&mut self, fields: &Fields<'_>) -> Vec<RegistryEntry> {
        let mut registries = Vec::new();
        for (host, tree, path) in self.entries_of(fields, "registries") {
            let Some(fields) = self.mapping(tree, &path, &REGISTRY) else { continue };
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
        let fields = self.section(fields, "proxy", &PROXY)?;
        Some(ProxySection {
            http: self.text(&fields, "http"),
            https: self.text(&fields, "https"),
            no: self.texts(&fields, "no"),
        })
    }
}
