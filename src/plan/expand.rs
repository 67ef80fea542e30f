//! From a playbook and a cluster to what is desired on each node: strings rendered, content looked
//! up, loops unrolled, and every unit told the hashes of what it uses.

mod sets;

use std::collections::BTreeMap;

use self::sets::Shared;
use super::coherence::{refuse_contradictions, tell_units_what_they_use};
use super::delivered::Delivered;
use super::{DesiredNode, DesiredPlay, DesiredTask, ExpandError};
use crate::bundle::Bundle;
use crate::cluster::{Cluster, Node, Role};
use crate::module::file::{Blob, Content, File};
use crate::module::unit::{Unit, Used};
use crate::module::{self, Desired, State};
use crate::pki::list;
use crate::pki::store::Pki;
use crate::playbook::{Delivers, Each, Module, Play, Playbook, Task, UnitState};
use crate::render::{Context, Renderer, context::Artefacts};

/// What tasks can name: everything that is neither in the playbook nor in the inventory.
pub struct Materials<'a> {
    /// The lab.
    pub cluster: &'a Cluster,
    /// Its certificates and keys.
    pub pki: &'a Pki,
    /// Its kubeconfigs by name.
    pub kubeconfigs: &'a BTreeMap<String, Vec<u8>>,
    /// The files it is built from.
    pub bundle: &'a Bundle,
    /// The templates.
    pub renderer: &'a Renderer,
    /// What templates know of bundle and PKI.
    pub artefacts: &'a Artefacts,
    /// Large secret files that this run hands to the playbook, by the name that it calls them:
    /// `backup/snapshot.db`.
    pub handed: &'a BTreeMap<String, Blob>,
}

/// Whether `text` is the name of a user or group. A number is not: a probe answers with names, and
/// would never agree.
fn is_name(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(part)
}

/// Works out every play for every node.
///
/// # Errors
/// For the first task that names something that does not exist, renders to something that is no
/// path, CIDR or address, or contradicts another task.
pub fn expand(
    playbook: &Playbook,
    materials: &Materials<'_>,
) -> Result<Vec<DesiredPlay>, ExpandError> {
    let mut plays: Vec<DesiredPlay> = Vec::with_capacity(playbook.plays.len());
    let common = Context::of_lab(materials.cluster, materials.artefacts);
    let sets_of = |play: &Play| play.tasks.iter().map(|_| Shared::default()).collect::<Vec<_>>();
    let sets: Vec<Vec<Shared>> = playbook.plays.iter().map(sets_of).collect();
    let mut delivered = Delivered::default();
    for (play, shared) in playbook.plays.iter().zip(&sets) {
        let after = play
            .after
            .iter()
            .filter_map(|name| playbook.plays.iter().position(|earlier| earlier.name == *name))
            .collect();
        let hosts: Vec<&Node> =
            materials.cluster.nodes.iter().filter(|node| play.on.includes(node)).collect();
        let mut nodes = Vec::with_capacity(hosts.len());
        for (index, node) in hosts.iter().enumerate() {
            let expansion =
                Expansion { play, node, materials, common: &common, shared, first: index == 0 };
            nodes.push(DesiredNode {
                node: node.name.clone(),
                tasks: expansion.tasks(&mut delivered)?,
            });
        }
        nodes.retain(|on| !on.tasks.is_empty());
        plays.push(DesiredPlay {
            name: play.name.clone(),
            why: play.why.clone(),
            after,
            strategy: play.strategy,
            nodes,
        });
    }
    refuse_contradictions(&plays)?;
    delivered.tell_units(&mut plays);
    tell_units_what_they_use(&mut plays)?;
    Ok(plays)
}

/// One play on one node.
struct Expansion<'a> {
    play: &'a Play,
    node: &'a Node,
    materials: &'a Materials<'a>,
    /// What all nodes have in common.
    common: &'a Context,
    /// The sets of the play's tasks.
    shared: &'a [Shared],
    first: bool,
}

impl<'a> Expansion<'a> {
    fn error(&self, task: impl ToString, what: impl ToString) -> ExpandError {
        ExpandError {
            play: self.play.name.clone(),
            task: task.to_string(),
            node: self.node.name.clone(),
            what: what.to_string(),
        }
    }

    fn holds(
        &self,
        condition: Option<&String>,
        task: &str,
        context: &Context,
    ) -> Result<bool, ExpandError> {
        match condition {
            Some(condition) => self
                .materials
                .renderer
                .condition(condition, context)
                .map_err(|e| self.error(task, e)),
            None => Ok(true),
        }
    }

    fn tasks(&self, delivered: &mut Delivered<'a>) -> Result<Vec<DesiredTask>, ExpandError> {
        let mut tasks = Vec::new();
        let own = self.common.on(self.node, None);
        if !self.holds(self.play.when.as_ref(), "", &own)? {
            return Ok(tasks);
        }
        if self.play.delivers == Some(Delivers::Certificates) {
            tasks.extend(self.certificates()?);
        }
        for (index, task) in self.play.tasks.iter().enumerate() {
            if task.once && !self.first || !task.on.iter().all(|on| on.includes(self.node)) {
                continue;
            }
            let place = task
                .name
                .clone()
                .unwrap_or_else(|| format!("{} ({})", index + 1, task.module.kind()));
            for peer in self.peers(task.each) {
                let context =
                    peer.map_or_else(|| own.clone(), |peer| own.on(self.node, Some(peer)));
                if !self.holds(task.when.as_ref(), &place, &context)? {
                    continue;
                }
                let desired = self.desired(task, &place, &context, &self.shared[index])?;
                let title = match &task.name {
                    Some(name) => self.text(name, &place, &context)?,
                    None => desired.title(),
                };
                delivered.note(&self.node.name, task, &desired);
                tasks.push(DesiredTask { title, why: task.why.clone(), desired });
            }
        }
        Ok(tasks)
    }

    /// The certificates, keys and kubeconfigs of the node, and the directories that they are in.
    fn certificates(&self) -> Result<Vec<DesiredTask>, ExpandError> {
        let files = list::files_of(self.node);
        let owner = || "root:root".to_owned();
        let directory = |path| {
            Desired::Directory(module::directory::Directory {
                path,
                mode: "755".to_owned(),
                owner: owner(),
            })
        };
        let mut all: Vec<(Desired, Option<&str>)> =
            list::directories_of(&files).into_iter().map(|path| (directory(path), None)).collect();
        for list::Placed { from: origin, to: path, is_private, why } in files {
            let (content, sensitive) = self.artefact(&origin, &path)?;
            let mode = if is_private { "600" } else { "644" }.to_owned();
            all.push((
                Desired::File(File { path, mode, owner: owner(), content, sensitive, origin }),
                why,
            ));
        }
        let task = |(desired, why): (Desired, Option<&str>)| DesiredTask {
            title: desired.title(),
            why: why.map(str::to_owned),
            desired,
        };
        Ok(all.into_iter().map(task).collect())
    }

    /// The nodes that a task is repeated for; once without a peer when it is not repeated.
    fn peers(&self, each: Option<Each>) -> Vec<Option<&Node>> {
        let Some(each) = each else { return vec![None] };
        let wanted = |node: &&Node| match each {
            Each::Nodes => true,
            Each::Controllers => node.has(Role::Controller),
            Each::Workers => node.has(Role::Worker),
            Each::Peers => node.name != self.node.name,
            Each::PeerWorkers => node.name != self.node.name && node.has(Role::Worker),
        };
        self.materials.cluster.nodes.iter().filter(wanted).map(Some).collect()
    }

    /// A text that may end in a command line, a title or a log, so it must not hold a secret.
    fn text(&self, text: &str, place: &str, context: &Context) -> Result<String, ExpandError> {
        if !text.contains('{') {
            return Ok(text.to_owned());
        }
        let text = self.materials.renderer.text(text, context).map_err(|e| self.error(place, e))?;
        self.shown(text, place)
    }

    fn shown(&self, text: String, place: &str) -> Result<String, ExpandError> {
        if self.is_secret(&text) {
            let what = "this would show the lab's encryption key; only a file may hold it: use \
                `template`, or `content`";
            return Err(self.error(place, what));
        }
        Ok(text)
    }

    /// Whether a text gives a secret of the lab away, whoever wrote the playbook and whatever it
    /// says about it.
    fn is_secret(&self, text: &str) -> bool {
        let key = &self.materials.artefacts.encryption_key;
        text.contains("PRIVATE KEY-----") || (!key.is_empty() && text.contains(key.as_str()))
    }

    fn path(&self, text: &str, place: &str, context: &Context) -> Result<String, ExpandError> {
        let path = self.text(text, place, context)?;
        if !path.starts_with('/') {
            return Err(self.error(place, format!("`{path}` is not an absolute path")));
        }
        // The probe's answers are lines of fields: tabs and `|` stand between them.
        if path.contains(|c: char| c.is_control() || c == '|') {
            return Err(self.error(
                place,
                format!("path {path:?} holds a character that labctl cannot ask about"),
            ));
        }
        Ok(path)
    }

    /// The path of a file, as distinct from a folder.
    fn file_path(&self, text: &str, place: &str, context: &Context) -> Result<String, ExpandError> {
        let path = self.path(text, place, context)?;
        if path.ends_with('/') {
            return Err(self.error(place, format!("`{path}` is a folder, where a file is needed")));
        }
        Ok(path)
    }

    /// systemd answers with whole names, and would never know a shortened one again.
    fn unit_name(&self, name: String, place: &str) -> Result<String, ExpandError> {
        const KINDS: [&str; 6] = [".service", ".socket", ".timer", ".mount", ".path", ".target"];
        if KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind)) {
            return Ok(name);
        }
        Err(self.error(place, format!("unit `{name}` lacks its kind; write `{name}.service`")))
    }

    fn mode(
        &self,
        mode: Option<&String>,
        default: &str,
        place: &str,
    ) -> Result<String, ExpandError> {
        let text = mode.map_or(default, String::as_str);
        let digits = text.trim_start_matches('0');
        if (1..=4).contains(&digits.len()) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return Ok(digits.to_owned());
        }
        Err(self.error(place, format!("mode `{text}` is not octal like \"0644\"")))
    }

    fn owner(&self, owner: Option<&String>, place: &str) -> Result<String, ExpandError> {
        let text = owner.map_or("root:root", String::as_str);
        match text.split_once(':') {
            Some((user, group)) if is_name(user) && is_name(group) => Ok(text.to_owned()),
            _ => Err(self.error(place, format!("owner `{text}` is not like \"root:root\""))),
        }
    }

    fn blob(&self, name: &str, place: &str) -> Result<(Blob, Option<String>), ExpandError> {
        let file = self.materials.bundle.file(name).map_err(|e| self.error(place, e))?;
        let blob = Blob {
            sha256: file.sha256.clone(),
            size: file.size,
            source: file.path.clone(),
            name: name.to_owned(),
        };
        Ok((blob, file.image.clone()))
    }

    /// The content that `pki/NAME`, `kubeconfig/NAME` or `backup/NAME` stands for, and whether it
    /// holds a private key.
    fn artefact(&self, name: &str, place: &str) -> Result<(Content, bool), ExpandError> {
        let missing = || self.error(place, format!("there is no `{name}` in this lab"));
        match name.split_once('/') {
            Some(("pki", file)) => {
                let bytes = self.materials.pki.get(file).ok_or_else(missing)?;
                Ok((Content::inline(bytes), !file.ends_with(".crt") && !file.ends_with(".pub")))
            }
            Some(("kubeconfig", file)) => {
                let bytes = self.materials.kubeconfigs.get(file).ok_or_else(missing)?;
                Ok((Content::inline(bytes.as_slice()), true))
            }
            Some(("backup", _)) => {
                let blob = self.materials.handed.get(name).ok_or_else(|| {
                    self.error(
                        place,
                        format!(
                            "there is no `{name}` in this run; `labctl etcd restore` brings it"
                        ),
                    )
                })?;
                Ok((Content::Blob(blob.clone()), true))
            }
            _ => {
                Err(self.error(place, format!("`{name}` is neither pki/NAME nor kubeconfig/NAME")))
            }
        }
    }

    fn desired(
        &self,
        task: &Task,
        place: &str,
        context: &Context,
        shared: &Shared,
    ) -> Result<Desired, ExpandError> {
        let text = |text: &String| self.text(text, place, context);
        let path = |text: &String| self.path(text, place, context);
        let file_path = |text: &String| self.file_path(text, place, context);
        Ok(match &task.module {
            Module::Directory(args) => Desired::Directory(module::directory::Directory {
                path: path(&args.path)?,
                mode: self.mode(args.mode.as_ref(), "755", place)?,
                owner: self.owner(args.owner.as_ref(), place)?,
            }),
            Module::File(args) => {
                let (content, sensitive, origin) = match (&args.from, &args.content) {
                    (Some(from), None) => {
                        let from = text(from)?;
                        let (content, sensitive) = self.artefact(&from, place)?;
                        (content, sensitive, from)
                    }
                    (None, Some(content)) => {
                        let content = self.materials.renderer.text(content, context);
                        let content = content.map_err(|e| self.error(place, e))?;
                        let sensitive = self.is_secret(&content);
                        (Content::inline(content.into_bytes()), sensitive, "playbook".to_owned())
                    }
                    _ => return Err(self.error(place, "a file has either `from` or `content`")),
                };
                Desired::File(File {
                    path: file_path(&args.to)?,
                    mode: self.mode(args.mode.as_ref(), "644", place)?,
                    owner: self.owner(args.owner.as_ref(), place)?,
                    content,
                    sensitive,
                    origin,
                })
            }
            Module::Template(args) => {
                let from = text(&args.from)?;
                let render = |context| {
                    let rendered = self
                        .materials
                        .renderer
                        .render(&from, context)
                        .map_err(|e| self.error(place, e))?;
                    let secret = self.is_secret(&rendered);
                    Ok((Content::inline(rendered.into_bytes()), secret))
                };
                let (content, secret) = if args.shared {
                    shared.file(|| render(self.common))?
                } else {
                    render(context)?
                };
                Desired::File(File {
                    path: file_path(&args.to)?,
                    mode: self.mode(args.mode.as_ref(), "644", place)?,
                    owner: self.owner(args.owner.as_ref(), place)?,
                    sensitive: args.sensitive || secret,
                    content,
                    origin: format!("templates/{from}.tera"),
                })
            }
            Module::Binary(args) => {
                let (blob, _) = self.blob(&text(&args.from)?, place)?;
                Desired::File(File {
                    path: file_path(&args.to)?,
                    mode: self.mode(args.mode.as_ref(), "755", place)?,
                    owner: "root:root".to_owned(),
                    origin: format!("bundle/{}", blob.name),
                    content: Content::Blob(blob),
                    sensitive: false,
                })
            }
            Module::Image(args) => {
                let (archive, reference) = self.blob(&text(&args.from)?, place)?;
                let reference = reference.ok_or_else(|| {
                    self.error(place, format!("`{}` is no image in the bundle", archive.name))
                })?;
                Desired::Image(module::image::Image { reference, archive })
            }
            Module::Unit(args) => Desired::Unit(Unit {
                name: self.unit_name(text(&args.name)?, place)?,
                started: args.state == UnitState::Started,
                enabled: args.enabled.unwrap_or(args.state == UnitState::Started),
                on_change: args.on_change,
                // Paths only, for now; hashes come once every file of the node is known.
                uses: args
                    .uses
                    .iter()
                    .flatten()
                    .map(|used| Ok(Used { path: path(used)?, sha256: String::new() }))
                    .collect::<Result<_, ExpandError>>()?,
                leaves: args.leaves.iter().map(path).collect::<Result<_, ExpandError>>()?,
            }),
            Module::Command(args) => Desired::Command(module::command::Command {
                run: text(&args.run)?,
                unless: text(&args.unless)?,
            }),
            Module::Sysctl(args) => Desired::Sysctl(module::sysctl::Sysctl {
                key: text(&args.key)?,
                value: text(&args.value)?,
            }),
            Module::KernelModule(args) => {
                Desired::KernelModule(module::kernel_module::KernelModule {
                    name: text(&args.name)?,
                    provides: path(&args.provides)?,
                })
            }
            Module::Package(args) => Desired::Package(module::package::Package {
                names: args
                    .names
                    .iter()
                    .map(|name| {
                        let name = text(name)?;
                        Ok(match name.split_once('=') {
                            Some((name, proof)) => module::package::Wanted {
                                name: name.to_owned(),
                                proof: Some(proof.to_owned()),
                            },
                            None => module::package::Wanted { name, proof: None },
                        })
                    })
                    .collect::<Result<_, ExpandError>>()?,
            }),
            Module::Routes(args) => Desired::Routes(self.routes(args, place, context, shared)?),
            Module::Hosts(args) => Desired::Hosts(self.hosts(args, place, shared)?),
            Module::KubectlApply(args) => {
                let from = text(&args.from)?;
                let manifest = self
                    .materials
                    .renderer
                    .render(&from, context)
                    .map_err(|e| self.error(place, e))?;
                let manifest = self.shown(manifest, place)?;
                Desired::KubectlApply(module::kubectl_apply::KubectlApply {
                    name: from,
                    manifest: Content::inline(manifest.into_bytes()),
                })
            }
            Module::Undo(args) => Desired::Undo(module::undo::Undo {
                own: args.own.iter().map(path).collect::<Result<_, ExpandError>>()?,
            }),
            Module::Wait(args) => Desired::Wait(module::wait::Wait {
                what: text(&args.what)?,
                until: text(&args.until)?,
                timeout: args.timeout,
                unit: args.unit.as_ref().map(text).transpose()?,
            }),
        })
    }
}
