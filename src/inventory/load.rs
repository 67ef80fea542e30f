//! Reads an inventory file. The only module of the inventory that depends on the YAML crate.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::de::Deserialize;

use super::Inventory;
use super::decode::decode;
use super::positions::{Position, Positions};
use super::problem::{Problem, STDIN};
use super::tree::Tree;
use super::variables::Lookup;

/// Maximum size of a file in bytes. Ten thousand nodes are 1 MB; anything larger, such as a device
/// or a disk image, is not an inventory.
const LONGEST: u64 = 8 << 20;

/// How many inventories a message names.
const SOME: usize = 3;

/// Reads the inventory at `path`.
///
/// # Errors
/// If there is nothing to decode: the file cannot be read, is not UTF-8, is not YAML, or is empty.
/// Errors in an inventory that can be parsed are in [`Inventory::problems`] instead, so that
/// semantic errors can be reported together with them.
pub fn load(path: &Path) -> Result<Inventory, Problem> {
    let bytes = read(path).map_err(|error| unreadable(path, &error))?;
    load_with(path, &bytes)
}

/// Like [`load`], with variables from `lookup`.
///
/// # Errors
/// Same as [`load`].
pub fn load_as(path: &Path, lookup: Lookup<'_>) -> Result<Inventory, Problem> {
    let bytes = read(path).map_err(|error| unreadable(path, &error))?;
    placed(path, &bytes, lookup)
}

/// Returns the text of the inventory at `path`.
///
/// # Errors
/// If it cannot be read or is not UTF-8.
pub fn text(path: &Path) -> Result<String, Problem> {
    let bytes = read(path).map_err(|error| unreadable(path, &error))?;
    let not_text =
        |_| Problem::error(path, Position::default(), "not UTF-8 text", "save the file with UTF-8");
    String::from_utf8(bytes).map_err(not_text)
}

/// Writes `text` to the inventory at `path` atomically and keeps the file's permissions. A symbolic
/// link is kept, and its target written.
///
/// # Errors
/// If the file system refuses; the file is then unchanged.
pub fn save(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".inventory-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    let was = fs::metadata(&path)?;
    file.as_file().set_permissions(was.permissions())?;
    // The user may run labctl with sudo on a file that belongs to another account.
    let _ = std::os::unix::fs::fchown(file.as_file(), Some(was.uid()), Some(was.gid()));
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

/// Like [`load`], as if the file at `path` contained `bytes`.
///
/// # Errors
/// Same as [`load`].
pub fn load_with(path: &Path, bytes: &[u8]) -> Result<Inventory, Problem> {
    placed(path, bytes, &of_environment)
}

/// Parses `bytes` as the file at `path`, with the directories that paths in it start at.
fn placed(path: &Path, bytes: &[u8], lookup: Lookup<'_>) -> Result<Inventory, Problem> {
    let folder = folder_of(path).map_err(|error| unreadable(path, &error))?;
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    Ok(Inventory { folder, home, ..parse_with(path, bytes, lookup)? })
}

/// Returns the directory that relative paths in an inventory start at: the file's real one.
/// Messages contain the file name as it was typed.
///
/// # Errors
/// If there is no such directory.
pub fn folder_of(path: &Path) -> io::Result<PathBuf> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => fs::canonicalize(parent),
        _ => std::env::current_dir(),
    }
}

fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Parses an inventory from memory; `file` is its name in messages, and variables are those of the
/// environment. Its directory and the home directory are left empty.
///
/// # Errors
/// Same as [`load`].
pub fn parse(file: &Path, bytes: &[u8]) -> Result<Inventory, Problem> {
    parse_with(file, bytes, &of_environment)
}

/// Like [`parse`], with variables from `lookup`.
///
/// # Errors
/// Same as [`load`].
pub fn parse_with(file: &Path, bytes: &[u8], lookup: Lookup<'_>) -> Result<Inventory, Problem> {
    // Some editors begin a file with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = place_of(&bytes[..error.valid_up_to()]);
        Problem::error(file, at, "not UTF-8 text", "save the file with UTF-8 as its encoding")
    })?;
    let tree = read_yaml(text);
    // The positions are needed only for a text that serde can parse, or for one on which it gave no
    // details.
    let positions = match &tree {
        Err(error) if error.at.is_some() => return Err(not_yaml(file, text, error)),
        _ => Positions::of(text).map_err(|error| {
            not_yaml(file, text, &NotYaml { at: Some(error.at), what: error.what })
        })?,
    };
    if let [_, second, ..] = positions.documents() {
        let what = "a second document begins here: an inventory is one document";
        return Err(Problem::error(
            file,
            *second,
            what,
            "remove this `---`, or put each lab in a file of its own",
        ));
    }
    match tree {
        Ok(Tree::Null) => Err(empty(file)),
        Ok(tree) => Ok(decode(file, tree, &positions, lookup)),
        Err(_) if positions.documents().is_empty() => Err(empty(file)),
        Err(error) => Err(not_yaml(file, text, &error)),
    }
}

/// What the YAML parser reported, and where, if it knows.
pub(super) struct NotYaml {
    at: Option<Position>,
    what: String,
}

/// Parses YAML of any structure.
pub(super) fn read_yaml(text: &str) -> Result<Tree, NotYaml> {
    Tree::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let at = error
            .location()
            .map(|location| Position { line: location.line(), column: location.column() });
        let mut what = error.to_string();
        if let Some(Position { line, column }) = at {
            // Put the position only at the beginning of the message.
            what = what.replacen(&format!(" at line {line} column {column}"), "", 1);
        }
        NotYaml { at, what }
    })
}

fn not_yaml(file: &Path, text: &str, error: &NotYaml) -> Problem {
    let at = error.at.unwrap_or(Position { line: 1, column: 1 });
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let indentation = &line[..line.len() - line.trim_start().len()];
    let before = text.lines().nth(at.line.saturating_sub(2)).unwrap_or_default();
    let help = if indentation.contains('\t') {
        "YAML is indented with spaces; this line begins with a tab"
    } else if [line, before].iter().any(|line| is_unquoted_in_brackets(line)) {
        "in brackets and braces, a range `worker-[0-4]` or a variable `${NAME}` needs quotes"
    } else if error.what.contains("mapping values are not allowed") {
        "a value that has `: ` in it needs quotes; and all keys of a mapping start in the same \
        column"
    } else if error.what.contains("unknown anchor") {
        "an alias `*name` refers to `&name` earlier in the file; a text that begins with `*` \
        needs quotes"
    } else {
        "look at this line and the one before: indentation, quotes, brackets"
    };
    Problem::error(file, at, format!("not valid YAML: {}", error.what), help)
}

/// Whether a line seems to have a range or a variable without quotes, where YAML needs them.
fn is_unquoted_in_brackets(line: &str) -> bool {
    let follows = |mark: &str| {
        line.split(mark).skip(1).map(str::trim_start).any(|value| {
            let word = value.split([',', ' ', '}']).next().unwrap_or_default();
            !word.starts_with(['"', '\'', '[', '{']) && (word.contains('[') || word.contains("${"))
        })
    };
    line.contains(['{', '[']) && follows(":")
}

fn empty(file: &Path) -> Problem {
    Problem::error(
        file,
        Position::default(),
        "the inventory is empty",
        "begin with `name`, `kubernetes` and `nodes`",
    )
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new(STDIN) {
        return read_stdin();
    }
    // Opening a pipe would block until its other end is opened.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    bounded(File::open(path)?)
}

/// Standard input can be read only once, and an inventory is read more often in a run.
fn read_stdin() -> io::Result<Vec<u8>> {
    static READ: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let read = || bounded(io::stdin().lock()).map_err(|error| error.to_string());
    READ.get_or_init(read).clone().map_err(io::Error::other)
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("longer than 8 MiB"));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let (what, help) = match error.kind() {
        io::ErrorKind::NotFound => ("no such file".to_owned(), instead_of(path)),
        _ if path.is_dir() => (
            "a directory, not an inventory".to_owned(),
            "name the file in it, such as `inventory.yaml`".to_owned(),
        ),
        _ => (
            format!("cannot be read: {error}"),
            "an inventory is a YAML file that you can read".to_owned(),
        ),
    };
    Problem::error(path, Position::default(), what, help)
}

/// What to name instead of a file that is not there: one whose name was shortened, or inventories
/// beside it.
fn instead_of(path: &Path) -> String {
    let folders = ["", "inventories/"].iter().filter(|it| it.is_empty() || path.is_relative());
    let mut shortened = folders.flat_map(|folder| {
        ["", ".yaml", ".yml"].map(|end| PathBuf::from(format!("{folder}{}{end}", path.display())))
    });
    if let Some(meant) = shortened.find(|it| it.is_file()) {
        return format!("did you mean `{}`?", meant.display());
    }
    let folder = path.parent().filter(|it| *it != Path::new("")).unwrap_or(Path::new("."));
    let mut beside: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_inventory(path))
        .map(|path| path.strip_prefix("./").unwrap_or(&path).display().to_string())
        .collect();
    beside.sort();
    if beside.is_empty() {
        return "use an existing inventory, or `labctl init` writes one".to_owned();
    }
    beside.truncate(SOME);
    format!("name one on the command line, such as {}; or set LABCTL_INVENTORY", beside.join(", "))
}

/// Whether a file seems to be an inventory: YAML with nodes.
fn is_inventory(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml" || end == "yml")
        && read(path).is_ok_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            text.lines().any(|line| line.starts_with("nodes:"))
        })
}

/// Returns the position right after `bytes`.
fn place_of(bytes: &[u8]) -> Position {
    let before = String::from_utf8_lossy(bytes);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Position { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Inventory, String> {
        parse(Path::new("lab.yaml"), text.as_bytes()).map_err(|problem| problem.to_string())
    }

    /// Returns the error for `text`.
    fn refusal(bytes: &[u8]) -> String {
        parse(Path::new("lab.yaml"), bytes).expect_err("it should be refused").to_string()
    }

    #[test]
    fn a_file_without_content_is_reported_as_empty() {
        for text in ["", "\n", "# soon\n", "---\n", "---\n# soon\n...\n", "null\n", "\u{feff}"] {
            let refusal = refusal(text.as_bytes());
            assert!(
                refusal.starts_with("lab.yaml: the inventory is empty\n"),
                "{text:?}: {refusal}"
            );
        }
    }

    #[test]
    fn invalid_yaml_is_reported_with_its_position() {
        let tab = refusal(b"name: a\nlocal:\n\tsubnet: 10.0.0.0/24\n");
        assert!(tab.starts_with("lab.yaml:3:1: not valid YAML: "), "{tab}");
        assert!(tab.ends_with("this line begins with a tab"), "{tab}");
        let open = refusal(b"nodes: [a\n");
        assert!(open.starts_with("lab.yaml:2:1: not valid YAML: "), "{open}");
        let latin = refusal(b"name: a\n# caf\xe9\n");
        assert!(latin.starts_with("lab.yaml:2:6: not UTF-8 text\n"), "{latin}");
        let alias = refusal(b"name: *lab\n");
        assert!(alias.starts_with("lab.yaml:1:7: not valid YAML: unknown anchor"), "{alias}");
    }

    #[test]
    fn one_file_is_one_inventory() {
        let refusal = refusal(b"name: a\n---\nname: b\n");
        assert!(refusal.starts_with("lab.yaml:2:1: a second document begins here"), "{refusal}");
        assert!(parsed("---\nname: a\n...\n").is_ok());
    }

    #[test]
    fn a_path_that_is_not_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| load(path).unwrap_err().what;
        assert_eq!(refused(folder.path()), "a directory, not an inventory");
        assert_eq!(refused(&folder.path().join("lab.yaml")), "no such file");
        assert_eq!(refused(Path::new("/dev/zero")), "cannot be read: not a file");
    }

    #[test]
    fn a_file_that_is_not_there_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let help = |name: &str| load(&path.join(name)).unwrap_err().help.unwrap_or_default();
        assert_eq!(help("lab"), "use an existing inventory, or `labctl init` writes one");
        fs::write(path.join("other.yaml"), "plays: []\n").unwrap();
        fs::write(path.join("lab.yaml"), "name: a\nnodes: []\n").unwrap();
        assert_eq!(help("lab"), format!("did you mean `{}`?", path.join("lab.yaml").display()));
        let one = help("inventory.yaml");
        assert!(one.ends_with("lab.yaml; or set LABCTL_INVENTORY"), "{one}");
        fs::write(path.join("ha.yml"), "nodes: []\n").unwrap();
        let both = help("inventory.yaml");
        assert!(both.contains("ha.yml, ") && both.contains("lab.yaml; or set"), "{both}");
    }

    #[test]
    fn anchors_and_merges_work_as_in_other_yaml() {
        let text = "ssh: &access { user: admin, port: 22 }\nnodes:\n  - { name: a, ssh: *access \
            }\n  - name: b\n    \
                    ssh: { <<: *access, port: 2222 }\n";
        let nodes = parsed(text).unwrap().nodes.unwrap().value;
        let access = |node: usize| {
            let ssh = &nodes[node].ssh;
            (ssh.user.clone().map(|user| user.value), ssh.port.map(|port| port.value))
        };
        assert_eq!(access(0), (Some("admin".to_owned()), Some(22)));
        assert_eq!(access(1), (Some("admin".to_owned()), Some(2222)));
    }

    #[test]
    fn deep_nesting_and_many_aliases_are_errors() {
        assert!(refusal("[".repeat(100_000).as_bytes()).contains("not valid YAML"));
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(refusal(laughs.as_bytes()).contains("not valid YAML"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_make_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(Path::new("lab.yaml"), &bytes);
        }

        #[test]
        fn no_yaml_like_text_makes_the_loader_panic(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "name", "nodes", "ssh", "address", ": ", ":", "\n", "\n  ", "- ", "? ", "{",
                    "}", "[", "]", ", ", "&a ", "*a", "<<: ", "!t ", "|", ">-", "\"", "'", "# ",
                    "---\n", "...\n", "%YAML 1.2\n", "\t", "~", "1.30", "10.0.0.1", "0x1f",
                    "\\", "é", "\u{85}", "\u{2028}", "\r",
                ]),
                0..60,
            )
        ) {
            let _ = parse(Path::new("lab.yaml"), parts.concat().as_bytes());
        }
    }
}
