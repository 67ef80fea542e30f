//! `up --step`: one play after another. Each is explained before it is played, and there is time to
//! look around after it.

use super::exit::{Exit, Stop};
use super::explain::by_play;
use super::options::Options;
use super::session::{lab_of, open};
use super::ssh::shell;
use super::up::up;
use crate::cluster::Cluster;
use crate::report::{self, Reporter};

/// What somebody at the terminal wants next.
enum Wish {
    /// The next play.
    Play,
    /// A shell on this node.
    Shell(String),
    /// Nothing more.
    Quit,
}

/// Brings the lab up play by play.
pub async fn step(options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    if !report::can_ask() {
        return Err(Stop::bad("cannot ask before each play: stdin is not a terminal")
            .help("use `--until PLAY`, which ends after a play and asks nothing"));
    }
    let cluster = open(&options.inventory, reporter)?;
    for (play, explained) in by_play(&cluster, options, reporter)? {
        reporter.print(&format!("\n{explained}\n")).map_err(Stop::failed)?;
        loop {
            match wish(&play, &cluster, reporter)? {
                Wish::Play => break,
                Wish::Quit => return Ok(Exit::Done),
                Wish::Shell(node) => {
                    if let Err(Stop { error: Some(error), help, .. }) =
                        shell(&node, options, reporter).await
                    {
                        reporter.error(error.as_ref(), help.as_deref());
                    }
                }
            }
        }
        let part = Options { until: Some(play), ..options.clone() };
        let exit = up(&part, reporter).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    // What belongs to no play: removals that are left to finish, the version that the lab has now.
    match options.until {
        None => up(options, reporter).await,
        Some(_) => Ok(Exit::Done),
    }
}

/// Asks until the answer is one. At the end of the input there is nothing more to do.
fn wish(play: &str, cluster: &Cluster, reporter: &Reporter) -> Result<Wish, Stop> {
    // Before the first play, no local node may be there yet.
    let nodes = if lab_of(cluster).root().exists() { ", NODE: a shell there" } else { "" };
    let question = format!("Enter: play {play}{nodes}, q: quit");
    loop {
        let Some(answer) = reporter.question(&question).map_err(Stop::failed)? else {
            return Ok(Wish::Quit);
        };
        match answer.as_str() {
            "" => return Ok(Wish::Play),
            "q" => return Ok(Wish::Quit),
            name if cluster.node(name).is_some() => return Ok(Wish::Shell(name.to_owned())),
            _ => {}
        }
    }
}
