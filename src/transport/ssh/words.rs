//! A way as the words of OpenSSH's own client, for a terminal on a node.
//!
//! Options of a command line are for the last machine alone, so each jump host gets a client of its
//! own with all of its options, as the `ProxyCommand` of the next (`-J` would give it none).

use std::path::Path;

use super::route::{LoginRoute, RouteHost};

impl LoginRoute {
    /// The words after `ssh` that log in by this way.
    pub fn words(&self) -> Vec<String> {
        // Its tokens were read already.
        let mut command = self.command.as_ref().map(|command| command.replace('%', "%%"));
        let mut words = Vec::new();
        for (index, machine) in self.machines.iter().enumerate() {
            words = options(machine, command.as_deref());
            if let Some(next) = self.machines.get(index + 1) {
                words.extend(["-W".to_owned(), next.address()]);
            }
            words.push("--".to_owned());
            words.push(machine.host.clone());
            let quoted: Vec<String> =
                std::iter::once("ssh").chain(words.iter().map(String::as_str)).map(quote).collect();
            // ssh reads `%` in it as the beginning of a token.
            command = Some(quoted.join(" ").replace('%', "%%"));
        }
        words
    }
}

/// The options for one machine, which is reached over `command` if there is one.
fn options(machine: &RouteHost, command: Option<&str>) -> Vec<String> {
    let keys = &machine.keys;
    let mut words = Vec::new();
    let mut set = |name: &str, value: &str| {
        words.extend(["-o".to_owned(), format!("{name}={value}")]);
    };
    set("ProxyCommand", command.unwrap_or("none"));
    let known_hosts: Vec<String> =
        machine.known_hosts.iter().map(|path| path_value(path)).collect();
    set("UserKnownHostsFile", &known_hosts.join(" "));
    set("StrictHostKeyChecking", if machine.accept_new { "accept-new" } else { "ask" });
    set("HostName", &machine.host);
    if let Some(alias) = &machine.alias {
        set("HostKeyAlias", alias);
    }
    set("ConnectTimeout", &machine.connect_timeout.as_secs().max(1).to_string());
    for file in &keys.named {
        set("IdentityFile", &path_value(file));
    }
    // Without a name, ssh tries the usual files by itself.
    for file in keys.usual.iter().filter(|file| !keys.named.is_empty() && file.exists()) {
        set("IdentityFile", &path_value(file));
    }
    for file in &keys.certificates {
        set("CertificateFile", &path_value(file));
    }
    if keys.binding || keys.only {
        set("IdentitiesOnly", "yes");
    }
    match &keys.agent {
        Some(socket) => set("IdentityAgent", &path_value(socket)),
        None => set("IdentityAgent", "none"),
    }
    words.extend(["-p".to_owned(), machine.port.to_string()]);
    words.extend(["-l".to_owned(), machine.user.clone()]);
    words
}

/// A path as the value of an option: with quotes, since ssh splits lists at blanks, and with its
/// `%` for themselves.
fn path_value(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// `word` for a shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
