//! Add-ons: what a lab has beside what every lab has.

use std::path::Path;

use super::Resolver;
use crate::cluster::{MANIFESTS, Manifests, names};

impl Resolver<'_, '_> {
    /// The add-ons, each name once: those that are plays, by their names, and those that are
    /// manifests. Which plays there are, the playbook knows.
    pub(super) fn addons(&mut self) -> (Vec<String>, Vec<Manifests>) {
        let (mut plays, mut manifests) = (Vec::new(), Vec::<Manifests>::new());
        for addon in self.inventory.addons.iter().flat_map(|addons| &addons.value) {
            let is_path = is_manifest(&addon.value);
            let path = match is_path.then(|| self.path(addon, "addons")) {
                Some(None) => continue,
                Some(path) => path,
                None => None,
            };
            let name = path.as_deref().map_or(Some(addon.value.as_str()), stem);
            let name = name.unwrap_or_default();
            let known = plays.iter().map(String::as_str);
            let mut known = known.chain(manifests.iter().map(|it| it.name.as_str()));
            let wrong = match names::check_label(name, names::LONGEST_LAB_NAME) {
                Ok(()) if known.any(|it| it == name) => "is in the list twice".to_owned(),
                Ok(()) => {
                    let name = name.to_owned();
                    match path {
                        Some(path) => manifests.push(Manifests { name, path }),
                        None => plays.push(name),
                    }
                    continue;
                }
                Err(wrong) if is_path => format!("is called `{name}`, which {wrong}"),
                Err(wrong) => wrong,
            };
            self.problems.error(
                addon.at,
                format!("`addons`: `{}` {wrong}", addon.value),
                "an add-on is the name of a play, such as `metrics-server`, or manifests of your \
                own: a file or a directory, such as `./addons/web.yaml`",
            );
        }
        (plays, manifests)
    }
}

/// Whether an add-on is a path of manifests and not the name of a play.
fn is_manifest(addon: &str) -> bool {
    addon.contains('/') || MANIFESTS.iter().any(|it| addon.ends_with(&format!(".{it}")))
}

/// Returns the name of a file or directory of manifests, without the extension of a manifest.
fn stem(path: &Path) -> Option<&str> {
    let is_file = path.extension().is_some_and(|it| MANIFESTS.iter().any(|known| it == *known));
    if is_file { path.file_stem()?.to_str() } else { path.file_name()?.to_str() }
}
