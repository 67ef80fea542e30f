//! What a node answers: the lines that `src/node/status.sh` prints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::de::DeserializeOwned;

/// What one node has answered. What is not here was not asked, or found nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeAnswer {
    /// Its clock, in seconds since 1970.
    pub clock: Option<f64>,
    /// Seconds since it started.
    pub up: Option<u64>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its units, by name.
    pub units: BTreeMap<String, UnitSeen>,
    /// Directories that cannot be written.
    pub read_only: Vec<String>,
    /// File systems: whether of space or of inodes, how full in percent, and where it is mounted.
    pub room: Vec<Fullness>,
    /// What it swaps to.
    pub swap: Vec<String>,
    /// Its routes, as `ip -o route` prints them.
    pub routes: Vec<String>,
    /// The lines of `/etc/hosts`.
    pub hosts: Vec<String>,
    /// The file that says which lab it belongs to.
    pub mark: Option<String>,
    /// Files with certificates, as PEM or, of a kubeconfig, as base64 of that.
    pub certificates: Vec<(String, String)>,
    /// Programs that were asked how they are, by URL, with the HTTP status; 0 for no answer.
    pub health: BTreeMap<String, u16>,
    /// Ways to the API, likewise.
    pub paths: BTreeMap<String, u16>,
    /// Ways to other workers' pods, likewise.
    pub peers: BTreeMap<String, u16>,
    /// What etcd answered, by question.
    pub etcd: BTreeMap<String, String>,
    /// What the node's API server answered, by path: the status and the text.
    pub api: BTreeMap<String, (u16, String)>,
}

/// The state of a unit, in systemd's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitSeen {
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `running`, `exited`, `auto-restart`, ...
    pub sub: String,
    /// `enabled`, `disabled`, `static`, or empty if there is no such unit.
    pub file: String,
    /// How its last run ended: `success`, `exit-code`, ...
    pub result: String,
    /// How often systemd has restarted it.
    pub restarts: u32,
}

/// How full a file system is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fullness {
    /// Whether of inodes; else of space.
    pub inodes: bool,
    /// In percent.
    pub used: u8,
    /// What is left, in kilobytes or inodes.
    pub left: u64,
    /// Where it is mounted.
    pub mount: String,
}

/// Reads an answer.
///
/// # Errors
/// If it does not end like a complete one.
pub fn parse(text: &str) -> Result<NodeAnswer, String> {
    let mut reading = Reading::default();
    for line in text.lines() {
        reading.line(line);
    }
    if reading.whole {
        return Ok(reading.answer);
    }
    let last = text.lines().last().unwrap_or("nothing at all");
    Err(format!("its answer is incomplete; it ends with `{last}`"))
}

#[derive(Default)]
struct Reading {
    answer: NodeAnswer,
    unit: (String, UnitSeen),
    /// What an API server has said since the last end of an answer.
    body: Option<String>,
    whole: bool,
}

impl Reading {
    fn line(&mut self, line: &str) {
        if self.body.is_some() {
            return self.api_line(line);
        }
        let (kind, rest) = line.split_once('\t').unwrap_or((line, ""));
        let fields: Vec<&str> = rest.split('\t').collect();
        let answer = &mut self.answer;
        match (kind, &fields[..]) {
            ("clock", [clock]) => answer.clock = clock.parse().ok(),
            ("machine", [up, ..]) => answer.up = up.parse().ok(),
            ("address", [address]) => answer.addresses.extend(address.parse::<IpAddr>().ok()),
            ("unit", [line]) => self.unit_line(line),
            ("readonly", [place]) => answer.read_only.push((*place).to_owned()),
            ("room", [of, used, left, mount]) => answer.room.extend(room(of, used, left, mount)),
            ("swap", [place]) => answer.swap.push((*place).to_owned()),
            ("route", _) => answer.routes.push(rest.trim().to_owned()),
            ("hosts", _) => answer.hosts.push(rest.to_owned()),
            ("mark", _) => {
                let mark = answer.mark.get_or_insert_default();
                mark.push_str(rest);
                mark.push('\n');
            }
            ("certificate", [path, text]) => {
                answer.certificates.push(((*path).to_owned(), text.replace('|', "\n")));
            }
            ("health", [code, url]) => record(&mut answer.health, code, url),
            ("path", [code, url]) => record(&mut answer.paths, code, url),
            ("peer", [code, url]) => record(&mut answer.peers, code, url),
            ("etcd", [question, ..]) => {
                let said = rest.split_once('\t').unwrap_or_default().1;
                answer.etcd.insert((*question).to_owned(), said.to_owned());
            }
            ("api", _) => self.body = Some(String::new()),
            ("end", _) => self.whole = true,
            _ => {}
        }
    }

    /// systemctl prints a block of KEY=VALUE per unit, with an empty line after each.
    fn unit_line(&mut self, line: &str) {
        let (name, state) = &mut self.unit;
        match line.split_once('=') {
            Some(("Id", value)) => value.clone_into(name),
            Some(("ActiveState", value)) => value.clone_into(&mut state.active),
            Some(("SubState", value)) => value.clone_into(&mut state.sub),
            Some(("UnitFileState", value)) => value.clone_into(&mut state.file),
            Some(("Result", value)) => value.clone_into(&mut state.result),
            Some(("NRestarts", value)) => state.restarts = value.parse().unwrap_or_default(),
            Some(_) => {}
            None => {
                let (name, state) = std::mem::take(&mut self.unit);
                if !name.is_empty() {
                    self.answer.units.insert(name, state);
                }
            }
        }
    }

    /// Each answer is followed by a line with the status and the URL.
    fn api_line(&mut self, line: &str) {
        if line == "api-end" {
            self.body = None;
            return;
        }
        let Some(body) = &mut self.body else { return };
        let ended = line.strip_prefix('@').and_then(|rest| rest.split_once(' '));
        if let Some((code, url)) = ended.filter(|(code, _)| code.parse::<u16>().is_ok()) {
            let text = std::mem::take(body).trim().to_owned();
            let path = path_of(url).to_owned();
            self.answer.api.insert(path, (code.parse().unwrap_or_default(), text));
        } else {
            body.push_str(line);
            body.push('\n');
        }
    }
}

/// The part of a URL after its host.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

fn record(to: &mut BTreeMap<String, u16>, code: &str, url: &str) {
    to.insert(url.to_owned(), code.parse().unwrap_or_default());
}

fn room(of: &str, used: &str, left: &str, mount: &str) -> Option<Fullness> {
    let used = used.strip_suffix('%')?.parse().ok()?;
    let left = left.parse().ok()?;
    Some(Fullness { inodes: of == "inodes", used, left, mount: mount.to_owned() })
}

impl NodeAnswer {
    /// What the API server answered at `path`, if that was good and can be read.
    pub(super) fn object<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let (code, text) = self.api.get(path)?;
        serde_json::from_str(text).ok().filter(|_| *code == 200)
    }

    /// What etcd answered to `question`, if that can be read.
    pub(super) fn etcd_object<T: DeserializeOwned>(&self, question: &str) -> Option<T> {
        let value: serde_json::Value = serde_json::from_str(self.etcd.get(question)?).ok()?;
        // An error is an object too.
        value.get("header")?;
        serde_json::from_value(value).ok()
    }

    /// Whether its own API server says that it is ready; none where it was not asked.
    pub fn api_is_ready(&self) -> Option<bool> {
        self.api.get(super::ask::READY).map(|(code, _)| *code == 200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_line_by_line() {
        let text = "clock\t1764187200.5\nmachine\t90\t0.50\t2\naddress\t10.0.0.1\n\
                    unit\tId=etcd.service\nunit\tActiveState=active\nunit\tNRestarts=2\nunit\t\n\
                    room\tspace\t91%\t1000\t/\nroom\tinodes\t-\t-\t/proc\n\
                    mark\t# text\nmark\tlab a\ncertificate\t/a.crt\t-----BEGIN|x|\n\
                    path\t000\thttps://10.0.0.5:6443/readyz\n\
                    etcd\tmaintenance/status\t{\"header\":{\"member_id\":\"7\"}}\n\
                    api\nok\n@200 https://127.0.0.1:6443/readyz\ncurl: (7) no\n\
                    @000 https://127.0.0.1:6443/version\napi-end\nend\n";
        let answer = parse(text).expect("a whole answer");
        assert_eq!((answer.clock, answer.up), (Some(1_764_187_200.5), Some(90)));
        assert_eq!(answer.units["etcd.service"].restarts, 2);
        let room = Fullness { inodes: false, used: 91, left: 1000, mount: "/".to_owned() };
        assert_eq!(answer.room, [room], "a file system without inodes says nothing of them");
        assert_eq!(answer.mark.as_deref(), Some("# text\nlab a\n"));
        assert_eq!(answer.certificates[0].1, "-----BEGIN\nx\n");
        assert_eq!(answer.paths["https://10.0.0.5:6443/readyz"], 0);
        assert_eq!(answer.api["/readyz"], (200, "ok".to_owned()));
        assert_eq!(answer.api["/version"], (0, "curl: (7) no".to_owned()));
        assert_eq!(answer.api_is_ready(), Some(true));
    }

    #[test]
    fn an_answer_that_ends_early_is_refused() {
        let error = parse("clock\t1\nunit\tId=etc").expect_err("it has no end");
        assert_eq!(error, "its answer is incomplete; it ends with `unit\tId=etc`");
        assert!(parse("").expect_err("nothing").ends_with("`nothing at all`"));
    }
}
