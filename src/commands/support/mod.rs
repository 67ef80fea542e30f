//! `support`: what a bug report needs, in one file, with no secret in it.

mod mask;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use self::mask::Mask;
use super::exit::{Exit, Stop};
use super::named::limited;
use super::options::Options;
use super::session::{lab_of, looking, may_replace, open_to_use, refuse_lost_nodes};
use super::status::look::look;
use super::tarball::packed;
use crate::cluster::Cluster;
use crate::engine::logs;
use crate::engine::survey::{Asked, Surveyed, Unanswered, survey};
use crate::event::Events;
use crate::lab::LabDirectory;
use crate::report::Reporter;

/// ReportFiles by their names in the archive.
type ReportFiles = BTreeMap<String, String>;

/// Gathers what a bug report needs into the file `to`.
pub async fn support(
    to: Option<&Path>,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    refuse_lost_nodes(&cluster)?;
    let status = look(&cluster, options).await?;
    let nodes = limited(&cluster, &options.limit)?;
    let answering: Vec<_> = nodes
        .iter()
        .copied()
        .filter(|node| status.nodes.iter().any(|it| it.name == node.name && it.reached))
        .collect();
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = looking(options, Events::channel().0, cancelled);
    let asked = |_: &_| Asked { script: logs::support(), ..Asked::default() };
    let surveyed = survey(&cluster, &answering, asked, &run).await;
    let mut files = on_workstation(&cluster, options);
    let text = serde_json::to_string_pretty(&status).map_err(Stop::failed)?;
    files.insert("status.json".to_owned(), text);
    for (node, looked) in surveyed {
        files.extend(of_node(&node, looked));
    }
    let mask = Mask::of(&lab_of(&cluster));
    for text in files.values_mut() {
        *text = mask.masked(text);
    }
    let name = format!("support-{}", cluster.name);
    let path = to.map_or_else(|| PathBuf::from(format!("{name}.tar.gz")), Path::to_path_buf);
    let archive = report(&name, &files).map_err(Stop::failed)?;
    may_replace(&path, &archive)?;
    write(&path, &archive)
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))?;
    let (count, asked) = (files.len(), answering.len());
    reporter.note(&format!(
        "{count} files about {asked} of {} nodes are in {}; names and addresses of machines are \
         among it",
        nodes.len(),
        path.display()
    ));
    Ok(if asked == nodes.len() { Exit::Done } else { Exit::Failed })
}

/// What is known here.
fn on_workstation(cluster: &Cluster, options: &Options) -> ReportFiles {
    let lab = lab_of(cluster);
    let mut files = ReportFiles::new();
    let uname = rustix::system::uname();
    let versions = format!(
        "labctl {}\nKubernetes {}\nworkstation {} {} {}\n",
        env!("CARGO_PKG_VERSION"),
        cluster.kubernetes,
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy(),
    );
    files.insert("versions.txt".to_owned(), versions);
    let mut add = |name: &str, path: &Path| {
        if let Ok(text) = fs::read_to_string(path) {
            files.insert(name.to_owned(), text);
        }
    };
    add("inventory.yaml", &options.inventory);
    add("roster.json", &lab.roster());
    add("facts.json", &lab.facts());
    if let Some(log) = last_run(&lab) {
        add("last-run.jsonl", &log);
    }
    files
}

/// Names of logs are times, so that they sort.
fn last_run(lab: &LabDirectory) -> Option<PathBuf> {
    let entries = fs::read_dir(lab.runs()).ok()?.flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).max()
}

/// The files that a node has printed: a line `@ NAME` before each, and its lines after a blank.
fn of_node(node: &str, looked: Result<Surveyed, Unanswered>) -> ReportFiles {
    let said = match looked {
        Ok(surveyed) => surveyed.said,
        Err(Unanswered::NotConnected(why) | Unanswered::NotRun(why)) => {
            return ReportFiles::from([(format!("nodes/{node}/unanswered"), why)]);
        }
    };
    let mut files = ReportFiles::new();
    let mut name = None;
    for line in said.lines() {
        if let Some(begun) = line.strip_prefix("@ ") {
            let safe = begun.replace("..", "_");
            name = Some(format!("nodes/{node}/{safe}"));
        } else if let (Some(name), Some(line)) = (&name, line.strip_prefix(' ')) {
            let text: &mut String = files.entry(name.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    files
}

/// The files in a directory of one archive.
fn report(directory: &str, files: &ReportFiles) -> std::io::Result<Vec<u8>> {
    let within = Path::new(directory);
    let paths: Vec<PathBuf> = files.keys().map(|name| within.join(name)).collect();
    let contents = files.values().map(String::as_bytes);
    packed(paths.iter().zip(contents).map(|(path, content)| (path.as_path(), 0o600, content)))
}

/// Whole or not at all, and for the user alone.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_prints_becomes_files() {
        let said = "@ units/etcd.service\n [Unit]\n @ not a name\n@ ../../x\n y\n@end\n".to_owned();
        let files = of_node("c", Ok(Surveyed { said, facts: None }));
        let unit = "[Unit]\n@ not a name\n".to_owned();
        let expected = ReportFiles::from([
            ("nodes/c/units/etcd.service".to_owned(), unit),
            ("nodes/c/_/_/x".to_owned(), "y\n".to_owned()),
        ]);
        assert_eq!(files, expected);
        assert!(report("support-a", &files).is_ok_and(|bytes| !bytes.is_empty()));
    }
}
