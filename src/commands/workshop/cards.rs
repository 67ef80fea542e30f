//! `workshop cards`: what each attendee is given, as text, as a page and as a PDF.

use std::fs;
use std::path::{Path, PathBuf};

use super::seat::{Seat, seats};
use crate::cluster::Node;
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::Options;
use crate::commands::session::lab_of;
use crate::inventory::called;
use crate::lab::LabDirectory;
use crate::module::quote;
use crate::report::Reporter;
use crate::report::workshop::{Card, page, pdf, text};

/// Writes a card for each cluster into `to`, and the files that it names.
pub fn cards(to: &Path, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let seats = seats(options, reporter)?;
    let to = std::path::absolute(to)
        .map_err(|error| Stop::bad(format!("{} cannot be a directory: {error}", to.display())))?;
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut all = Vec::new();
    for seat in &seats {
        let lab = lab_of(&seat.cluster);
        let config = format!("{}.conf", seat.cluster.name);
        files.push((to.join(&config), read(&lab.admin_conf(), seat, options)?));
        let key = seat.cluster.local.as_ref().map(|_| format!("{}.key", seat.cluster.name));
        if let Some(key) = &key {
            files.push((to.join(key), read(&lab.ssh_identity(), seat, options)?));
        }
        let login = |node: &Node| (node.name.clone(), login(node, key.as_deref()));
        all.push(Card {
            number: seat.number,
            lab: seat.cluster.name.clone(),
            api: seat.cluster.api_url(),
            nodes: seat.cluster.nodes.iter().map(login).collect(),
            kubectl: format!("kubectl --kubeconfig {config} get nodes"),
        });
    }
    files.push((to.join("cards.txt"), text(&all).into_bytes()));
    files.push((to.join("cards.html"), page(&all).into_bytes()));
    files.push((to.join("cards.pdf"), pdf(&all)));
    let folder = LabDirectory::new(&to);
    let cannot = |path: &Path, error: std::io::Error| {
        Stop::failed(format!("cannot write {}: {error}", path.display()))
    };
    folder.make_folder(&to).map_err(|error| cannot(&to, error))?;
    let contents: Vec<(PathBuf, &[u8])> =
        files.iter().map(|(path, content)| (path.clone(), content.as_slice())).collect();
    folder.write_all_private(&contents).map_err(|(path, error)| cannot(&path, error))?;
    reporter.note(&format!(
        "{} cards are in {}: cards.txt, cards.html and cards.pdf",
        all.len(),
        to.display()
    ));
    Ok(Exit::Done)
}

/// Reads a file of a cluster that is up.
fn read(path: &Path, seat: &Seat, options: &Options) -> Result<Vec<u8>, Stop> {
    fs::read(path).map_err(|error| {
        let (number, file) = (seat.number, called(&options.inventory));
        Stop::failed(format!("cluster {number} is not up: cannot read {}: {error}", path.display()))
            .help(format!("`labctl workshop up {file}` brings up what is missing"))
    })
}

/// The command that logs in to a node.
fn login(node: &Node, key: Option<&str>) -> String {
    let key = key.map(|key| format!("-i {key} ")).unwrap_or_default();
    let port = node.ssh.port.filter(|port| *port != 22);
    let port = port.map(|port| format!("-p {port} ")).unwrap_or_default();
    // Local nodes are root's.
    let user = node.ssh.user.as_deref().or((!key.is_empty()).then_some("root"));
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    format!("ssh {key}{port}{}", quote(&format!("{user}{}", node.ssh.host)))
}
