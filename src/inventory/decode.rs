//! Decodes YAML values into the typed inventory: known keys, right types, nothing missing, no
//! duplicates.
//!
//! Written without serde because a derived deserializer stops at the first error and knows no
//! columns. Each wrong value becomes a [`Problem`](super::Problem) and is left out; decoding
//! continues with the rest.

mod components;
mod families;
mod nodes;
mod registries;

use std::collections::HashSet;
use std::path::Path as FilePath;

use super::keys::{
    API, INVENTORY, JUMP, KeySection, LOCAL, NETWORK, PKI, SECTIONS, SSH, ValueKind,
};
use super::positions::{Path, Position, Positions};
use super::problem::{Problems, did_you_mean};
use super::tree::Tree;
use super::variables::{IGNORED, Lookup, fill};
use super::{
    ApiSection, Inventory, JumpEntry, LocalSection, Located, NetworkSection, PkiSection, SshSection,
};

/// Returns the inventory in `tree`, with variables replaced by what `lookup` returns, and with all
/// errors in its structure.
pub(super) fn decode(
    file: &FilePath,
    mut tree: Tree,
    positions: &Positions,
    lookup: Lookup<'_>,
) -> Inventory {
    let mut problems = Problems::new(file);
    let filled = fill(&mut tree, positions, lookup, &mut problems);
    let mut decoder = Decoder { positions, problems, filled };
    for duplicate in positions.duplicates() {
        decoder.problems.error(
            duplicate.again,
            format!(
                "`{}` is given twice; the first time in line {}",
                duplicate.path, duplicate.first.line
            ),
            "keep one of the two",
        );
    }
    let mut inventory = decoder.inventory(&tree);
    inventory.file = file.to_path_buf();
    inventory.problems = decoder.problems.into_sorted();
    inventory
}

struct Decoder<'a> {
    positions: &'a Positions,
    problems: Problems,
    /// The values that came from variables, at least in part.
    filled: HashSet<Path>,
}

/// The entries of one mapping, with its path.
struct Fields<'t> {
    entries: Vec<(&'t str, &'t Tree)>,
    path: Path,
    at: Position,
    /// What it is, if its keys are known.
    section: Option<&'static KeySection>,
    /// Known keys that were suggested for an unknown one.
    suggested: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    fn get(&self, key: &str) -> Option<(&'t Tree, Path)> {
        let (_, tree) = self.entries.iter().find(|(name, _)| *name == key)?;
        Some((tree, self.path.key(key)))
    }
}

impl Decoder<'_> {
    fn inventory(&mut self, tree: &Tree) -> Inventory {
        let Some(fields) = self.mapping(tree, &Path::default(), &INVENTORY) else {
            return Inventory::default();
        };
        self.require(&fields, "name", "name: sandbox");
        self.require(&fields, "kubernetes", "kubernetes: \"1.34.2\"");
        self.require(
            &fields,
            "nodes",
            "nodes: [{ name: node-0, address: 10.240.0.10, roles: [controller, worker] }]",
        );
        Inventory {
            name: self.text(&fields, "name"),
            kubernetes: self.version(&fields, "kubernetes"),
            domain: self.text(&fields, "domain"),
            bundle: self.text(&fields, "bundle"),
            playbooks: self.text(&fields, "playbooks"),
            templates: self.text(&fields, "templates"),
            clusters: self.integer(&fields, "clusters"),
            local: self.local(&fields),
            ssh: self.ssh(&fields, &SSH),
            network: self.network(&fields),
            api: self.api(&fields),
            pki: self.pki(&fields),
            addons: self.texts(&fields, "addons"),
            components: self.components(&fields),
            registries: self.registries(&fields),
            proxy: self.proxy(&fields),
            nodes: self.nodes(&fields),
            ..Inventory::default()
        }
    }

    fn local(&mut self, fields: &Fields<'_>) -> Option<Located<LocalSection>> {
        let fields = self.section(fields, "local", &LOCAL)?;
        self.require(&fields, "subnet", "subnet: 10.240.0.0/24");
        let at = self.positions.key(&fields.path);
        let (subnet, packages) =
            (self.per_family(&fields, "subnet"), self.texts(&fields, "packages"));
        Some(Located::new(LocalSection { subnet, packages }, at))
    }

    fn ssh(&mut self, fields: &Fields<'_>, section: &'static KeySection) -> SshSection {
        let Some(fields) = self.section(fields, "ssh", section) else {
            return SshSection::default();
        };
        SshSection {
            host: self.text(&fields, "host"),
            port: self.integer(&fields, "port"),
            user: self.text(&fields, "user"),
            identity: self.text(&fields, "identity"),
            jump: self.jump(&fields),
            connect_timeout: self.integer(&fields, "connect_timeout"),
            host_keys: self.text(&fields, "host_keys"),
            become_with: self.text(&fields, "become"),
            become_password_file: self.text(&fields, "become_password_file"),
            become_password_command: self.text(&fields, "become_password_command"),
        }
    }

    /// Jump hosts: a text, a mapping, or a list of both.
    fn jump(&mut self, fields: &Fields<'_>) -> Option<Located<Vec<JumpEntry>>> {
        let (tree, path) = fields.get("jump")?;
        let at = self.positions.value(&path);
        let entries = match tree {
            Tree::List(elements) => elements
                .iter()
                .enumerate()
                .filter_map(|(index, tree)| self.jump_entry(tree, &path.index(index)))
                .collect(),
            tree => vec![self.jump_entry(tree, &path)?],
        };
        Some(Located::new(entries, at))
    }

    fn jump_entry(&mut self, tree: &Tree, path: &Path) -> Option<JumpEntry> {
        if !matches!(tree, Tree::Map(_)) {
            return self.text_at(tree, path).map(JumpEntry::Text);
        }
        let fields = self.mapping(tree, path, &JUMP)?;
        self.require(&fields, "host", "host: bastion.example.org");
        Some(JumpEntry::Parts(Box::new(SshSection {
            host: self.text(&fields, "host"),
            port: self.integer(&fields, "port"),
            user: self.text(&fields, "user"),
            identity: self.text(&fields, "identity"),
            ..SshSection::default()
        })))
    }

    fn network(&mut self, fields: &Fields<'_>) -> NetworkSection {
        let Some(fields) = self.section(fields, "network", &NETWORK) else {
            return NetworkSection::default();
        };
        NetworkSection {
            pods: self.per_family(&fields, "pods"),
            services: self.per_family(&fields, "services"),
            node_prefix: self.integer_per_family(&fields, "node_prefix"),
            mtu: self.integer(&fields, "mtu"),
            mode: self.text(&fields, "mode"),
            proxy: self.text(&fields, "proxy"),
        }
    }

    fn api(&mut self, fields: &Fields<'_>) -> ApiSection {
        let Some(fields) = self.section(fields, "api", &API) else { return ApiSection::default() };
        ApiSection {
            endpoint: self.text(&fields, "endpoint"),
            port: self.integer(&fields, "port"),
            names: self.texts(&fields, "names"),
        }
    }

    fn pki(&mut self, fields: &Fields<'_>) -> PkiSection {
        let Some(fields) = self.section(fields, "pki", &PKI) else { return PkiSection::default() };
        PkiSection {
            algorithm: self.text(&fields, "algorithm"),
            // At most a hundred years, because the dates in a certificate have four-digit years.
            ca_days: self.integer(&fields, "ca_days"),
            leaf_days: self.integer(&fields, "leaf_days"),
        }
    }

    fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Option<Located<Vec<Located<String>>>> {
        let (elements, path) = self.list(fields, key)?;
        let at = self.positions.value(&path);
        let mut texts = Vec::new();
        for (index, tree) in elements.iter().enumerate() {
            texts.extend(self.text_at(tree, &path.index(index)));
        }
        Some(Located::new(texts, at))
    }

    /// Returns the entries of the mapping at `key`, each with its path.
    fn entries_of<'t>(
        &mut self,
        fields: &Fields<'t>,
        key: &str,
    ) -> Vec<(Located<String>, &'t Tree, Path)> {
        let Some((tree, path)) = fields.get(key) else { return Vec::new() };
        let Some(found) = self.any_mapping(tree, &path) else { return Vec::new() };
        let entry = |(name, tree): &(&str, &'t Tree)| {
            let path = path.key(name);
            (Located::new((*name).to_owned(), self.positions.key(&path)), *tree, path)
        };
        found.entries.iter().map(entry).collect()
    }

    /// Returns the section called `key`, if it exists and is a mapping.
    fn section<'t>(
        &mut self,
        fields: &Fields<'t>,
        key: &str,
        section: &'static KeySection,
    ) -> Option<Fields<'t>> {
        let (tree, path) = fields.get(key)?;
        self.mapping(tree, &path, section)
    }

    /// Returns the entries of a mapping and reports keys that are not in `section`.
    fn mapping<'t>(
        &mut self,
        tree: &'t Tree,
        path: &Path,
        section: &'static KeySection,
    ) -> Option<Fields<'t>> {
        let mut fields = self.any_mapping(tree, path)?;
        fields.section = Some(section);
        let known: Vec<&'static str> = section.names().collect();
        if *path == Path::default() {
            fields.entries.retain(|(key, _)| !key.starts_with(IGNORED));
        }
        let mut unknown: Vec<&str> = Vec::new();
        fields.entries.retain(|(key, _)| {
            let is_known = known.contains(key);
            if !is_known && !unknown.contains(key) {
                unknown.push(key);
            }
            is_known
        });
        for key in unknown {
            let near = did_you_mean(key, known.iter().copied());
            let near = near.and_then(|near| known.iter().copied().find(|known| *known == near));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            fields.suggested.extend(near);
            let path = path.key(key);
            self.problems.error(self.positions.key(&path), format!("unknown key `{path}`"), help);
        }
        Some(fields)
    }

    /// Returns the entries of a mapping with arbitrary text keys; entries merged by `<<` come after
    /// its own.
    fn any_mapping<'t>(&mut self, tree: &'t Tree, path: &Path) -> Option<Fields<'t>> {
        let at = self.positions.value(path);
        let Tree::Map(written) = tree else {
            self.wrong_type(
                tree,
                path,
                "a mapping",
                "write `key: value` pairs, one per line and indented",
            );
            return None;
        };
        let mut fields = Fields {
            entries: Vec::new(),
            path: path.clone(),
            at,
            section: None,
            suggested: vec![],
        };
        let mut merged = Vec::new();
        for (key, value) in written {
            match key {
                Tree::Text(key) if key == "<<" => merged.push(value),
                Tree::Text(key) => fields.entries.push((key, value)),
                other => {
                    let at = self.positions.key(&path.key(&other.as_key()));
                    let what = format!("a key must be text, not {}", other.describe(None));
                    self.problems.error(at, what, "put the key in quotes");
                }
            }
        }
        for value in merged {
            self.merge(&mut fields, value);
        }
        Some(fields)
    }

    /// Adds the entries of a merge key, except those that the mapping has itself.
    fn merge<'t>(&mut self, fields: &mut Fields<'t>, value: &'t Tree) {
        let sources = match value {
            Tree::List(sources) => sources.as_slice(),
            source => std::slice::from_ref(source),
        };
        for source in sources {
            let Tree::Map(entries) = source else {
                let at = self.positions.key(&fields.path.key("<<"));
                let what = format!("`<<` merges mappings, not {}", source.describe(None));
                self.problems.error(at, what, "write `<<: *name`, where `&name` marks a mapping");
                continue;
            };
            for (key, value) in entries {
                match key {
                    // A merged mapping may itself contain a merge.
                    Tree::Text(key) if key == "<<" => self.merge(fields, value),
                    Tree::Text(key) if !fields.entries.iter().any(|(known, _)| known == key) => {
                        fields.entries.push((key, value));
                    }
                    _ => {}
                }
            }
        }
    }

    fn list<'t>(&mut self, fields: &Fields<'t>, key: &str) -> Option<(&'t [Tree], Path)> {
        let (tree, path) = fields.get(key)?;
        if let Tree::List(elements) = tree {
            return Some((elements, path));
        }
        let help = match tree {
            Tree::Text(text) if text.len() < 40 => format!("write a list: {key}: [{text}]"),
            _ => "write a list: one `- ` per line, or [in, brackets]".to_owned(),
        };
        self.wrong_type(tree, &path, "a list", &help);
        None
    }

    fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<Located<String>> {
        let (tree, path) = fields.get(key)?;
        self.text_at(tree, &path)
    }

    fn text_at(&mut self, tree: &Tree, path: &Path) -> Option<Located<String>> {
        if let Tree::Text(text) = tree {
            return Some(Located::new(text.clone(), self.positions.value(path)));
        }
        let help = match (tree, self.positions.plain(path)) {
            (Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_), Some(plain)) => {
                format!("put it in quotes: \"{plain}\"")
            }
            _ => "write a single value here".to_owned(),
        };
        self.wrong_type(tree, path, "text", &help);
        None
    }

    /// Returns text that must be quoted, because without quotes it looks like a number: YAML reads
    /// 1.30 as 1.3.
    fn version(&mut self, fields: &Fields<'_>, key: &str) -> Option<Located<String>> {
        let (tree, path) = fields.get(key)?;
        let (Tree::Float(_) | Tree::Integer(_), Some(plain)) = (tree, self.positions.plain(&path))
        else {
            return self.text_at(tree, &path);
        };
        let whole = if plain.contains('.') { format!("{plain}.0") } else { "1.34.2".to_owned() };
        let help = format!("write the whole version, in quotes: {key}: \"{whole}\"");
        self.wrong_type(tree, &path, "a version in quotes", &help);
        None
    }

    fn integer<T: TryFrom<i128>>(&mut self, fields: &Fields<'_>, key: &str) -> Option<Located<T>> {
        let (tree, path) = fields.get(key)?;
        let kind = fields.section.and_then(|section| section.key(key)).map(|key| key.kind);
        let Some(ValueKind::Number(least, most)) = kind else { return None };
        self.integer_at(tree, &path, (least, most), key)
    }

    /// Returns the number at `path`, a value of `key`.
    fn integer_at<T: TryFrom<i128>>(
        &mut self,
        tree: &Tree,
        path: &Path,
        (least, most): (u32, u32),
        key: &str,
    ) -> Option<Located<T>> {
        let (least, most) = (i128::from(least), i128::from(most));
        let at = self.positions.value(path);
        // What comes from a variable is text.
        let number = match tree {
            Tree::Text(text) if self.filled.contains(path) => text.parse().ok().map(Tree::Integer),
            _ => None,
        };
        match number.as_ref().unwrap_or(tree) {
            Tree::Integer(number) if (least..=most).contains(number) => {
                T::try_from(*number).ok().map(|number| Located::new(number, at))
            }
            Tree::Integer(number) => {
                let what = format!("`{path}` must be from {least} to {most}, not {number}");
                self.problems.error(
                    at,
                    what,
                    "choose a number in that range, or leave the key out for the default",
                );
                None
            }
            Tree::Text(text) if text.parse::<i128>().is_ok() && !self.filled.contains(path) => {
                self.wrong_type(
                    tree,
                    path,
                    "a number",
                    &format!("leave the quotes out: {key}: {text}"),
                );
                None
            }
            _ => {
                self.wrong_type(
                    tree,
                    path,
                    "a whole number",
                    &format!("write a number from {least} to {most}"),
                );
                None
            }
        }
    }

    /// Reports a required key that is missing, unless a misspelt one was reported already.
    fn require(&mut self, fields: &Fields<'_>, key: &str, example: &str) {
        if fields.get(key).is_none() && !fields.suggested.contains(&key) {
            let whose = if fields.path == Path::default() {
                "the inventory".to_owned()
            } else {
                format!("`{}`", fields.path)
            };
            self.problems.error(
                fields.at,
                format!("{whose} has no `{key}`"),
                format!("add one, such as `{example}`"),
            );
        }
    }

    fn wrong_type(&mut self, tree: &Tree, path: &Path, wanted: &str, help: &str) {
        let at = self.positions.value(path);
        let whose =
            if *path == Path::default() { "the inventory".to_owned() } else { format!("`{path}`") };
        match tree {
            Tree::Null if path.ends_in(&required()) => {
                self.problems.error(at, format!("{whose} is empty"), "give it a value")
            }
            Tree::Null => self.problems.error(
                at,
                format!("{whose} is empty"),
                "give it a value, or leave the key out",
            ),
            Tree::Unset => {}
            Tree::Tagged => {
                self.problems.error(
                    at,
                    format!("{whose} has a tag"),
                    "a tag (`!...`) means nothing here: leave it out",
                );
            }
            _ => {
                let found = tree.describe(self.positions.plain(path));
                self.problems.error(at, format!("{whose} must be {wanted}, not {found}"), help);
            }
        }
    }
}

/// The keys that are required where they are allowed.
fn required() -> Vec<&'static str> {
    let keys = SECTIONS.iter().flat_map(|section| section.keys);
    // A node has roles of its own or those of `defaults`, and needs some.
    keys.filter(|key| key.is_required() || key.name == "roles").map(|key| key.name).collect()
}
