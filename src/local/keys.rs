//! SSH keys of local nodes: labctl's login key, each node's host key, and the matching known hosts.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::LocalError;
use super::program;
use crate::lab::LabDirectory;

/// Returns the path of the public half of a private key file.
pub(super) fn public(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Creates an Ed25519 key at `private` unless it exists. Blocks.
pub(super) fn ensure(private: &Path, comment: &str) -> Result<(), LocalError> {
    if private.is_file() && public(private).is_file() {
        return Ok(());
    }
    if private.is_file() {
        // Running nodes know the pair, so only what is missing of it is made.
        let mut command = program::command("ssh-keygen");
        command.arg("-y").arg("-f").arg(private);
        let line = program::run("read an SSH key", &mut command, "")?;
        let path = public(private);
        return fs::write(&path, line).map_err(LocalError::io("write", &path));
    }
    // Created in a temporary directory and moved into place, private half last, so that a killed
    // run does not leave half a pair.
    let folder = private.parent().unwrap_or(private);
    let making =
        tempfile::tempdir_in(folder).map_err(LocalError::io("make a directory in", folder))?;
    let made = making.path().join("key");
    let mut command = program::command("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(&made);
    program::run("make an SSH key", &mut command, "")?;
    for (from, to) in [(public(&made), public(private)), (made, private.to_owned())] {
        fs::rename(&from, &to).map_err(LocalError::io("move an SSH key to", &to))?;
    }
    Ok(())
}

/// Reads a public key as `TYPE KEY`, without its comment.
pub(super) fn read_public(private: &Path) -> Result<String, LocalError> {
    let path = public(private);
    let text = fs::read_to_string(&path).map_err(LocalError::io("read", &path))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// Updates the lab's known hosts with `hosts` (address, public key). Entries for other addresses
/// stay.
pub(super) fn remember(lab: &LabDirectory, hosts: &[(IpAddr, String)]) -> Result<(), LocalError> {
    let path = lab.known_hosts();
    let was = fs::read_to_string(&path).unwrap_or_default();
    let is = merged(&was, hosts);
    if is == was {
        return Ok(());
    }
    lab.write_private(&path, is.as_bytes()).map_err(LocalError::io("write", &path))
}

/// Removes `addresses` from the lab's known hosts.
pub(super) fn forget(lab: &LabDirectory, addresses: &[IpAddr]) -> Result<(), LocalError> {
    let path = lab.known_hosts();
    let Ok(was) = fs::read_to_string(&path) else { return Ok(()) };
    let is = without(&was, addresses);
    if is.is_empty() {
        fs::remove_file(&path).map_err(LocalError::io("remove", &path))
    } else if is != was {
        lab.write_private(&path, is.as_bytes()).map_err(LocalError::io("write", &path))
    } else {
        Ok(())
    }
}

fn merged(was: &str, hosts: &[(IpAddr, String)]) -> String {
    let kept =
        |address: &IpAddr, key: &str| was.lines().any(|line| line == format!("{address} {key}"));
    let count = |address: &IpAddr| was.lines().filter(|line| is_of(line, address)).count();
    if hosts.iter().all(|(address, key)| kept(address, key) && count(address) == 1) {
        return was.to_owned();
    }
    let addresses: Vec<_> = hosts.iter().map(|(address, _)| *address).collect();
    let mut text = without(was, &addresses);
    for (address, key) in hosts {
        text.push_str(&format!("{address} {key}\n"));
    }
    text
}

fn without(was: &str, addresses: &[IpAddr]) -> String {
    let kept = was.lines().filter(|line| !addresses.iter().any(|address| is_of(line, address)));
    kept.map(|line| format!("{line}\n")).collect()
}

fn is_of(line: &str, address: &IpAddr) -> bool {
    line.split_whitespace()
        .next()
        .is_some_and(|hosts| hosts.split(',').any(|host| host == address.to_string()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const WAS: &str = "10.0.0.1 ssh-ed25519 AAAA\n10.0.0.2 ssh-ed25519 BBBB\n";

    fn host(last: u8, key: &str) -> (IpAddr, String) {
        (Ipv4Addr::new(10, 0, 0, last).into(), format!("ssh-ed25519 {key}"))
    }

    #[test]
    fn a_public_half_that_is_missing_is_made_of_the_private_one() {
        let folder = tempfile::tempdir().expect("a directory");
        let private = folder.path().join("key");
        ensure(&private, "a comment").expect("a pair");
        let (kept, line) = (fs::read(&private).unwrap(), read_public(&private).unwrap());
        fs::remove_file(public(&private)).unwrap();
        ensure(&private, "a comment").expect("the same pair");
        assert_eq!((fs::read(&private).unwrap(), read_public(&private).unwrap()), (kept, line));
    }

    #[test]
    fn matching_known_hosts_are_left_alone() {
        assert_eq!(merged(WAS, &[host(2, "BBBB"), host(1, "AAAA")]), WAS);
    }

    #[test]
    fn a_stale_key_is_replaced_and_others_stay() {
        let is = merged(WAS, &[host(2, "CCCC"), host(3, "DDDD")]);
        assert_eq!(
            is,
            "10.0.0.1 ssh-ed25519 AAAA\n10.0.0.2 ssh-ed25519 CCCC\n10.0.0.3 ssh-ed25519 DDDD\n"
        );
    }

    #[test]
    fn removed_nodes_are_forgotten() {
        assert_eq!(
            without(WAS, &[Ipv4Addr::new(10, 0, 0, 1).into()]),
            "10.0.0.2 ssh-ed25519 BBBB\n"
        );
    }
}
