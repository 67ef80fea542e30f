//! Resolves how labctl logs in to each node: the node's own `ssh` section, then the inventory's,
//! then defaults.

use std::path::Path;

use super::Resolver;
use super::nodes::Draft;
use crate::cluster::{Jump, Ssh, names};
use crate::inventory::{Located, SshSection};
use crate::lab::LabDirectory;

const SSH_PORT: u16 = 22;

/// A jump host as written; its user defaults to the node's.
#[derive(Clone)]
struct Bastion {
    user: Option<String>,
    host: String,
    port: u16,
}

/// One parsed section. An inner `None` was present but wrong.
struct Login {
    identity: Option<Option<std::path::PathBuf>>,
    jump: Option<Option<Bastion>>,
}

impl Resolver<'_, '_> {
    /// Returns how to log in to each of `drafts`; `None` for those with errors.
    pub(super) fn logins(
        &mut self,
        drafts: &[Draft<'_>],
        lab_directory: &Path,
    ) -> Vec<Option<Ssh>> {
        let inventory = self.inventory;
        // Parsed once, so that an error in it is not reported for every node.
        let common = self.login(&inventory.ssh);
        let local_identity =
            inventory.local.as_ref().map(|_| LabDirectory::new(lab_directory).ssh_identity());
        drafts
            .iter()
            .map(|draft| {
                let own = self.login(&draft.entry.ssh);
                let said = |field: fn(&SshSection) -> Option<&Located<String>>| {
                    field(&draft.entry.ssh)
                        .or_else(|| field(&inventory.ssh))
                        .map(|text| text.value.clone())
                };
                let user =
                    said(|section| section.user.as_ref()).unwrap_or_else(|| "root".to_owned());
                let host = match &draft.entry.ssh.host {
                    Some(host) => host.value.clone(),
                    None => draft.address?.to_string(),
                };
                let identity = match own.identity.or_else(|| common.identity.clone()) {
                    Some(said) => Some(said?),
                    None => local_identity.clone(),
                };
                let jump = own.jump.or_else(|| common.jump.clone()).flatten();
                Some(Ssh {
                    host,
                    port: draft
                        .entry
                        .ssh
                        .port
                        .or(inventory.ssh.port)
                        .map_or(SSH_PORT, |port| port.value),
                    identity,
                    jump: jump.map(|jump| Jump {
                        host: jump.host,
                        port: jump.port,
                        user: jump.user.unwrap_or_else(|| user.clone()),
                    }),
                    user,
                })
            })
            .collect()
    }

    fn login(&mut self, section: &SshSection) -> Login {
        if self.inventory.local.is_some() {
            self.check_local(section);
        }
        if let Some(user) = &section.user
            && let Err(wrong) = check_user(&user.value)
        {
            self.problems.error(
                user.at,
                format!("the user `{}` {wrong}", user.value),
                "a login name, such as `root`",
            );
        }
        if let Some(host) = &section.host
            && let Err(wrong) = names::check_host(&host.value)
        {
            let what = format!("the host `{}` {wrong}", host.value);
            self.problems.error(
                host.at,
                what,
                "a host name or an IPv4 address, without user and port",
            );
        }
        Login {
            identity: section.identity.as_ref().map(|identity| self.path(identity, "identity")),
            jump: section.jump.as_ref().map(|jump| self.jump(jump)),
        }
    }

    /// Refuses settings for local nodes, because labctl creates those, including their sshd.
    fn check_local(&mut self, section: &SshSection) {
        let user =
            section.user.as_ref().filter(|user| user.value != "root").map(|user| (user.at, "user"));
        let port = section.port.filter(|port| port.value != SSH_PORT).map(|port| (port.at, "port"));
        let host = section.host.as_ref().map(|host| (host.at, "host"));
        let jump = section.jump.as_ref().map(|jump| (jump.at, "jump"));
        for (at, key) in [user, port, host, jump].into_iter().flatten() {
            let what = format!(
                "`ssh.{key}` cannot be combined with `local`: labctl makes the nodes and logs in \
                as root on port 22"
            );
            self.problems.error(
                at,
                what,
                format!("remove `{key}`; or remove `local` if the machines already exist"),
            );
        }
    }

    /// Parses a jump host; `none` is for a node that needs none although the others do.
    fn jump(&mut self, text: &Located<String>) -> Option<Bastion> {
        if text.value == "none" {
            return None;
        }
        match parse_jump(&text.value) {
            Ok(bastion) => Some(bastion),
            Err(wrong) => {
                let help = "write it as host, user@host or user@host:port";
                self.problems.error(
                    text.at,
                    format!("the jump host `{}` {wrong}", text.value),
                    help,
                );
                None
            }
        }
    }
}

fn parse_jump(text: &str) -> Result<Bastion, String> {
    if text.contains(',') {
        return Err("lists several; one is supported".to_owned());
    }
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, text),
    };
    if let Some(user) = user {
        check_user(user).map_err(|wrong| format!("has a user that {wrong}"))?;
    }
    let (host, port) = match place.split_once(':') {
        // More than one colon is an IPv6 address, which the check of the host reports.
        Some((host, port)) if !port.contains(':') => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, port.ok_or("has a port that is not a number from 1 to 65535")?)
        }
        _ => (place, SSH_PORT),
    };
    names::check_host(host).map_err(|wrong| format!("has a host that {wrong}"))?;
    Ok(Bastion { user: user.map(str::to_owned), host: host.to_owned(), port })
}

fn check_user(user: &str) -> Result<(), String> {
    if user.is_empty() {
        return Err("is empty".to_owned());
    }
    // A user that begins with a hyphen would be read as an option of `ssh`.
    if user.starts_with('-') {
        return Err("begins with a hyphen".to_owned());
    }
    match user.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '@' | ':' | '/'))
    {
        Some(_) => Err("has a space or one of @ : /".to_owned()),
        None => Ok(()),
    }
}
