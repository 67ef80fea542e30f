//! Which hosts the files of OpenSSH can tell apart, without knowing what they mean: two hosts that
//! match the same `Host` lines get the same values. OpenSSH is then asked for one of a thousand.
//!
//! This never decides what a file says. Where it cannot be sure (`Match`, a directory with a
//! pattern in an `Include`), each host is asked for by itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::known_hosts::glob;

/// How deep files may include each other, as in OpenSSH.
const DEPTH: usize = 16;

/// How many files are read at most. More, or one again and again, is a matter for OpenSSH.
const MOST: usize = 256;

/// The settings that matter here. Files without any of them need not be read for a host.
const OF_INTEREST: &[&str] = &[
    "hostname",
    "port",
    "user",
    "identityfile",
    "identitiesonly",
    "identityagent",
    "certificatefile",
    "proxyjump",
    "proxycommand",
    "userknownhostsfile",
    "globalknownhostsfile",
    "hostkeyalias",
    "connecttimeout",
    "serveraliveinterval",
    "serveralivecountmax",
    "canonicalizehostname",
];

/// Which `Host` lines a host matches: one letter each.
pub(super) type Class = String;

/// What some files hold.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Each `Host` line.
    hosts: Vec<HostLine>,
    /// Whether a setting that matters here is for every host, as far as is known.
    general: bool,
    opaque: bool,
    files: usize,
}

/// A `Host` line and what is below it.
#[derive(Debug)]
struct HostLine {
    patterns: Vec<String>,
    /// Whether a setting below it matters here.
    matters: bool,
}

impl Survey {
    /// Looks through `files` and what they include. What cannot be read says nothing.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let mut survey = Self::default();
        for file in files {
            survey.read(file, None, DEPTH);
        }
        survey
    }

    /// Whether there is a setting that matters here.
    pub(super) fn matters(&self) -> bool {
        self.general || self.hosts.iter().any(|line| line.matters)
    }

    /// Whether there may be one for this host. What systems have in their files for hosts of other
    /// kinds, such as `Host vsock/*`, need not be asked for.
    pub(super) fn matters_to(&self, host: &str) -> bool {
        self.general || self.hosts.iter().any(|line| line.matters && is_about(&line.patterns, host))
    }

    /// The class of a host; none when it must be asked for by itself.
    pub(super) fn class(&self, host: &str) -> Option<Class> {
        let letter = |line: &HostLine| if is_about(&line.patterns, host) { 'y' } else { 'n' };
        (!self.opaque).then(|| self.hosts.iter().map(letter).collect())
    }

    /// Reads a file that is included below the `Host` line `below`, if it is below one.
    fn read(&mut self, file: &Path, mut below: Option<usize>, depth: usize) {
        self.files += 1;
        if self.files > MOST {
            self.opaque = true;
            self.general = true;
            return;
        }
        let Ok(content) = fs::read(file) else { return };
        for line in String::from_utf8_lossy(&content).lines() {
            let words = words(line);
            let Some((keyword, values)) = words.split_first() else { continue };
            match keyword.to_lowercase().as_str() {
                "host" => {
                    below = Some(self.hosts.len());
                    self.hosts.push(HostLine { patterns: values.to_vec(), matters: false });
                }
                "match" => {
                    below = None;
                    self.opaque = true;
                }
                "include" => {
                    let folder = file.parent().unwrap_or(Path::new("/"));
                    values.iter().for_each(|value| self.include(value, folder, below, depth));
                }
                other if OF_INTEREST.contains(&other) => {
                    match below.and_then(|line| self.hosts.get_mut(line)) {
                        Some(line) => line.matters = true,
                        None => self.general = true,
                    }
                }
                _ => {}
            }
        }
    }

    fn include(&mut self, value: &str, folder: &Path, below: Option<usize>, depth: usize) {
        let path = match value.strip_prefix("~/") {
            Some(rest) => match std::env::home_dir() {
                Some(home) => home.join(rest),
                None => return,
            },
            None => folder.join(value),
        };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
        let pattern = name.to_string_lossy();
        let odd = |text: &str| text.contains(['*', '?', '[', '$', '%']) || text.starts_with('~');
        if depth == 0 || odd(&folder.to_string_lossy()) || pattern.contains(['[', '$', '%']) {
            self.opaque = true;
            self.general = true;
        } else if odd(&pattern) {
            let Ok(entries) = fs::read_dir(folder) else { return };
            let mut found: Vec<PathBuf> = entries
                .flatten()
                .filter(|entry| {
                    glob(pattern.as_bytes(), entry.file_name().to_string_lossy().as_bytes())
                })
                .map(|entry| entry.path())
                .collect();
            found.sort();
            for file in found {
                self.read(&file, below, depth - 1);
            }
        } else {
            self.read(&path, below, depth - 1);
        }
    }
}

/// Whether a `Host` line with these patterns is about `host`: one matches, and no `!` one does.
/// Letters count as they are, as in OpenSSH.
fn is_about(patterns: &[String], host: &str) -> bool {
    let is = |pattern: &str| glob(pattern.as_bytes(), host.as_bytes());
    patterns.iter().any(|pattern| is(pattern))
        && !patterns.iter().any(|pattern| pattern.strip_prefix('!').is_some_and(is))
}

/// The words of a line: `Keyword value "another value"`, or `Keyword=value`.
fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let (keyword, mut rest) =
        line.split_at(line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len()));
    rest = rest.trim_start().trim_start_matches('=').trim_start();
    let mut words = vec![keyword.to_owned()];
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(text: &str) -> (tempfile::TempDir, Survey) {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("config");
        fs::write(&file, text).expect("a file");
        fs::create_dir(folder.path().join("more")).expect("a directory");
        fs::write(folder.path().join("more/a.conf"), "Host inner\n  Port 7\n").expect("a file");
        fs::write(folder.path().join("more/b.txt"), "Match all\n").expect("a file");
        let survey = Survey::of(&[file]);
        (folder, survey)
    }

    #[test]
    fn hosts_are_told_apart_by_patterns_alone() {
        let (_folder, survey) = survey("Host 10.* !10.0.0.1\n  User a\nHost=other\nPort 3\n");
        assert!(survey.matters());
        let class = |host| survey.class(host).expect("a class");
        assert_eq!(class("10.0.0.2"), class("10.9.9.9"));
        assert_ne!(class("10.0.0.2"), class("10.0.0.1"));
        assert_ne!(class("other"), class("10.0.0.1"));
        assert_eq!(class("Other"), class("10.0.0.1"), "capitals are other letters");
    }

    #[test]
    fn what_is_for_other_hosts_does_not_matter_to_a_host() {
        // As systemd installs it.
        let (_folder, found) = survey(
            "Host vsock/* machine/*\n  ProxyCommand proxy %h %p\nHost *\n  HashKnownHosts yes\n",
        );
        assert!(found.matters());
        assert!(found.matters_to("vsock/3"));
        assert!(!found.matters_to("192.0.2.1"));
        let (_folder, found) = survey("Host bastion !10.0.0.1 10.*\n  Include more/a.conf\n");
        assert!(found.matters_to("inner"), "the included file has a line for it");
        assert!(!found.matters_to("10.0.0.2"));
        let (_folder, found) = survey("Host 10.*\n  Include more/c.conf\n  Port 7\n");
        assert!(found.matters_to("10.0.0.2"), "what follows an Include is for the same hosts");
        for everyone in ["Port 7\nHost a\n", "Host a\nMatch host b\n  Port 7\n"] {
            let (_folder, found) = survey(everyone);
            assert!(found.matters_to("192.0.2.1"), "{everyone}");
        }
    }

    #[test]
    fn files_that_are_included_count() {
        let (_folder, found) = survey("Include more/*.conf\n");
        assert!(found.matters());
        assert_ne!(found.class("inner"), found.class("outer"));
        let (_folder, found) = survey("Include \"more/b.txt\" none\n");
        assert_eq!((found.matters(), found.class("any")), (false, None));
        let (_folder, found) = survey("Include */a.conf\n");
        assert_eq!((found.matters(), found.class("any")), (true, None));
        let (_folder, found) = survey("Include config\nUser a\n");
        assert!(found.class("any").is_none(), "it includes itself without an end");
    }

    #[test]
    fn lines_are_cut_as_openssh_does() {
        assert_eq!(words("  Host=a \"b c\" d"), ["Host", "a", "b c", "d"]);
        assert_eq!(words("IdentityFile = ~/x"), ["IdentityFile", "~/x"]);
        assert!(words("# Host a").is_empty() && words("").is_empty());
    }
}
