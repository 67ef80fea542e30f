//! Where to connect to, as a caller says it: a node with what the inventory says of its login.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster;

/// How long reaching a machine and logging in may take, unless somebody says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect to, and what to trust and log in with.
///
/// What the inventory says (`ssh`) wins. What it leaves out is as OpenSSH's `config` has it, and
/// else as the other fields have it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node's name, for messages.
    pub node: String,
    /// Address, user, key and jump hosts.
    pub ssh: cluster::Ssh,
    /// Files with host keys, in OpenSSH's format; all of them count, and one that does not exist is
    /// empty. Those that `config` names replace all but the first.
    pub known_hosts: Vec<PathBuf>,
    /// Whether the key of an unknown host is accepted and recorded in the first of `known_hosts`. A
    /// key that differs from a recorded one is always refused.
    pub accept_new: bool,
    /// The agent's socket; used if `ssh.identity` is not set or is encrypted with a passphrase.
    pub agent: Option<PathBuf>,
    /// Private keys to try after the agent's, when none is named. Missing files are passed over.
    pub identities: Vec<PathBuf>,
    /// The configuration files of OpenSSH, the user's own first. Empty: none counts.
    pub config: Vec<PathBuf>,
    /// How long reaching each machine on the way and logging in to it may take, unless `ssh` or
    /// `config` says otherwise.
    pub connect_timeout: Duration,
}

impl Target {
    /// The target for a node: host keys from `known_hosts` (the lab's own), from
    /// `~/.ssh/known_hosts` and from `/etc/ssh/ssh_known_hosts`, the agent of `SSH_AUTH_SOCK`, the
    /// usual keys of `~/.ssh`, and OpenSSH's configuration; strict; 10 seconds.
    pub fn new(
        node: impl Into<String>,
        ssh: cluster::Ssh,
        known_hosts: impl Into<PathBuf>,
    ) -> Self {
        let folder = env::home_dir().map(|home| home.join(".ssh"));
        let in_folder = |name: &str| folder.as_ref().map(|folder| folder.join(name));
        let mut files = vec![known_hosts.into()];
        files.extend(in_folder("known_hosts"));
        files.push("/etc/ssh/ssh_known_hosts".into());
        let mut config: Vec<PathBuf> = in_folder("config").into_iter().collect();
        config.push("/etc/ssh/ssh_config".into());
        Self {
            node: node.into(),
            ssh,
            known_hosts: files,
            accept_new: false,
            agent: env::var_os("SSH_AUTH_SOCK")
                .filter(|socket| !socket.is_empty())
                .map(PathBuf::from),
            identities: ["id_ed25519", "id_ecdsa", "id_rsa"]
                .into_iter()
                .filter_map(in_folder)
                .collect(),
            config,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}
