//! From what was typed to the operation that does it.

use std::path::Path;
use std::process::ExitCode;

use super::bundle::{BundleVerb, PlaybookVerb, PullArgs};
use super::certs::{CertsVerb, KubeconfigArgs};
use super::etcd::{EtcdVerb, RecoverArgs};
use super::global::{GlobalArgs, SpreadWhen};
use super::image::ImageVerb;
use super::lab::{
    ConvergeArgs, DownArgs, ExecArgs, GraphArgs, GraphFormat, GuideFormat, LabArgs, LogsArgs,
    RenderArgs, SourceArgs, SshArgs, StatusArgs, SupportArgs, UpArgs,
};
use super::node::NodeVerb;
use super::timeline::TimelineArgs;
use super::workshop::WorkshopVerb;
use super::{Cli, Verb, man, shell};
use crate::commands::bundle::PullFrom;
use crate::commands::certs::renew::Renewal;
use crate::commands::explain::{GraphLanguage, GuideLanguage};
use crate::commands::kubeconfig::{Destination, NewUser};
use crate::commands::node::remove::Departure;
use crate::commands::recover::Recovery;
use crate::commands::status::StatusScreen;
use crate::commands::timeline::Shown;
use crate::commands::workshop::Submitted;
use crate::commands::{self, Exit, Options, Stop};
use crate::engine::Spread;
use crate::engine::logs::JournalPart;
use crate::inventory::{edit::NewNode, schema};
use crate::report::Reporter;

/// Runs what was typed.
pub fn run(cli: &Cli) -> ExitCode {
    // A plan is its own result and includes the differences.
    let is_plan =
        matches!(&cli.verb, Verb::Plan(_)) || matches!(&cli.verb, Verb::Play(args) if args.plan);
    let diff = cli.global.diff && !is_plan;
    let reporter = Reporter::new(cli.global.output, cli.global.verbose, diff);
    commands::run(&reporter, dispatch(&cli.verb, &cli.global, &reporter))
}

async fn dispatch(verb: &Verb, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    refuse_useless_limit(verb, global)?;
    let lab = |inventory: &Path| global.options(inventory, None);
    let with = |lab: &LabArgs, sources: &SourceArgs| global.options(&lab.inventory, Some(sources));
    match verb {
        Verb::Init(args) => commands::init::init(&args.wanted(), &lab(&args.to), reporter).await,
        Verb::Up(args) => up(args, global, reporter).await,
        Verb::Upgrade(args) => {
            let options = with(&args.lab, &args.sources);
            commands::upgrade::upgrade(&args.upgrade(), &options, reporter).await
        }
        Verb::Plan(args) => commands::plan::plan(&args.options(global), reporter).await,
        Verb::Play(args) => {
            let options = with(&args.lab, &args.sources);
            commands::play::play(&args.playbook, args.plan, &options, reporter).await
        }
        Verb::Down(args) => down(args, global, reporter).await,
        Verb::Node(verb) => node(verb, global, reporter).await,
        Verb::Smoke(args) => commands::smoke::smoke(&lab(&args.inventory), reporter).await,
        Verb::Status(args) => status(args, &lab(&args.lab.inventory), reporter).await,
        Verb::Support(args) => support(args, global, reporter).await,
        Verb::Validate(args) => commands::validate::validate(&args.inventory, reporter).await,
        Verb::Render(args) => render(args, &with(&args.lab, &args.sources), reporter),
        Verb::Explain(args) => {
            let (inventory, plays) = args.target.get();
            let plays = [plays, &args.play].concat();
            let options = global.options(inventory, Some(&args.sources));
            commands::explain::explain(&plays, args.format.language(), &options, reporter).await
        }
        Verb::Graph(args) => graph(args, &with(&args.lab, &args.sources), reporter).await,
        Verb::Image(verb) => image(verb, global, reporter).await,
        Verb::Exec(args) => exec(args, global, reporter).await,
        Verb::Kubectl(args) => {
            let (inventory, arguments) = args.target.get();
            commands::kubectl::kubectl(arguments, &lab(inventory), reporter)
        }
        Verb::Logs(args) => logs(args, global, reporter).await,
        Verb::Ssh(args) => ssh(args, global, reporter).await,
        Verb::Timeline(args) => timeline(args, reporter),
        Verb::Certs(verb) => certs(verb, global, reporter).await,
        Verb::Kubeconfig(args) => {
            let (user, destination) = kubeconfig(args);
            let options = lab(&args.lab.inventory);
            commands::kubeconfig::kubeconfig(user.as_ref(), &destination, &options, reporter)
        }
        Verb::Etcd(verb) => etcd(verb, global, reporter).await,
        Verb::Recover(args) => {
            commands::recover::recover(&recovery(args), &lab(&args.lab.inventory), reporter).await
        }
        Verb::Workshop(verb) => workshop(verb, global, reporter).await,
        Verb::Bundle(verb) => bundle(verb, reporter).await,
        Verb::Playbook(verb) => playbook(verb, reporter),
        Verb::Schema => commands::print(reporter, &schema::text()),
        Verb::Completions { shell: which } => completions(*which, reporter),
        Verb::Man { to } => man_pages(to.as_deref(), reporter),
    }
}

/// Refuses `--limit` for a verb that would pass over it. What is set for all verbs, in the
/// environment, is no mistake.
fn refuse_useless_limit(verb: &Verb, global: &GlobalArgs) -> Result<(), Stop> {
    let Some((called, why)) = without_limit(verb) else { return Ok(()) };
    if global.limit.is_empty() || std::env::var_os("LABCTL_LIMIT").is_some() {
        return Ok(());
    }
    Err(Stop::bad(format!("`{called}` cannot be combined with --limit: {why}"))
        .help("leave it out"))
}

/// Returns what a verb that takes no `--limit` is called, and why it takes none.
fn without_limit(verb: &Verb) -> Option<(&'static str, &'static str)> {
    const WHOLE_LAB: &str = "it concerns the whole lab";
    const NO_NODES: &str = "it asks no nodes";
    const NAMED: &str = "it takes the node as an argument";
    Some(match verb {
        Verb::Init(_) => ("init", "there is no inventory yet whose nodes it could name"),
        Verb::Smoke(_) => ("smoke", WHOLE_LAB),
        Verb::Recover(_) => ("recover", WHOLE_LAB),
        Verb::Kubeconfig(_) => ("kubeconfig", WHOLE_LAB),
        Verb::Kubectl(_) => ("kubectl", WHOLE_LAB),
        Verb::Node(NodeVerb::Stop(_)) => ("node stop", NAMED),
        Verb::Node(NodeVerb::Start(_)) => ("node start", NAMED),
        Verb::Logs(_) => ("logs", NAMED),
        Verb::Ssh(_) => ("ssh", NAMED),
        Verb::Validate(_) => ("validate", "it checks the whole inventory"),
        Verb::Timeline(_) => ("timeline", "it shows a run that has ended"),
        Verb::Bundle(_) => ("bundle", NO_NODES),
        Verb::Playbook(_) => ("playbook", NO_NODES),
        Verb::Schema => ("schema", NO_NODES),
        Verb::Completions { .. } => ("completions", NO_NODES),
        Verb::Man { .. } => ("man", NO_NODES),
        Verb::Up(_)
        | Verb::Upgrade(_)
        | Verb::Plan(_)
        | Verb::Play(_)
        | Verb::Down(_)
        | Verb::Node(_)
        | Verb::Status(_)
        | Verb::Support(_)
        | Verb::Render(_)
        | Verb::Explain(_)
        | Verb::Graph(_)
        | Verb::Image(_)
        | Verb::Exec(_)
        | Verb::Certs(_)
        | Verb::Etcd(_)
        | Verb::Workshop(_) => return None,
    })
}

async fn graph(args: &GraphArgs, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let language = args.format.language();
    if args.of_lab {
        return commands::picture::picture(language, args.live, options, reporter).await;
    }
    commands::explain::graph(language, options, reporter)
}

async fn image(verb: &ImageVerb, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let ImageVerb::Load(args) = verb;
    let (inventory, nodes) = args.target.get();
    let options = global.options(inventory, None);
    commands::image::load(&args.file, nodes, &options, reporter).await
}

async fn status(args: &StatusArgs, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let screen = match (&args.html, args.watch) {
        (Some(page), _) => StatusScreen::Page(page),
        (None, true) => StatusScreen::Watched,
        (None, false) => StatusScreen::Once,
    };
    commands::status::status(&screen, options, reporter).await
}

async fn exec(args: &ExecArgs, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let (inventory, nodes) = args.target.get();
    let options = global.options(inventory, None);
    commands::exec::exec(nodes, &args.command, &options, reporter).await
}

async fn logs(args: &LogsArgs, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let (inventory, node, unit) = args.target.get("logs")?;
    let options = global.options(inventory, None);
    commands::logs::logs(node, &args.part(unit), &options, reporter).await
}

async fn ssh(args: &SshArgs, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let (inventory, node, command) = args.target.get("ssh")?;
    let options = global.options(inventory, None);
    commands::ssh::ssh(node, command, &options, reporter).await
}

async fn support(
    args: &SupportArgs,
    global: &GlobalArgs,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let options = global.options(&args.lab.inventory, None);
    commands::support::support(args.to.as_deref(), &options, reporter).await
}

impl LogsArgs {
    fn part(&self, unit: Option<&str>) -> JournalPart {
        JournalPart {
            unit: unit.map(str::to_owned),
            lines: self.lines,
            since: self.since.clone(),
            follow: self.follow,
        }
    }
}

fn recovery(args: &RecoverArgs) -> Recovery {
    Recovery { from: args.from.clone(), accept_new_host_keys: args.accept_new_host_keys }
}

fn completions(which: clap_complete::Shell, reporter: &Reporter) -> Result<Exit, Stop> {
    commands::print(reporter, &shell::script(which).map_err(commands::failed)?)
}

fn man_pages(to: Option<&Path>, reporter: &Reporter) -> Result<Exit, Stop> {
    let Some(directory) = to else {
        return commands::print(reporter, &man::page().map_err(commands::failed)?);
    };
    let count = man::write(directory).map_err(commands::failed)?;
    commands::print(reporter, &format!("{count} pages in {}\n", directory.display()))
}

impl GlobalArgs {
    /// What an operation is given for a lab. Verbs without `--playbooks` have no `sources`.
    fn options(&self, inventory: &Path, sources: Option<&SourceArgs>) -> Options {
        Options {
            inventory: inventory.to_owned(),
            playbooks: sources.and_then(|sources| sources.playbooks.clone()),
            templates: sources.and_then(|sources| sources.templates.clone()),
            limit: self.limit.clone(),
            until: None,
            take_over: self.take_over.clone(),
            forks: self.forks,
            spread: match self.spread {
                SpreadWhen::Auto => Spread::Auto,
                SpreadWhen::Always => Spread::Always,
                SpreadWhen::Never => Spread::Never,
            },
            yes: self.yes,
            diff: self.diff,
        }
    }
}

impl ConvergeArgs {
    fn options(&self, global: &GlobalArgs) -> Options {
        let options = global.options(&self.lab.inventory, Some(&self.sources));
        Options { until: self.until.clone(), ..options }
    }
}

impl GuideFormat {
    fn language(self) -> GuideLanguage {
        match self {
            GuideFormat::Markdown => GuideLanguage::Markdown,
            GuideFormat::Shell => GuideLanguage::Shell,
        }
    }
}

impl GraphFormat {
    fn language(self) -> GraphLanguage {
        match self {
            GraphFormat::Mermaid => GraphLanguage::Mermaid,
            GraphFormat::Dot => GraphLanguage::Dot,
            GraphFormat::Svg => GraphLanguage::Svg,
        }
    }
}

async fn up(args: &UpArgs, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let options = args.converge.options(global);
    if args.step {
        return commands::step::step(&options, reporter).await;
    }
    commands::up::up(&options, reporter).await
}

async fn down(args: &DownArgs, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let options = global.options(&args.lab.inventory, Some(&args.sources));
    commands::down::down(args.keep_nodes, &options, reporter).await
}

fn render(args: &RenderArgs, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    commands::render::render(args.file.as_deref(), args.to.as_deref(), options, reporter)
}

async fn node(verb: &NodeVerb, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    match verb {
        NodeVerb::Add(args) => {
            let (inventory, name) = args.target.get("node add")?;
            let new = NewNode {
                name: name.to_owned(),
                addresses: args.addresses.iter().map(ToString::to_string).collect(),
                roles: args.roles.clone(),
                labels: args.labels.clone(),
            };
            let options = global.options(inventory, Some(&args.sources));
            commands::node::add::add(&new, &options, reporter).await
        }
        NodeVerb::Remove(args) => {
            let (inventory, name) = args.target.get("node remove")?;
            let departure = Departure { node: name.to_owned(), gone: args.gone, force: args.force };
            let options = global.options(inventory, Some(&args.sources));
            commands::node::remove::remove(&departure, &options, reporter).await
        }
        NodeVerb::Stop(args) => {
            let (inventory, nodes) = args.target.must("node stop")?;
            commands::node::power::stop(nodes, &global.options(inventory, None), reporter).await
        }
        NodeVerb::Start(args) => {
            let (inventory, nodes) = args.target.must("node start")?;
            commands::node::power::start(nodes, &global.options(inventory, None), reporter).await
        }
    }
}

async fn certs(verb: &CertsVerb, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    match verb {
        CertsVerb::List(args) => {
            let (inventory, nodes) = args.target.get();
            let options = global.options(inventory, None);
            commands::certs::list::list(nodes, args.within, &options, reporter).await
        }
        CertsVerb::Renew(args) => {
            let (inventory, nodes) = args.target.get();
            let (nodes, only) = (nodes.to_vec(), args.only.clone());
            let renewal = Renewal { nodes, only, life: args.life };
            let options = global.options(inventory, Some(&args.sources));
            commands::certs::renew::renew(&renewal, &options, reporter).await
        }
        CertsVerb::RotateCa(args) => {
            let options = global.options(&args.lab.inventory, Some(&args.sources));
            commands::certs::rotate_ca::rotate_ca(&options, reporter).await
        }
    }
}

async fn etcd(verb: &EtcdVerb, global: &GlobalArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    match verb {
        EtcdVerb::Backup(args) => {
            let (inventory, file) = args.target.get();
            let options = global.options(inventory, None);
            commands::etcd::backup::backup(file, args.force, &options, reporter).await
        }
        EtcdVerb::Restore(args) => {
            let (inventory, file) = args.target.must("etcd restore")?;
            let options = global.options(inventory, Some(&args.sources));
            commands::etcd::restore::restore(file, args.force, &options, reporter).await
        }
        EtcdVerb::RotateKey(args) => {
            let options = global.options(&args.lab.inventory, Some(&args.sources));
            commands::etcd::rotate_key::rotate_key(&options, reporter).await
        }
    }
}

async fn workshop(
    verb: &WorkshopVerb,
    global: &GlobalArgs,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let options = |lab: &LabArgs| global.options(&lab.inventory, None);
    match verb {
        WorkshopVerb::Up(args) => {
            commands::workshop::up(args.at_once(), &options(&args.lab), reporter).await
        }
        WorkshopVerb::Image(args) => {
            commands::workshop::image(&args.to, args.name.as_deref(), &options(&args.lab), reporter)
        }
        WorkshopVerb::Submit(args) => {
            let how = Submitted {
                image: args.image.clone(),
                kubeconfig: args.kubeconfig.clone(),
                slice: args.slice,
                at_once: args.at_once,
            };
            commands::workshop::submit(&how, &options(&args.lab), reporter).await
        }
        WorkshopVerb::Slice(args) => {
            let options = options(&args.lab);
            commands::workshop::work(args.size, &args.from, &options, reporter).await
        }
        WorkshopVerb::Cards(args) => {
            commands::workshop::cards(&args.to, &options(&args.lab), reporter)
        }
        WorkshopVerb::Down(args) => {
            commands::workshop::down(args.at_once(), &options(&args.lab), reporter).await
        }
    }
}

async fn bundle(verb: &BundleVerb, reporter: &Reporter) -> Result<Exit, Stop> {
    let (BundleVerb::Pull(PullArgs { bundle: args, .. })
    | BundleVerb::List(args)
    | BundleVerb::Verify(args)) = verb;
    let (inventory, directory) = (&args.lab.inventory, args.bundle.as_deref());
    match verb {
        BundleVerb::Pull(pull) => {
            let from = PullFrom {
                mirror: pull.mirror.as_deref(),
                published_sums: pull.published_checksums,
            };
            commands::bundle::pull(inventory, directory, &from, reporter).await
        }
        BundleVerb::List(_) => commands::bundle::list(inventory, directory, reporter),
        BundleVerb::Verify(_) => commands::bundle::verify(inventory, directory, reporter).await,
    }
}

fn playbook(verb: &PlaybookVerb, reporter: &Reporter) -> Result<Exit, Stop> {
    match verb {
        PlaybookVerb::List => commands::playbook::list(reporter),
        PlaybookVerb::Show { name } => commands::playbook::show(name, reporter),
        PlaybookVerb::Export { folder, force } => {
            commands::playbook::export(folder, *force, reporter)
        }
    }
}

fn kubeconfig(args: &KubeconfigArgs) -> (Option<NewUser>, Destination) {
    let user =
        args.user.clone().map(|name| NewUser { name, group: args.group.clone(), days: args.days });
    let destination = match args.merge {
        true => Destination::MergeInto(args.into.clone()),
        false => Destination::Print,
    };
    (user, destination)
}

fn timeline(args: &TimelineArgs, reporter: &Reporter) -> Result<Exit, Stop> {
    let (inventory, run) = args.target.get();
    let shown = match (&args.html, args.list) {
        (Some(page), _) => Shown::Page(page.clone()),
        (None, true) => Shown::List,
        (None, false) => Shown::Chart,
    };
    commands::timeline::timeline(run, &shown, inventory, reporter)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_command_that_is_suggested_can_be_typed() {
        let line = "labctl up lab.yaml --playbooks books --templates mine --limit a,b \
                    --take-over a --spread never --until etcd";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("it can be typed");
        let Verb::Up(args) = &cli.verb else { panic!("not up") };
        let options = args.converge.options(&cli.global);
        let suggested = commands::next::examples(&options);
        assert!(suggested.len() > 8, "{suggested:?}");
        for line in suggested {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }
}
