//! Resolves how labctl logs in to each node: the node's own `ssh` section, then the inventory's,
//! then defaults.

use std::path::{Path, PathBuf};

use super::Resolver;
use super::nodes::Draft;
use crate::cluster::login::check_user;
use crate::cluster::{Escalation, Jump, PasswordSource, Ssh, Tool, names};
use crate::inventory::{JumpEntry, Located, SshSection};
use crate::lab::LabDirectory;

const SSH_PORT: u16 = 22;

/// One parsed section. An inner `None` was present but wrong.
struct SshLogin {
    identity: Option<Option<PathBuf>>,
    jump: Option<Option<Vec<Jump>>>,
    accept_new: Option<bool>,
    tool: Option<Tool>,
    password: Option<PasswordSource>,
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
                let section = &draft.entry.ssh;
                let own = self.login(section);
                let host = match &section.host {
                    Some(host) => host.value.clone(),
                    None => draft.address?.to_string(),
                };
                let identity = match own.identity.or_else(|| common.identity.clone()) {
                    Some(said) => Some(said?),
                    None => local_identity.clone(),
                };
                let jump = match own.jump.or_else(|| common.jump.clone()) {
                    Some(said) => Some(said?),
                    None => None,
                };
                let user = section.user.as_ref().or(inventory.ssh.user.as_ref());
                let port = section.port.or(inventory.ssh.port);
                let timeout = section.connect_timeout.or(inventory.ssh.connect_timeout);
                let password = own.password.or_else(|| common.password.clone());
                Some(Ssh {
                    host,
                    port: port.map(|port| port.value),
                    user: user.map(|user| user.value.clone()),
                    identity,
                    jump,
                    connect_timeout: timeout.map(|seconds| seconds.value),
                    accept_new: own.accept_new.or(common.accept_new).unwrap_or_default(),
                    escalation: Escalation {
                        tool: own.tool.or(common.tool).unwrap_or_default(),
                        password: password.unwrap_or_default(),
                    },
                })
            })
            .collect()
    }

    fn login(&mut self, section: &SshSection) -> SshLogin {
        if self.inventory.local.is_some() {
            self.check_local(section);
        }
        self.check_user(section);
        self.check_host(section);
        SshLogin {
            identity: section.identity.as_ref().map(|identity| self.path(identity, "identity")),
            jump: section.jump.as_ref().map(|jump| self.jumps(jump)),
            accept_new: self.host_keys(section),
            tool: self.tool(section),
            password: self.password(section),
        }
    }

    /// Whether the keys of unknown hosts are accepted.
    fn host_keys(&mut self, section: &SshSection) -> Option<bool> {
        let said = section.host_keys.as_ref()?;
        match said.value.as_str() {
            "strict" => Some(false),
            "accept-new" => Some(true),
            other => {
                let what = format!("`host_keys` is strict or accept-new, not `{other}`");
                let help = "accept-new records the key of a machine that nobody knows; a key that \
                    has changed is always refused";
                self.problems.error(said.at, what, help);
                None
            }
        }
    }

    /// The program that commands become root's with.
    fn tool(&mut self, section: &SshSection) -> Option<Tool> {
        let said = section.become_with.as_ref()?;
        match said.value.as_str() {
            "sudo" => Some(Tool::Sudo),
            "doas" => Some(Tool::Doas),
            other => {
                let what = format!("`become` is sudo or doas, not `{other}`");
                self.problems.error(said.at, what, "a user other than root needs one of them");
                None
            }
        }
    }

    /// Where the password of sudo comes from.
    fn password(&mut self, section: &SshSection) -> Option<PasswordSource> {
        match (&section.become_password_file, &section.become_password_command) {
            (Some(_), Some(command)) => {
                let what = "both `become_password_file` and `become_password_command` are given";
                self.problems.error(command.at, what.to_owned(), "keep one of the two");
                None
            }
            (Some(file), None) => self.path(file, "become_password_file").map(PasswordSource::File),
            (None, Some(command)) if command.value.trim().is_empty() => {
                let what = "`become_password_command` is empty".to_owned();
                let help = "a command that prints the password, such as `pass show lab/sudo`";
                self.problems.error(command.at, what, help);
                None
            }
            (None, Some(command)) => Some(PasswordSource::Command(command.value.clone())),
            (None, None) => None,
        }
    }

    /// Refuses settings for local nodes, because labctl creates those, including their sshd.
    fn check_local(&mut self, section: &SshSection) {
        let user =
            section.user.as_ref().filter(|user| user.value != "root").map(|user| (user.at, "user"));
        let port = section.port.filter(|port| port.value != SSH_PORT).map(|port| (port.at, "port"));
        let host = section.host.as_ref().map(|host| (host.at, "host"));
        let jump = section.jump.as_ref().map(|jump| (jump.at, "jump"));
        let host_keys = section.host_keys.as_ref().map(|said| (said.at, "host_keys"));
        let tool = section.become_with.as_ref().map(|said| (said.at, "become"));
        for (at, key) in [user, port, host, jump, host_keys, tool].into_iter().flatten() {
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

    /// The bastions of `jump`, none for `none`: that is for a node that needs none though the
    /// others do.
    fn jumps(&mut self, jump: &Located<Vec<JumpEntry>>) -> Option<Vec<Jump>> {
        let mut jumps = Vec::new();
        let mut fine = true;
        for entry in &jump.value {
            match entry {
                JumpEntry::Text(text) if text.value == "none" => {}
                JumpEntry::Text(text) => {
                    for part in text.value.split(',') {
                        match Jump::parse(part.trim()) {
                            Ok(jump) => jumps.push(jump),
                            Err(wrong) => {
                                let what = format!("the jump host `{part}` {wrong}");
                                let help = "write it as host, user@host or user@host:port; several \
                                    with commas between";
                                self.problems.error(text.at, what, help);
                                fine = false;
                            }
                        }
                    }
                }
                JumpEntry::Parts(parts) => match self.parts(parts) {
                    Some(jump) => jumps.push(jump),
                    None => fine = false,
                },
            }
        }
        fine.then_some(jumps)
    }

    /// A bastion that is written as a mapping.
    fn parts(&mut self, parts: &SshSection) -> Option<Jump> {
        let host = parts.host.as_ref()?;
        let fine = self.check_user(parts) & self.check_host(parts);
        let identity = match &parts.identity {
            Some(identity) => Some(self.path(identity, "identity")?),
            None => None,
        };
        fine.then(|| Jump {
            host: host.value.clone(),
            port: parts.port.map(|port| port.value),
            user: parts.user.as_ref().map(|user| user.value.clone()),
            identity,
        })
    }

    /// Whether the user of a section, if there is one, is right.
    fn check_user(&mut self, section: &SshSection) -> bool {
        let Some(user) = &section.user else { return true };
        let Err(wrong) = check_user(&user.value) else { return true };
        let what = format!("the user `{}` {wrong}", user.value);
        self.problems.error(user.at, what, "a login name, such as `root`");
        false
    }

    /// Whether the host of a section, if there is one, is right.
    fn check_host(&mut self, section: &SshSection) -> bool {
        let Some(host) = &section.host else { return true };
        let Err(wrong) = names::check_host(&host.value) else { return true };
        let what = format!("the host `{}` {wrong}", host.value);
        let help = "a host name or an IPv4 address, without user and port";
        self.problems.error(host.at, what, help);
        false
    }
}
