//! The probe: everything that a plan needs to know about a node, asked in one script, with the
//! answers as facts.
//!
//! The questions of all tasks are deduplicated and rendered as one POSIX shell script that writes
//! nothing to the node. Its output has one line per answer, separated by tabs, because a path or
//! the name of a unit can contain almost any other character.
//!
//! Hashing hundreds of megabytes of binaries on every run would be slow. So when labctl writes a
//! large file, it records the hash with the file's stat signature (inode, size, modification and
//! change time), and the probe uses that hash as long as the signature matches, just like git's
//! index. Any write, rename or chmod changes the signature, and the file is hashed again. Small
//! files are not recorded: hashing all of them is faster than starting a program for each when it
//! is written.
//!
//! A plan shows what a change does to a text, so the old text must come in the same round trip. The
//! script contains the desired hash; a file with that hash costs only one line, and only the text
//! of a file that differs is sent.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::{STATE_FOLDER, quote};
use crate::node::{CHECKS, MACHINE, PROBE, SURROUNDINGS};

/// A question to a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// What is at a path: type, mode, owner, and the hash of a regular file.
    Path(String),
    /// The same for a file that should have this content.
    File {
        /// Its path.
        path: String,
        /// SHA-256 of the desired content, lower-case hex.
        sha256: String,
        /// Whether to answer with the current text if it differs. Text that not everyone on the
        /// node may read is never sent, and neither is a long text.
        text: bool,
    },
    /// The whole text of a small file.
    Text(String),
    /// The names in a directory, including hidden ones.
    Names(String),
    /// The state of a systemd unit.
    Unit(String),
    /// What the machine is like.
    Machine,
    /// What else is on the machine.
    Surroundings,
    /// All routes of the main table.
    Routes,
    /// The images in containerd's `k8s.io` namespace.
    Images,
    /// Whether a shell command exits with 0; it must change nothing.
    Check(String),
    /// The same for one that starts no program: `[ -e /a ]`. It is quicker.
    Test(String),
}

/// What is at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathFact {
    /// The type in stat's terms: `regular file`, `directory`, `symbolic link`, ...
    pub kind: String,
    /// Octal permissions without leading zeros: `644`.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of a regular file, lower-case hex.
    pub sha256: Option<String>,
}

/// The state of a systemd unit, in systemd's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFact {
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `enabled`, `disabled`, `static`, or empty if there is no such unit.
    pub file: String,
    /// Whether systemd has not loaded the current unit file.
    pub stale: bool,
    /// The substate: `running`, `exited`, `auto-restart`, ...
    pub sub: String,
    /// How often systemd has restarted it automatically since its last manual start.
    pub restarts: u32,
    /// Number of seconds for which it has been active.
    pub lasted: Option<u64>,
}

/// What a probe found on one node. A question without an answer here was not asked or found
/// nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What is at the paths that exist.
    pub paths: BTreeMap<String, PathFact>,
    /// The text of files that exist.
    pub texts: BTreeMap<String, String>,
    /// The text of files that differ from the desired content, where it was requested and may be
    /// shown.
    pub other_texts: BTreeMap<String, String>,
    /// The names in existing directories.
    pub names: BTreeMap<String, Vec<String>>,
    /// Units by name.
    pub units: BTreeMap<String, UnitFact>,
    /// Routes, as `ip -o route` prints them, by destination. The nodes of a large lab have many,
    /// mostly the same ones.
    pub routes: BTreeMap<Arc<str>, Arc<str>>,
    /// References of imported images.
    pub images: BTreeSet<String>,
    /// Checks and tests by whether they passed; one that was not over in time is missing.
    pub checks: BTreeMap<String, bool>,
    /// What the machine has said of itself, by the keys of `src/node/machine.sh`.
    pub machine: BTreeMap<String, String>,
    /// What else is on the machine: the lines of each answer, by the questions of
    /// `src/node/surroundings.sh`.
    pub surroundings: BTreeMap<String, Vec<String>>,
    /// The node's clock minus the workstation's in seconds, if known.
    pub clock_offset: Option<f64>,
    /// Missing programs that labctl needs on a node.
    pub missing_tools: Vec<String>,
}

impl Facts {
    /// These, with the texts that many nodes have in common held once: in `pool`.
    pub fn sharing(mut self, pool: &mut HashSet<Arc<str>>) -> Self {
        let mut shared = |text: Arc<str>| match pool.get(&text) {
            Some(known) => Arc::clone(known),
            None => {
                pool.insert(Arc::clone(&text));
                text
            }
        };
        let routes = std::mem::take(&mut self.routes).into_iter();
        self.routes = routes.map(|(to, route)| (shared(to), shared(route))).collect();
        self
    }

    /// These, with what a later look at the node found.
    pub fn with(mut self, later: Self) -> Self {
        self.paths.extend(later.paths);
        self.texts.extend(later.texts);
        self.other_texts.extend(later.other_texts);
        self.names.extend(later.names);
        self.units.extend(later.units);
        self.routes.extend(later.routes);
        self.images.extend(later.images);
        self.checks.extend(later.checks);
        self.machine.extend(later.machine);
        self.surroundings.extend(later.surroundings);
        self
    }
}

/// Programs that labctl needs on every node.
const TOOLS: &[&str] = &["systemctl", "tar", "sha256sum", "stat", "mktemp", "timeout"];

/// The file on a node with recorded stat signatures and hashes.
pub const KNOWN_FILE: &str = "/var/lib/labctl/known";

/// Maximum length in bytes of a text that a node sends to show how it differs.
pub const LONGEST_TEXT: u64 = 65_536;

/// Maximum number of names of a directory that a node sends.
const MOST_NAMES: usize = 50;

/// The stat format that is both the answer about a path and its signature. The path comes last.
pub const SIGNATURE: &str = "%F|%a|%U:%G|%s|%i|%.9Y|%.9Z|%n";

/// The shell text that stands above scripts that look at files, or note how they look.
pub(crate) fn notes() -> String {
    format!("signature='{SIGNATURE}'\nnotes={KNOWN_FILE}\n")
}

/// Renders questions as the script of a probe.
pub fn script(questions: &BTreeSet<Question>) -> String {
    let mut text = format!("{}longest={LONGEST_TEXT}\n{PROBE}{MACHINE}{SURROUNDINGS}", notes());
    let (mut beside, mut tests) = (CHECKS.to_owned(), String::new());
    for (number, check) in checks(questions).into_iter().enumerate() {
        let _ = match check {
            Question::Test(test) => writeln!(tests, "{test}\nverdict {number} $?"),
            Question::Check(check) => writeln!(beside, "check {number} {}", quote(check)),
            _ => Ok(()),
        };
    }
    beside.push_str("wait\n");
    // One limit for all of them, and no command line, which has a maximum length.
    let _ = writeln!(text, "printf %s {} | timeout 10 sh -s 2>/dev/null | {{", quote(&beside));
    let _ = writeln!(text, "exec 3<&0 </dev/null\nclock\ntools {}\n{tests}", TOOLS.join(" "));
    let mut paths: BTreeMap<&str, (bool, &str)> = BTreeMap::new();
    let mut units = String::new();
    for question in questions {
        let _ = match question {
            Question::Path(path) => {
                paths.entry(path).or_default();
                Ok(())
            }
            Question::File { path, sha256, text } => {
                paths.insert(path, (*text, sha256));
                Ok(())
            }
            Question::Unit(unit) => write!(units, " {}", quote(unit)),
            Question::Text(path) => writeln!(text, "text {}", quote(path)),
            Question::Names(path) => writeln!(text, "names {} {MOST_NAMES}", quote(path)),
            Question::Machine => writeln!(text, "machine"),
            Question::Surroundings => writeln!(text, "surroundings"),
            Question::Routes => writeln!(text, "routes"),
            Question::Images => writeln!(text, "images"),
            Question::Check(_) | Question::Test(_) => Ok(()),
        };
    }
    if !paths.is_empty() {
        let words: String = paths.keys().map(|path| format!(" {}", quote(path))).collect();
        let wanted: String = paths.values().map(wanted).collect();
        let _ = writeln!(text, "look '{wanted}'{words}");
    }
    if !units.is_empty() {
        let _ = writeln!(text, "units{units}");
    }
    text.push_str("cat <&3\n}\nprintf 'end\\n'\n");
    text
}

/// The checks and tests among questions; the number of one is its place.
fn checks(questions: &BTreeSet<Question>) -> Vec<&Question> {
    let asked = questions.iter();
    asked.filter(|it| matches!(it, Question::Check(_) | Question::Test(_))).collect()
}

/// What is wanted of a path, as `look` reads it: whether its text is, and the hash that it should
/// have.
fn wanted((text, sha256): &(bool, &str)) -> String {
    match (sha256.is_empty(), text) {
        (true, _) => "- ".to_owned(),
        (false, true) => format!("t{sha256} "),
        (false, false) => format!("f{sha256} "),
    }
}

/// An incomplete or invalid output of a probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the probe's answer is incomplete: {0}")]
pub struct ProbeError(String);

/// Parses the output of a probe. `questions` must be those that the script was rendered from.
///
/// # Errors
/// If the output does not end like a complete answer.
pub fn parse(questions: &BTreeSet<Question>, output: &str) -> Result<Facts, ProbeError> {
    let mut answers = Answers { checks: checks(questions), ..Answers::default() };
    for line in output.lines() {
        let (kind, rest) = line.split_once('\t').unwrap_or((line, ""));
        answers.line(kind, rest)?;
    }
    if !answers.whole {
        let last = output.lines().last().unwrap_or("nothing at all");
        return Err(ProbeError(format!("it ends with `{last}`")));
    }
    Ok(answers.facts())
}

/// What was read of a probe's output so far.
#[derive(Default)]
struct Answers<'a> {
    facts: Facts,
    /// The checks that were asked, by number.
    checks: Vec<&'a Question>,
    /// What was hashed, by path, and what was noted, by signature.
    hashes: BTreeMap<&'a str, &'a str>,
    known: BTreeMap<&'a str, &'a str>,
    signatures: Vec<&'a str>,
    /// The unit whose block is being read.
    unit: (String, UnitFact),
    uptime: Option<u64>,
    whole: bool,
}

impl<'a> Answers<'a> {
    fn line(&mut self, kind: &str, rest: &'a str) -> Result<(), ProbeError> {
        let facts = &mut self.facts;
        match kind {
            "clock" => facts.clock_offset = rest.parse().ok(),
            "uptime" => self.uptime = rest.parse().ok(),
            "missing" => facts.missing_tools.push(rest.to_owned()),
            "path" => self.signatures.push(rest),
            "hash" => self.hashes.extend(rest.split_once("  ").map(|(hash, path)| (path, hash))),
            "known" => self.known.extend(rest.split_once('\t').map(|(hash, line)| (line, hash))),
            "text" => {
                let (path, bytes) = content(rest)?;
                facts.texts.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
            }
            "other" => {
                let (path, bytes) = content(rest)?;
                // Do not show binary data as text.
                let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
                facts.other_texts.extend(text.map(|text| (path.to_owned(), text)));
            }
            "names" => {
                let (path, names) = rest.split_once('\t').unwrap_or((rest, ""));
                let names = names.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
                facts.names.insert(path.to_owned(), names.collect());
            }
            "machine" => {
                let (key, value) = rest.split_once('\t').unwrap_or((rest, ""));
                facts.machine.insert(key.to_owned(), value.to_owned());
            }
            "around" => {
                let (question, line) = rest.split_once('\t').unzip();
                let answer = facts.surroundings.entry(question.unwrap_or(rest).to_owned());
                answer.or_default().extend(line.map(str::to_owned));
            }
            "route" => {
                let destination = rest.split(' ').next().unwrap_or_default().into();
                // Of several routes to one destination, the first has the lowest metric and is the
                // one in use.
                facts.routes.entry(destination).or_insert_with(|| rest.trim().into());
            }
            "image" => drop(facts.images.insert(rest.to_owned())),
            "unit" => self.unit_line(rest),
            "check" => self.check_line(rest),
            "end" => self.whole = true,
            _ => {}
        }
        Ok(())
    }

    fn check_line(&mut self, rest: &str) {
        if let Some((index, code)) = rest.split_once('\t')
            && let Some(Question::Check(check) | Question::Test(check)) =
                index.parse::<usize>().ok().and_then(|i| self.checks.get(i))
        {
            self.facts.checks.insert(check.clone(), code == "0");
        }
    }

    /// systemctl show prints one block of KEY=VALUE per unit, with an empty line between two; which
    /// key comes first is its own business, so a block ends only at the empty line.
    fn unit_line(&mut self, rest: &str) {
        let (name, fact) = &mut self.unit;
        match rest.split_once('=') {
            Some(("Id", value)) => value.clone_into(name),
            Some(("ActiveState", value)) => value.clone_into(&mut fact.active),
            Some(("UnitFileState", value)) => value.clone_into(&mut fact.file),
            Some(("NeedDaemonReload", value)) => fact.stale = value == "yes",
            Some(("SubState", value)) => value.clone_into(&mut fact.sub),
            Some(("NRestarts", value)) => fact.restarts = value.parse().unwrap_or_default(),
            Some(("ActiveEnterTimestampMonotonic", value)) => {
                let since = value.parse::<u64>().ok().filter(|since| *since > 0);
                let seconds = |(now, since): (u64, u64)| now.saturating_sub(since / 1_000_000);
                fact.lasted = self.uptime.zip(since).map(seconds);
            }
            Some(_) => {}
            None => self.end_unit(),
        }
    }

    fn end_unit(&mut self) {
        let (name, fact) = std::mem::take(&mut self.unit);
        if !name.is_empty() {
            self.facts.units.insert(name, fact);
        }
    }

    fn facts(mut self) -> Facts {
        self.end_unit();
        for signature in &self.signatures {
            let mut fields = signature.splitn(8, '|');
            let mut field = || fields.next().unwrap_or_default().to_owned();
            let (kind, mode, owner, size) = (field(), field(), field(), field());
            let path = signature.splitn(8, '|').nth(7).unwrap_or_default();
            let sha256 = self.hashes.get(path).or_else(|| self.known.get(signature));
            let sha256 = sha256.map(|hash| (*hash).to_owned());
            let size = size.parse().unwrap_or_default();
            self.facts.paths.insert(path.to_owned(), PathFact { kind, mode, owner, size, sha256 });
        }
        self.facts
    }
}

/// Parses a line with a path and its content.
fn content(rest: &str) -> Result<(&str, Vec<u8>), ProbeError> {
    use base64::Engine as _;
    let (path, encoded) = rest.split_once('\t').unwrap_or((rest, ""));
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
    Ok((path, bytes.map_err(|e| ProbeError(format!("the text of {path}: {e}")))?))
}

/// Returns the file on a node with the fingerprint that a unit was last started with.
pub fn unit_record(unit: &str) -> String {
    format!("{STATE_FOLDER}/units/{unit}")
}
