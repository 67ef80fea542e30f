//! The way to a node, worked out: which machines are on it, and what a login to each of them takes.
//!
//! What the inventory says wins over OpenSSH's configuration, and that over the defaults. A jump
//! host of the inventory is looked up in the configuration by its name, as `ssh -J` does, and so
//! may have a way of its own.

use std::path::PathBuf;
use std::time::Duration;

use super::super::TransportError;
use super::config::{AgentChoice, HostConfig, HostQuery, HostWay, OpenSsh, Tokens, local_user};
use super::known_hosts::SSH_PORT;
use super::target::Target;
use crate::cluster::Jump;

/// How many machines may be on the way to a node.
const LONGEST: usize = 8;

/// How long a connection may be silent before the server is asked for a sign of life, and how often
/// that may be in vain before the connection is lost.
const KEEPALIVE: (Duration, usize) = (Duration::from_secs(15), 3);

/// The way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRoute {
    /// The command that the first machine is reached over (`ProxyCommand`); none for TCP.
    pub command: Option<String>,
    /// The machines in order; the last is the node. There is at least one.
    pub machines: Vec<RouteHost>,
}

/// One machine on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteHost {
    /// The host name or address to connect to.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// The name that its host key is recorded under, when it is another than the host's.
    pub alias: Option<String>,
    /// What to log in with.
    pub keys: Keys,
    /// Files with host keys; a new one is written to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Whether the key of an unknown host is accepted.
    pub accept_new: bool,
    /// How long reaching it and logging in may take.
    pub connect_timeout: Duration,
    /// After how much silence a sign of life is asked for, and how often in vain.
    pub keepalive: (Duration, usize),
}

/// The keys to log in with, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// Files that somebody named; the private key, or the public half of one of the agent's.
    pub named: Vec<PathBuf>,
    /// Whether the first of them is the inventory's: it must be usable, and nothing else is tried.
    pub binding: bool,
    /// Whether keys of the agent that no file names are left alone.
    pub only: bool,
    /// Certificates, beside those that lie beside their key.
    pub certificates: Vec<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Files that are tried last; those that do not exist are passed over.
    pub usual: Vec<PathBuf>,
}

/// A machine as somebody asks for it, before the configuration is read.
struct WantedHost<'a> {
    host: &'a str,
    port: Option<u16>,
    user: Option<&'a str>,
    identity: Option<&'a PathBuf>,
    /// The user when neither this nor the configuration says one.
    otherwise: &'a str,
    /// Whether it is the node itself.
    last: bool,
}

impl RouteHost {
    /// `host:port`, with brackets around an IPv6 address.
    pub(super) fn address(&self) -> String {
        address(&self.host, self.port)
    }

    /// The name and port that its host key is looked up by.
    pub(super) fn known_as(&self) -> (&str, u16) {
        match &self.alias {
            Some(alias) => (alias, SSH_PORT),
            None => (&self.host, self.port),
        }
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Works out the way to `target`, with the configuration of OpenSSH when there is one.
///
/// # Errors
/// When OpenSSH refuses its configuration, or that names a way that is not supported.
pub(super) async fn route(
    target: &Target,
    openssh: Option<&OpenSsh>,
) -> Result<LoginRoute, TransportError> {
    let ssh = &target.ssh;
    let wanted = WantedHost {
        host: &ssh.host,
        port: ssh.port,
        user: ssh.user.as_deref(),
        identity: ssh.identity.as_ref(),
        otherwise: "root",
        last: true,
    };
    let (node, way) = machine(target, openssh, &wanted).await?;
    let mut jumps = match (&ssh.jump, way) {
        (Some(jumps), _) => jumps.clone(),
        (None, HostWay::Jumps(list)) => listed(&list).map_err(|why| refused(target, why))?,
        (None, HostWay::Direct) => Vec::new(),
        (None, HostWay::Command(command)) => {
            return Ok(LoginRoute { command: Some(command), machines: vec![node] });
        }
        (None, HostWay::Unsupported(name)) => return Err(unsupported(target, name)),
    };
    let otherwise = match &ssh.jump {
        Some(_) => node.user.clone(),
        None => local_user(),
    };
    let mut route = LoginRoute { command: None, machines: vec![node] };
    // From the node backwards: the first of the machines may have a way of its own.
    while let Some(jump) = jumps.pop() {
        if route.machines.len() >= LONGEST {
            let why =
                format!("more than {LONGEST} machines are on the way: does it go in circles?");
            return Err(refused(target, why));
        }
        let wanted = WantedHost {
            host: &jump.host,
            port: jump.port,
            user: jump.user.as_deref(),
            identity: jump.identity.as_ref(),
            otherwise: &otherwise,
            last: false,
        };
        let (machine, way) = machine(target, openssh, &wanted).await?;
        route.machines.insert(0, machine);
        match way {
            _ if !jumps.is_empty() => {}
            HostWay::Direct => {}
            HostWay::Jumps(list) => jumps = listed(&list).map_err(|why| refused(target, why))?,
            HostWay::Command(command) => route.command = Some(command),
            HostWay::Unsupported(name) => return Err(unsupported(target, name)),
        }
    }
    Ok(route)
}

/// One machine, and how the configuration says that it is reached.
async fn machine(
    target: &Target,
    openssh: Option<&OpenSsh>,
    wanted: &WantedHost<'_>,
) -> Result<(RouteHost, HostWay), TransportError> {
    let question = HostQuery { host: wanted.host, user: wanted.user, port: wanted.port };
    let answer = match openssh {
        Some(openssh) => openssh.ask(question).await?,
        None => HostConfig::none(wanted.host),
    };
    let user = wanted.user.map(str::to_owned).or(answer.user.clone());
    let user = user.unwrap_or_else(|| wanted.otherwise.to_owned());
    let port = wanted.port.unwrap_or(answer.port);
    let tokens = Tokens {
        asked: wanted.host,
        host: &answer.host,
        port,
        user: &user,
        alias: answer.alias.as_deref().unwrap_or(wanted.host),
    };
    let keys = keys(target, wanted, &answer, &tokens);
    let mut known_hosts = target.known_hosts.clone();
    if !answer.known_hosts.is_empty() {
        known_hosts.truncate(1);
        known_hosts.extend(answer.known_hosts.iter().map(|path| tokens.path(path)));
    }
    let way = match &answer.way {
        HostWay::Command(command) => HostWay::Command(tokens.expand(command)),
        way => way.clone(),
    };
    let said = target.ssh.connect_timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let machine = RouteHost {
        port,
        keys,
        known_hosts,
        accept_new: target.accept_new || target.ssh.accept_new,
        connect_timeout: said.or(answer.connect_timeout).unwrap_or(target.connect_timeout),
        keepalive: answer.keepalive.unwrap_or(KEEPALIVE),
        user,
        alias: answer.alias,
        host: answer.host,
    };
    Ok((machine, way))
}

/// The keys for a machine. A jump host without a key of its own may take the node's.
fn keys(
    target: &Target,
    wanted: &WantedHost<'_>,
    answer: &HostConfig,
    tokens: &Tokens<'_>,
) -> Keys {
    let agent = match &answer.agent {
        AgentChoice::Usual => target.agent.clone(),
        AgentChoice::None => None,
        AgentChoice::At(place) => {
            match place.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => std::env::var_os(name).map(PathBuf::from),
                None => Some(tokens.path(place)),
            }
        }
    };
    let certificates = answer.certificates.iter().map(|path| tokens.path(path)).collect();
    if let Some(identity) = wanted.identity {
        let named = vec![identity.clone()];
        return Keys { named, binding: true, only: true, certificates, agent, usual: Vec::new() };
    }
    let mut named: Vec<PathBuf> = answer.identities.iter().map(|path| tokens.path(path)).collect();
    let mut usual = Vec::new();
    if named.is_empty() {
        usual.clone_from(&target.identities);
        named.extend(target.ssh.identity.clone().filter(|_| !wanted.last));
    }
    Keys { named, binding: false, only: answer.identities_only, certificates, agent, usual }
}

/// The machines that a `ProxyJump` lists: `[user@]host[:port]`, or `ssh://` before that.
fn listed(list: &str) -> Result<Vec<Jump>, String> {
    // OpenSSH prints a host that is an address in brackets.
    let parse =
        |text: &str| Jump::parse(&text.trim_start_matches("ssh://").replace(['[', ']'], ""));
    list.split(',').map(|text| parse(text.trim())).collect()
}

fn refused(target: &Target, why: String) -> TransportError {
    TransportError {
        what: format!("find the way to {}", target.node),
        why,
        help: Some(format!(
            "see what OpenSSH reads with `ssh -G {}`, or name the jump hosts in the inventory \
            (ssh.jump; `none` for no jump host)",
            target.ssh.host
        )),
    }
}

fn unsupported(target: &Target, name: &str) -> TransportError {
    refused(target, format!("the SSH configuration wants {name}, which is not supported"))
}
