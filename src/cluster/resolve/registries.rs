//! Resolves `registries` and `proxy`: hosts, URLs and files.

use super::Resolver;
use crate::cluster::registries::{Mirror, Proxy, Registry};
use crate::inventory::{Located, RegistryEntry};

impl Resolver<'_, '_> {
    pub(super) fn registries(&mut self) -> Vec<Registry> {
        let entries = &self.inventory.registries;
        entries.iter().filter_map(|entry| self.registry(entry)).collect()
    }

    fn registry(&mut self, entry: &RegistryEntry) -> Option<Registry> {
        let host = &entry.host;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        if host.value.is_empty() || !host.value.bytes().all(letter) {
            let what = format!("`{}` is not the host of a registry", host.value);
            let help = "a host as in references of images, maybe with a port: \
                `registry.example.org:5000`; URLs are for `mirrors`";
            self.problems.error(host.at, what, help);
            return None;
        }
        let mirrors = entry.mirrors.iter().flat_map(|mirrors| &mirrors.value);
        let mirrors = mirrors.filter_map(|url| self.mirror(url)).collect();
        Some(Registry {
            host: host.value.clone(),
            mirrors,
            ca: entry.ca.as_ref().and_then(|file| self.path(file, "ca")),
            credentials: entry.credentials.as_ref().and_then(|file| self.path(file, "credentials")),
        })
    }

    fn mirror(&mut self, url: &Located<String>) -> Option<Mirror> {
        let rest = self.url(url, "mirrors")?;
        let url = url.value.trim_end_matches('/').to_owned();
        Some(Mirror { has_path: rest.trim_end_matches('/').contains('/'), url })
    }

    pub(super) fn way_out(&mut self) -> Option<Proxy> {
        let section = self.inventory.proxy.as_ref()?;
        let mut proxy = Proxy::default();
        for (url, key, place) in [
            (&section.http, "proxy.http", &mut proxy.http),
            (&section.https, "proxy.https", &mut proxy.https),
        ] {
            if let Some(url) = url
                && self.url(url, key).is_some()
            {
                place.clone_from(&url.value);
            }
        }
        let exceptions = section.no.iter().flat_map(|no| &no.value);
        for exception in exceptions {
            if exception.value.contains(|letter: char| letter == ',' || letter.is_whitespace()) {
                let what = format!("`proxy.no`: `{}` is more than one", exception.value);
                self.problems.error(exception.at, what, "write a list: [one, another]");
            }
            proxy.no.push(exception.value.clone());
        }
        Some(proxy)
    }

    /// Checks a URL, and returns what comes after its scheme.
    fn url<'t>(&mut self, url: &'t Located<String>, key: &str) -> Option<&'t str> {
        let rest = url.value.strip_prefix("https://").or_else(|| url.value.strip_prefix("http://"));
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/@%[]".contains(&byte);
        let (wrong, help) = match rest {
            None => ("is not a URL", "begin with `https://` or `http://`"),
            Some(rest) if rest.contains('@') => (
                "has a name or a password in it, which everybody on the nodes could read",
                "use `credentials` of a registry; a proxy must let the nodes in without",
            ),
            Some(rest) if rest.is_empty() || !rest.bytes().all(letter) => {
                ("is not a URL", "a host, maybe a port and a path: `http://10.0.0.1:5000`")
            }
            Some(rest) => return Some(rest),
        };
        self.problems.error(url.at, format!("`{key}`: `{}` {wrong}", url.value), help);
        None
    }
}
