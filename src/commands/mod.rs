//! The verbs, one file each: wiring, no logic. What a verb needs in common lies in `session`.

mod ask;
mod bundle;
mod certs;
mod converge;
mod down;
mod etcd;
mod explain;
mod kubeconfig;
mod next;
mod node;
mod playbook;
mod recover;
mod render;
mod restore;
mod roster;
mod rotate_ca;
mod session;
mod smoke;
mod ssh;
mod timeline;
mod validate;
mod workshop;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Cli, Etcd, Verb};
use crate::report::Reporter;

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is done.
    Done,
    /// Something failed; it was told.
    Failed,
    /// The usage, the inventory or a playbook is wrong; nothing was done.
    Bad,
    /// There is something: `plan` found changes, `certs list` an end that is near.
    Something,
    /// The user stopped it.
    Cancelled,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Bad => 2,
            Exit::Something => 3,
            Exit::Cancelled => 130,
        })
    }
}

/// A verb that could not go on: what to say, and how to exit.
#[derive(Debug)]
pub struct Stop {
    error: Option<Box<dyn std::error::Error + Send + Sync>>,
    help: Option<String>,
    exit: Exit,
}

impl Stop {
    /// Everything was said already.
    fn silent(exit: Exit) -> Self {
        Self { error: None, help: None, exit }
    }

    /// The user asked for something that cannot be.
    fn bad(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: Some(error.into()), help: None, exit: Exit::Bad }
    }

    /// Something failed.
    fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: Some(error.into()), help: None, exit: Exit::Failed }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Runs a verb to its end.
pub fn run(cli: Cli) -> ExitCode {
    // A plan is its own result, and shows its differences there.
    let diff = cli.global.diff && !matches!(cli.verb, Verb::Plan(_));
    let reporter = Reporter::new(cli.global.output, cli.global.verbose, diff);
    crate::engine::connect::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            reporter.error(&error, None);
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(dispatch(&cli, &reporter)).unwrap_or_else(|stop| {
        if let Some(error) = &stop.error {
            reporter.error(error.as_ref(), stop.help.as_deref());
        }
        stop.exit
    });
    // Transfers that were cut off must not keep the process.
    runtime.shutdown_background();
    exit.into()
}

async fn dispatch(cli: &Cli, reporter: &Reporter) -> Result<Exit, Stop> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Up(args) => converge::up(args, global, reporter).await,
        Verb::Plan(args) => converge::plan(args, global, reporter).await,
        Verb::Play(args) => converge::play(args, global, reporter).await,
        Verb::Down(args) => down::down(args, global, reporter).await,
        Verb::Node(verb) => node::node(verb, global, reporter).await,
        Verb::Smoke(lab) => smoke::smoke(lab, global, reporter).await,
        Verb::Validate(lab) => validate::validate(lab, reporter),
        Verb::Render(args) => render::render(args, global, reporter),
        Verb::Explain(args) => explain::explain(args, global, reporter),
        Verb::Graph(args) => explain::graph(args, reporter),
        Verb::Ssh(args) => ssh::ssh(args, reporter).await,
        Verb::Timeline(args) => timeline::timeline(args, reporter),
        Verb::Certs(verb) => certs::certs(verb, global, reporter).await,
        Verb::Kubeconfig(args) => kubeconfig::kubeconfig(args, reporter),
        Verb::Etcd(Etcd::Backup(args)) => etcd::backup(args, global, reporter).await,
        Verb::Etcd(Etcd::Restore(args)) => restore::restore(args, global, reporter).await,
        Verb::Recover(args) => recover::recover(args, global, reporter).await,
        Verb::Bundle(verb) => bundle::bundle(verb, reporter).await,
        Verb::Playbook(verb) => playbook::playbook(verb, reporter),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "labctl", &mut script);
            session::print(reporter, &String::from_utf8_lossy(&script))
        }
    }
}
