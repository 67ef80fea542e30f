//! What a person needs who does a task by hand: the commands, and files beside them.
//!
//! The commands are the modules' own. A file that they name is there because it was copied from the
//! bundle or the lab's `pki`, or because it is composed first: a kubeconfig is a text around
//! certificates and a key, so it is written as that text, with commands that read these from
//! `pki` in their places. No secret is in the commands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::DesiredTask;
use super::ownership::mark_file;
use crate::module::file::Content;
use crate::module::{AtHand, State as _, quote};
use crate::pki::Pki;
use crate::secret::Secret;

/// The end of a here-document with a composed file.
const END: &str = "EOF";

/// The lab's secrets by where they are in its `pki`.
pub struct Hand<'a> {
    folder: PathBuf,
    pki: &'a Pki,
    /// Words of composed files, each with the command that prints it and the file that it reads.
    words: HashMap<String, (String, String)>,
    /// Secrets that are in no file of `pki`.
    others: Vec<Secret>,
    /// Templates that have no secrets but the lab's.
    standard: BTreeSet<String>,
    /// What nodes keep to say whose they are.
    mark: Option<String>,
}

/// A task as a person does it.
#[derive(Debug, Default)]
pub struct ByHand {
    /// The commands, to be typed on the node in a directory with the files.
    pub commands: String,
    /// The files beside the commands, each with its path on the workstation.
    pub files: BTreeMap<String, PathBuf>,
}

impl<'a> Hand<'a> {
    /// Of a lab whose `pki` is in `folder`. `others` are secrets that are in no file there;
    /// `standard` are the origins of templates that hold no secrets but the lab's own.
    pub fn new(
        folder: PathBuf,
        pki: &'a Pki,
        others: Vec<Secret>,
        standard: BTreeSet<String>,
    ) -> Self {
        let mut words = HashMap::new();
        for name in pki.names() {
            let Some(bytes) = pki.get(name) else { continue };
            let path = format!("pki/{name}");
            words.insert(BASE64.encode(bytes), (format!("base64 -w0 {path}"), path.clone()));
            // Keys of Secrets: a name and the key in each line.
            let lines = str::from_utf8(bytes).unwrap_or_default().lines();
            for (line, text) in (1..).zip(lines).filter(|_| !is_pem(bytes)) {
                let word = text.rsplit(' ').next().unwrap_or_default();
                let print = format!("awk 'NR == {line} {{ print $NF }}' {path}");
                words.insert(word.to_owned(), (print, path.clone()));
            }
        }
        words.remove("");
        Self { folder, pki, words, others, standard, mark: None }
    }

    /// The same with the text of the file in which a node keeps which lab it belongs to.
    pub fn marking(self, mark: Option<String>) -> Self {
        Self { mark, ..self }
    }

    /// Returns what to type first: it notes which lab a node belongs to. `None` while the lab has
    /// no keys yet.
    pub fn whose(&self) -> Option<String> {
        let (file, mark) = (mark_file(), self.mark.as_ref()?);
        Some(format!("install -D -m 644 /dev/stdin {file} <<'{END}'\n{mark}{END}\n"))
    }

    /// Returns what to type for a task.
    pub fn typed(&self, task: &DesiredTask) -> ByHand {
        let mut by_hand = ByHand::default();
        for beside in task.desired.beside() {
            self.place(&beside, &mut by_hand);
        }
        for commands in [Some(task.desired.shell()), task.desired.note()].into_iter().flatten() {
            by_hand.commands.push_str(commands.trim_end());
            by_hand.commands.push('\n');
        }
        by_hand
    }

    fn place(&self, beside: &AtHand, by_hand: &mut ByHand) {
        let name = &beside.name;
        let in_pki = name.strip_prefix("pki/").filter(|file| self.pki.get(file).is_some());
        match (&beside.content, in_pki) {
            (Content::Blob(blob), _) => {
                by_hand.files.insert(name.clone(), blob.source.clone());
            }
            (_, Some(file)) => {
                by_hand.files.insert(name.clone(), self.folder.join(file));
            }
            (content, None) => match self.composed(beside, content) {
                Some((text, files)) => {
                    let (folder, _) = name.rsplit_once('/').unwrap_or((".", name));
                    let (folder, name) = (quote(folder), quote(name));
                    let commands = &mut by_hand.commands;
                    let _ = writeln!(commands, "mkdir -p {folder} && cat > {name} <<{END}");
                    let _ = writeln!(commands, "{text}{END}");
                    let path = |file: String| {
                        let path = self.folder.join(file.trim_start_matches("pki/"));
                        (file, path)
                    };
                    by_hand.files.extend(files.into_iter().map(path));
                }
                None => {
                    let _ = writeln!(
                        by_hand.commands,
                        "# {name} has a secret that is not in the lab's pki: put it here yourself."
                    );
                }
            },
        }
    }

    /// Returns the body of a here-document that makes the file, and the files that it reads; `None`
    /// where the text may have a secret of somebody else's.
    fn composed(&self, beside: &AtHand, content: &Content) -> Option<(String, BTreeSet<String>)> {
        let text = content.text()?;
        let name = &beside.name;
        let known = name.starts_with("kubeconfig/") || self.standard.contains(name);
        let mut others = self.others.iter().filter_map(Secret::expose_text);
        let has_other = others.any(|other| !other.is_empty() && text.contains(other));
        if beside.secret && (!known || has_other || text.contains("PRIVATE KEY-----")) {
            return None;
        }
        let (mut body, mut files) = (String::new(), BTreeSet::new());
        for part in text.split_inclusive(ends_a_word) {
            let word = part.trim_end_matches(ends_a_word);
            match self.words.get(word) {
                Some((command, file)) => {
                    let _ = write!(body, "$({command})");
                    files.insert(file.clone());
                }
                None => body.push_str(&escaped(word)),
            }
            body.push_str(&part[word.len()..]);
        }
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Some((body, files))
    }
}

fn ends_a_word(letter: char) -> bool {
    letter.is_whitespace() || letter == '"'
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.starts_with(b"-----BEGIN ")
}

/// A word as a here-document has it in which commands are substituted.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('$', "\\$").replace('`', "\\`")
}
