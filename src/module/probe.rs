//! The probe: everything that a plan wants to know about a node, as one script, and its answers as
//! facts.
//!
//! Questions of all tasks are gathered, made unique, and rendered as one POSIX shell script that
//! writes nothing to the node. Its output is a line an answer, tab-separated, because a path or a
//! unit can hold almost anything else.
//!
//! Hashing hundreds of megabytes of binaries on every run would be slow, so a large file whose stat
//! signature (inode, size, modification and change time) is the one that labctl noted when it wrote
//! the file keeps the hash noted then, just as git's index does. Any write, rename or chmod changes
//! the signature, and the file is hashed again. Small files have no notes: to hash all of them is
//! faster than to start a program for each when it is written.
//!
//! A plan shows what a change does to a text, and the old text has to come with the same round
//! trip. The node is told which hash is wanted, so a file that has it costs nothing more than its
//! line, and only one that differs is sent.

use std::collections::{BTreeMap, BTreeSet};

use super::{STATE_FOLDER, quote};

/// Something to ask a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// What is at a path: kind, mode, owner, and the hash of a regular file.
    Path(String),
    /// The same about a file that should have this content.
    File {
        /// Its path.
        path: String,
        /// SHA-256 of the content that is wanted, lower-case hex.
        sha256: String,
        /// Whether to answer with the text that is there, when it is another one. Text that not
        /// everyone on the node may read is never sent, nor is what is too long to read.
        text: bool,
    },
    /// The whole text of a small file.
    Text(String),
    /// The names in a directory, hidden ones too.
    Names(String),
    /// The state of a systemd unit.
    Unit(String),
    /// All routes of the main table.
    Routes,
    /// The images that containerd has in the `k8s.io` namespace.
    Images,
    /// Whether a shell command exits with 0; it must change nothing.
    Check(String),
}

/// What is at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathFact {
    /// In stat's words: `regular file`, `directory`, `symbolic link`, ...
    pub kind: String,
    /// Octal permissions without leading zeros: `644`.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of a regular file, lower-case hex.
    pub sha256: Option<String>,
}

/// The state of a systemd unit, in systemd's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFact {
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `enabled`, `disabled`, `static`, or empty when there is no such unit.
    pub file: String,
    /// Whether systemd's copy of the unit file is out of date.
    pub stale: bool,
    /// The finer state: `running`, `exited`, `auto-restart`, ...
    pub sub: String,
    /// How often systemd has started it again by itself since it was last started by somebody.
    pub restarts: u32,
    /// For how many seconds it has been active.
    pub lasted: Option<u64>,
}

/// What a probe found on one node. A question that has no answer here was not asked or found
/// nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What is at the paths that exist.
    pub paths: BTreeMap<String, PathFact>,
    /// The text of files that exist.
    pub texts: BTreeMap<String, String>,
    /// The text of files that have another content than the one that is wanted, where it was asked
    /// for and may be shown.
    pub other_texts: BTreeMap<String, String>,
    /// The names in directories that exist.
    pub names: BTreeMap<String, Vec<String>>,
    /// Units by name.
    pub units: BTreeMap<String, UnitFact>,
    /// Routes, as `ip -o route` prints them, by destination.
    pub routes: BTreeMap<String, String>,
    /// References of the images that are there.
    pub images: BTreeSet<String>,
    /// Checks that were asked, and whether they passed.
    pub checks: BTreeMap<String, bool>,
    /// The node's clock less the workstation's, in seconds, when the probe could tell.
    pub clock_offset: Option<f64>,
    /// Programs that labctl needs on a node and that are not there.
    pub missing_tools: Vec<String>,
}

/// Programs without which nothing can be done on a node.
const TOOLS: &[&str] = &["systemctl", "tar", "sha256sum", "stat", "mktemp", "timeout"];

/// Where noted stat signatures and hashes are kept on a node.
pub const KNOWN_FILE: &str = "/var/lib/labctl/known";

/// The longest text, in bytes, that a node sends to show how it differs.
pub const LONGEST_TEXT: u64 = 65_536;

/// How many names of a directory a node sends at most.
const MOST_NAMES: usize = 50;

/// The stat format that is at once the answer about a path and its signature. The path comes last.
pub const SIGNATURE: &str = "%F|%a|%U:%G|%s|%i|%.9Y|%.9Z|%n";

/// Renders questions as the one script of a probe.
pub fn script(questions: &BTreeSet<Question>) -> String {
    let mut text = String::from("LC_ALL=C; export LC_ALL\n");
    text.push_str(
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH; export PATH\n",
    );
    text.push_str("printf 'clock\\t%s\\n' \"$(date +%s.%N)\"\n");
    text.push_str(&format!(
        "for tool in {}; do command -v \"$tool\" >/dev/null || printf 'missing\\t%s\\n' \
        \"$tool\"; done\n",
        TOOLS.join(" ")
    ));
    // Checks may take a moment each (a kubectl, an etcdctl), so they run at the same time as all
    // the rest.
    let checks: Vec<&String> = questions
        .iter()
        .filter_map(|q| if let Question::Check(c) = q { Some(c) } else { None })
        .collect();
    for (i, check) in checks.iter().enumerate() {
        text.push_str(&format!(
            "timeout 10 sh -c {} >/dev/null 2>&1 </dev/null & c{i}=$!\n",
            quote(check)
        ));
    }
    let mut paths: BTreeMap<&str, (bool, &str)> = BTreeMap::new();
    let mut units = String::new();
    for question in questions {
        match question {
            Question::Path(path) => {
                paths.entry(path).or_default();
            }
            Question::File { path, sha256, text } => {
                paths.insert(path, (*text, sha256));
            }
            Question::Unit(unit) => {
                units.push(' ');
                units.push_str(&quote(unit));
            }
            Question::Text(path) => text.push_str(&format!(
                "[ -f {0} ] && {{ printf 'text\\t%s\\t' {0}; base64 -w0 {0}; echo; }}\n",
                quote(path)
            )),
            Question::Names(path) => text.push_str(&format!(
                "[ -d {0} ] && {{ printf 'names\\t%s\\t' {0}; ls -A {0} | head -n {MOST_NAMES} | \
                tr '\\n' '/'; echo; }}\n",
                quote(path)
            )),
            Question::Routes => text.push_str(
                "ip -o -4 route show 2>/dev/null | sed \
                's/^/route\\t/'\n",
            ),
            Question::Images => text.push_str(
                "command -v ctr >/dev/null && timeout 10 ctr -n k8s.io images ls -q 2>/dev/null | \
                sed 's/^/image\\t/'\n",
            ),
            Question::Check(_) => {}
        }
    }
    if !paths.is_empty() {
        text.push_str(&look_at(&paths));
    }
    if !units.is_empty() {
        text.push_str(&format!(
            "read -r up _ < /proc/uptime; printf 'uptime\\t%s\\n' \"${{up%.*}}\"\n\
             systemctl show -p Id,ActiveState,SubState,UnitFileState,NeedDaemonReload,NRestarts,\
             ActiveEnterTimestampMonotonic --{units} 2>/dev/null | sed 's/^/unit\\t/'\n"
        ));
    }
    for i in 0..checks.len() {
        text.push_str(&format!("wait $c{i}; printf 'check\\t{i}\\t%s\\n' $?\n"));
    }
    text.push_str("printf 'end\\n'\n");
    text
}

/// The part of the script that looks at paths, each with whether its text is wanted and the hash
/// that it should have.
fn look_at(paths: &BTreeMap<&str, (bool, &str)>) -> String {
    let words: String = paths.keys().map(|path| format!(" {}", quote(path))).collect();
    let wanted: String = paths
        .values()
        .map(|(text, sha256)| match (sha256.is_empty(), text) {
            (true, _) => "- ".to_owned(),
            (false, true) => format!("t{sha256} "),
            (false, false) => format!("f{sha256} "),
        })
        .collect();
    // What is wanted is taken along in the order of the paths: stat keeps it, and passes over what
    // is missing. A file whose noted hash is the wanted one costs one look into the notes; those
    // without a note are hashed by one program.
    format!(
        r#"end='
'
known=
[ ! -e {KNOWN_FILE} ] || known=$end$(cat {KNOWN_FILE})$end
want='{wanted}'
show() {{ printf 'other\t%s\t' "$1"; base64 -w0 < "$1"; echo; }}
set --{words}
stat -c '{SIGNATURE}' -- "$@" 2>/dev/null | {{
texts=$end unknown=
while IFS= read -r line; do
  printf 'path\t%s\n' "$line"
  case $line in "regular "*) ;; *) continue ;; esac
  path=/${{line#*|/}}
  while [ $# -gt 1 ] && [ "$1" != "$path" ]; do shift; want=${{want#* }}; done
  this=${{want%% *}}; may=no
  mode=${{line#*|}}; mode=${{mode%%|*}}; size=${{line#*|*|*|}}; size=${{size%%|*}}
  case $this$mode in t*[4567]) [ "$size" -gt {LONGEST_TEXT} ] || may=show ;; esac
  case $known in
    *"$end${{this#?}}	$line$end"*) printf 'hash\t%s  %s\n' "${{this#?}}" "$path" ;;
    *"	$line$end"*) grep -F -e "	$line" {KNOWN_FILE} | sed 's/^/known\t/'; [ $may = no ] || show "$path" ;;
    *) unknown=$unknown$path$end; [ $may = no ] || texts="$texts$path	${{this#?}}$end" ;;
  esac
done
set -f; IFS=$end; set -- $unknown
[ $# = 0 ] || sha256sum -- "$@" 2>/dev/null | while IFS= read -r line; do
  # It begins with a backslash when the name has one, and then there are two of them.
  case $line in \\*) line=$(printf '%s\n' "${{line#?}}" | sed 's/\\\\/\\/g') ;; esac
  printf 'hash\t%s\n' "$line"
  path=/${{line#*/}}
  case $texts in *"$end$path	${{line%% *}}$end"*) ;; *"$end$path	"*) show "$path" ;; esac
done
set +f; unset IFS
}}
"#
    )
}

/// A probe's output that was cut short, or is not a probe's output at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the probe's answer is not whole: {0}")]
pub struct ProbeError(String);

/// Reads a probe's output back. `questions` must be the ones that the script was made from.
///
/// # Errors
/// When the output does not end as every whole answer does.
pub fn parse(questions: &BTreeSet<Question>, output: &str) -> Result<Facts, ProbeError> {
    let mut facts = Facts::default();
    let mut hashes: BTreeMap<&str, &str> = BTreeMap::new();
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    let mut signatures: Vec<&str> = Vec::new();
    let mut unit = (String::new(), UnitFact::default());
    let mut uptime: Option<u64> = None;
    let mut whole = false;
    let checks: Vec<&String> = questions
        .iter()
        .filter_map(|q| if let Question::Check(c) = q { Some(c) } else { None })
        .collect();
    for line in output.lines() {
        let (kind, rest) = line.split_once('\t').unwrap_or((line, ""));
        match kind {
            "clock" => facts.clock_offset = rest.parse().ok(),
            "uptime" => uptime = rest.parse().ok(),
            "missing" => facts.missing_tools.push(rest.to_owned()),
            "path" => signatures.push(rest),
            "hash" => {
                if let Some((hash, path)) = rest.split_once("  ") {
                    hashes.insert(path, hash);
                }
            }
            "known" => {
                if let Some((hash, signature)) = rest.split_once('\t') {
                    known.insert(signature, hash);
                }
            }
            "text" => {
                let (path, bytes) = content(rest)?;
                facts.texts.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
            }
            "other" => {
                let (path, bytes) = content(rest)?;
                // What is no text is not shown as if it were.
                if let Ok(text) = String::from_utf8(bytes)
                    && !text.contains('\0')
                {
                    facts.other_texts.insert(path.to_owned(), text);
                }
            }
            "names" => {
                let (path, names) = rest.split_once('\t').unwrap_or((rest, ""));
                let names = names.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
                facts.names.insert(path.to_owned(), names.collect());
            }
            "route" => {
                let destination = rest.split(' ').next().unwrap_or_default();
                // Of several to one destination the first has the lowest metric, and is the one
                // that counts.
                facts
                    .routes
                    .entry(destination.to_owned())
                    .or_insert_with(|| rest.trim().to_owned());
            }
            "image" => {
                facts.images.insert(rest.to_owned());
            }
            // systemctl show prints one block of KEY=VALUE a unit, with an empty line between two;
            // which key comes first is its own business, so a block ends only at the empty line.
            "unit" => match rest.split_once('=') {
                Some(("Id", value)) => unit.0 = value.to_owned(),
                Some(("ActiveState", value)) => unit.1.active = value.to_owned(),
                Some(("UnitFileState", value)) => unit.1.file = value.to_owned(),
                Some(("NeedDaemonReload", value)) => unit.1.stale = value == "yes",
                Some(("SubState", value)) => unit.1.sub = value.to_owned(),
                Some(("NRestarts", value)) => unit.1.restarts = value.parse().unwrap_or_default(),
                Some(("ActiveEnterTimestampMonotonic", value)) => {
                    let since = value
                        .parse::<u64>()
                        .ok()
                        .filter(|since| *since > 0)
                        .map(|since| since / 1_000_000);
                    unit.1.lasted = uptime.zip(since).map(|(now, since)| now.saturating_sub(since));
                }
                Some(_) => {}
                None => keep_unit(&mut facts, &mut unit),
            },
            "check" => {
                if let Some((index, code)) = rest.split_once('\t')
                    && let Some(check) = index.parse::<usize>().ok().and_then(|i| checks.get(i))
                {
                    facts.checks.insert((*check).clone(), code == "0");
                }
            }
            "end" => whole = true,
            _ => {}
        }
    }
    if !whole {
        let last = output.lines().last().unwrap_or("nothing at all");
        return Err(ProbeError(format!("it ends with `{last}`")));
    }
    keep_unit(&mut facts, &mut unit);
    for signature in signatures {
        let mut fields = signature.splitn(8, '|');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let (kind, mode, owner, size) = (field(), field(), field(), field());
        let path = signature.splitn(8, '|').nth(7).unwrap_or_default();
        let sha256 =
            hashes.get(path).or_else(|| known.get(signature)).map(|hash| (*hash).to_owned());
        let size = size.parse().unwrap_or_default();
        facts.paths.insert(path.to_owned(), PathFact { kind, mode, owner, size, sha256 });
    }
    Ok(facts)
}

/// A path and what is there, of a line that holds both.
fn content(rest: &str) -> Result<(&str, Vec<u8>), ProbeError> {
    use base64::Engine as _;
    let (path, encoded) = rest.split_once('\t').unwrap_or((rest, ""));
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
    Ok((path, bytes.map_err(|e| ProbeError(format!("the text of {path}: {e}")))?))
}

fn keep_unit(facts: &mut Facts, unit: &mut (String, UnitFact)) {
    let (name, fact) = std::mem::take(unit);
    if !name.is_empty() {
        facts.units.insert(name, fact);
    }
}

/// Where the fingerprint that a unit was last started with is kept on a node.
pub fn unit_record(unit: &str) -> String {
    format!("{STATE_FOLDER}/units/{unit}")
}
