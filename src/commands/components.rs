//! Flags of an inventory's `components` against what the bundle's programs know.

use std::path::Path;

use super::exit::Stop;
use crate::bundle::flags::{ListedFlags, listed, objection};
use crate::bundle::pull::host_architecture;
use crate::bundle::{Bundle, BundleFile};
use crate::cluster::Cluster;
use crate::cluster::components::ProgramSettings;
use crate::event::{Event, Events};
use crate::inventory::{Position, Problem, did_you_mean};
use crate::lab::cache_directory;

/// As [`unchecked`], with a warning in the run for each program that cannot be asked.
pub async fn refuse_unknown_flags(
    cluster: &Cluster,
    bundle: &Bundle,
    inventory: &Path,
    events: &Events,
) -> Result<(), Stop> {
    for message in unchecked(cluster, bundle, inventory).await? {
        events.emit(Event::Warning { node: None, message });
    }
    Ok(())
}

/// Refuses flags that the programs of the bundle do not know, and values that they do not take.
/// Returns a sentence for each program that cannot be asked.
///
/// # Errors
/// Returns everything that is wrong, each with its place in the inventory.
pub async fn unchecked(
    cluster: &Cluster,
    bundle: &Bundle,
    inventory: &Path,
) -> Result<Vec<String>, Stop> {
    let (mut problems, mut unchecked) = (Vec::new(), Vec::new());
    for (name, component) in &cluster.components.0 {
        if component.flags.is_empty() {
            continue;
        }
        let why = match bundle.files.get(name) {
            None => Err("the bundle does not have it".to_owned()),
            Some(_) if bundle.architecture != host_architecture() => {
                Err(format!("it is for {}, and this machine is not", bundle.architecture))
            }
            Some(file) => asked(name, file, component).await,
        };
        match why {
            Ok(found) => {
                problems.extend(found.into_iter().map(|problem| problem.in_file(inventory)))
            }
            Err(why) => unchecked.push(format!(
                "the flags of {name} are not checked: it cannot be asked which it knows: {why}"
            )),
        }
    }
    if problems.is_empty() {
        return Ok(unchecked);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Stop::bad(said.join("\n")))
}

/// What is wrong with a flag.
struct WrongFlag {
    at: Position,
    what: String,
    help: String,
}

impl WrongFlag {
    fn in_file(self, inventory: &Path) -> Problem {
        Problem::error(inventory, self.at, self.what, self.help)
    }
}

/// Asks a program about its flags: about each that it does not list, and about all values at once.
async fn asked(
    name: &str,
    file: &BundleFile,
    component: &ProgramSettings,
) -> Result<Vec<WrongFlag>, String> {
    let known = listed(file, &cache_directory()).await?;
    let mut wrong = Vec::new();
    let mut arguments = Vec::new();
    for (flag, value) in &component.flags {
        let at = component.flags_at.get(flag).copied().unwrap_or_default();
        let argument = format!("--{flag}={}", value.as_deref().unwrap_or_default());
        match known.get(flag) {
            Some(true) => {}
            Some(false) => {
                let what = format!("{name} ignores `--{flag}` beside its configuration file");
                wrong.push(WrongFlag { at, what, help: "use `config`".to_owned() });
            }
            // Some are not listed, because they are deprecated.
            None if is_known(file, &argument).await? => {}
            None => wrong.push(unknown(name, file, (flag, at), &known)),
        }
        if value.is_some() {
            arguments.push((at, argument));
        }
    }
    if !wrong.is_empty() {
        return Ok(wrong);
    }
    for (at, argument) in arguments {
        if let Some(said) = objection(file, std::slice::from_ref(&argument)).await? {
            let what = format!("{name} {} does not take `{argument}`", file.version);
            wrong.push(WrongFlag { at, what, help: format!("it says: {}", said.trim()) });
        }
    }
    Ok(wrong)
}

/// Whether a program knows a flag that it does not list.
async fn is_known(file: &BundleFile, argument: &str) -> Result<bool, String> {
    let said = objection(file, &[argument.to_owned()]).await?;
    let unknown = |said: &String| said.contains("unknown flag") || said.contains("not defined");
    Ok(!said.as_ref().is_some_and(unknown))
}

fn unknown(
    name: &str,
    file: &BundleFile,
    (flag, at): (&str, Position),
    known: &ListedFlags,
) -> WrongFlag {
    let what = format!("{name} {} has no flag `{flag}`", file.version);
    let help = match did_you_mean(flag, known.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`{} --help` lists its flags", file.path.display()),
    };
    WrongFlag { at, what, help }
}
