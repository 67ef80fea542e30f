//! Whatever comes in from outside, mangled: files that people edit, what nodes answer, what was
//! written by a run that died. None of it may make labctl panic, hang, or take more memory than a
//! workstation gives away.
//!
//! A run is the same every time, and `MANGLED` says how many inputs it tries: `make mangled` tries
//! a million, and writes what came of them to `docs/robustness.md`. An input that fails is named by
//! its number, and kept.

#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/page.rs"]
mod page;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use labctl::backup::{Archive, Manifest, archive, unpack};
use labctl::bundle::{lock, saved};
use labctl::cluster::{self, roster::Roster};
use labctl::engine::script::Line;
use labctl::inventory::load;
use labctl::machine::Machine;
use labctl::machine::surroundings::Surroundings;
use labctl::module::probe::{self, Question};
use labctl::pki::identity::Mark;
use labctl::secret::Secret;
use labctl::transport::ssh::known_hosts::Recorded;
use labctl::{playbook, status, timeline};
use numbers::Numbers;
use sha2::{Digest as _, Sha256};

/// How many inputs are tried where nobody says it.
const FEW: u64 = 4000;
/// An input that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(30);
/// The memory that all of them together may take, in kilobytes.
const MOST: u64 = 200 * 1024;

/// Returns whether an input was accepted.
type Reading = Box<dyn Fn(&[u8]) -> bool>;

/// Something that is read, and how.
struct Kind {
    name: &'static str,
    /// Of a hundred inputs, how many are of this kind.
    share: u64,
    seeds: Vec<Vec<u8>>,
    read: Reading,
}

/// What parsers stumble over.
const STONES: &[&str] = &[
    "",
    "\0",
    "\t",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    "\x1b[2J",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "|\n",
    "---\n",
    "#",
    "%",
    "..",
    "/",
    "//",
    "../../etc/shadow",
    "-1",
    "0",
    "1e999",
    "0x10",
    "18446744073709551616",
    "4294967296",
    "NaN",
    "null",
    "~",
    "true",
    "${HOME}",
    "${X:-${X}}",
    "${",
    "[0-4000000000]",
    "[9-0]",
    "0.0.0.0/0",
    "10.0.0.0/33",
    "::/0",
    "255.255.255.255",
    "{{ x }}",
    "{% for a in b %}",
    "\u{1f4a9}",
    "\\",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// A part of `bytes`: where it begins and ends.
fn part(bytes: &[u8], numbers: &mut Numbers) -> (usize, usize) {
    let begin = numbers.below(bytes.len() + 1);
    let end = begin + numbers.below(40);
    (begin, end.min(bytes.len()))
}

/// Changes one thing, or up to six.
fn mangle(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(6) {
        let (begin, end) = part(bytes, numbers);
        match numbers.below(8) {
            0 => bytes.truncate(begin),
            1 => drop(bytes.drain(begin..end)),
            2 => {
                let twice = bytes[begin..end].to_vec();
                bytes.splice(begin..begin, twice);
            }
            3 => {
                let (from, to) = part(other, numbers);
                bytes.splice(begin..end, other[from..to].iter().copied());
            }
            4 if begin < bytes.len() => bytes[begin] = numbers.next().to_le_bytes()[0],
            5 if begin < bytes.len() => bytes[begin] ^= 1 << numbers.below(8),
            _ => {
                let stone = STONES[numbers.below(STONES.len())];
                bytes.splice(begin..end.min(begin + 3), stone.bytes());
            }
        }
    }
}

/// All files with this ending below a directory of the project.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.extension().is_some_and(|it| it == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder} has .{ending}");
    found.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// A seed of this test.
fn seed(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mangled").join(name);
    vec![fs::read(path).expect("a seed")]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is read as text.
fn of_text(
    name: &'static str,
    share: u64,
    seeds: Vec<Vec<u8>>,
    read: impl Fn(&str) -> bool + 'static,
) -> Kind {
    Kind { name, share, seeds, read: Box::new(move |bytes| read(&text(bytes))) }
}

/// What is read from a file.
fn of_file(
    name: &'static str,
    share: u64,
    seeds: Vec<Vec<u8>>,
    read: impl Fn(&Path) -> bool + 'static,
) -> Kind {
    let file = tempfile::Builder::new().tempfile_in("/dev/shm").expect("a file");
    let read = Box::new(move |bytes: &[u8]| {
        fs::write(file.path(), bytes).expect("there is room");
        read(file.path())
    });
    Kind { name, share, seeds, read }
}

/// A backup whose checksum is right, whatever is in it.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut whole = bytes.to_vec();
    whole.extend(b"\x1f\x8b\x08\x10\0\0\0\0\0\xffsha256 ");
    whole.extend(hex::encode(Sha256::digest(bytes)).bytes());
    whole.extend(b"\0\x03\0\0\0\0\0\0\0\0\0");
    whole
}

/// The bytes of a backup before its checksum, uncompressed.
fn inside_a_backup() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("a.backup");
    let mut snapshot = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut snapshot, b"a snapshot of etcd").expect("there is room");
    let manifest = Manifest {
        format: 1,
        created: "2026-01-01T00:00:00Z".to_owned(),
        labctl: "0.1.0".to_owned(),
        lab: "demo".to_owned(),
        kubernetes: "1.36.3".to_owned(),
        etcd: "3.6.8".to_owned(),
        node: "controller-0".to_owned(),
        members: vec!["controller-0".to_owned()],
        hash: 5,
        revision: 7,
        keys: 9,
        size: 18,
    };
    let key = |name: &str| (name.to_owned(), Secret::from("a key"));
    let whole = Archive {
        manifest,
        inventory: b"name: demo\n".to_vec(),
        pki: labctl::backup::ESSENTIAL.into_iter().map(key).collect(),
        snapshot_sha256: hex::encode(Sha256::digest(b"a snapshot of etcd")),
    };
    archive::write(&path, &whole, &mut snapshot, 0).expect("a backup");
    let mut tar = Vec::new();
    let bytes = fs::read(&path).expect("a backup");
    let mut gzip = flate2::read::GzDecoder::new(bytes.as_slice());
    std::io::Read::read_to_end(&mut gzip, &mut tar).expect("a tar");
    tar
}

/// An archive as `docker save` writes it.
fn images() -> Vec<u8> {
    let manifest = br#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["layer.tar"]}]"#;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(manifest.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "manifest.json", &manifest[..]).expect("memory");
    archive.into_inner().expect("memory")
}

fn kinds() -> Vec<Kind> {
    let inventories = [files("inventories", "yaml"), files("tests/inventory", "yaml")].concat();
    let questions = BTreeSet::from([
        Question::Check("true".into()),
        Question::Path("/etc/hosts".into()),
        Question::Routes,
        Question::Unit("a.service".into()),
    ]);
    let backup = |tar: &[u8]| {
        let fast = flate2::Compression::fast();
        let mut gzip = flate2::GzBuilder::new().write(Vec::new(), fast);
        std::io::Write::write_all(&mut gzip, tar).expect("memory");
        with_checksum(&gzip.finish().expect("memory"))
    };
    let reads = |path: &Path| unpack::read(path, &mut std::io::sink()).is_ok();
    let tar = inside_a_backup();
    let whole = backup(&tar);
    let same = whole.clone();
    let file = tempfile::Builder::new().tempfile_in("/dev/shm").expect("a file");
    vec![
        Kind {
            name: "inventories",
            share: 24,
            seeds: inventories,
            read: Box::new(|bytes| {
                let path = Path::new("inventories/mangled.yaml");
                load::load_with(path, bytes).is_ok_and(|it| cluster::resolve::resolve(&it).is_ok())
            }),
        },
        of_text("playbooks", 14, files("playbooks", "yaml"), |text| {
            playbook::load::parse("mangled.yaml", text).is_ok()
        }),
        of_text("answers of nodes, before a change", 14, seed("probe"), move |text| {
            let Ok(facts) = probe::parse(&questions, text) else { return false };
            let _ = Machine::read(&facts.machine);
            ask_all(Surroundings(&facts.surroundings));
            true
        }),
        of_text("answers of nodes, for `status`", 8, seed("status"), |text| {
            status::answer::parse(text).is_ok()
        }),
        of_text("what scripts on nodes say", 8, seed("script"), |text| {
            text.lines().filter_map(Line::parse).count() > 0
        }),
        of_text("logs of runs", 10, seed("run.jsonl"), |text| timeline::read(text).is_ok()),
        of_file("known_hosts", 8, seed("known_hosts"), |path| {
            Recorded::read(&[path.to_owned()], "192.0.2.10", 22).is_ok()
        }),
        of_text("bundle.lock", 4, seed("bundle.lock"), |text| lock::parse(text).is_ok()),
        of_text("marks of labs", 2, seed("mark"), |text| Mark::parse(text) != Mark::default()),
        Kind {
            name: "rosters",
            share: 2,
            seeds: seed("roster.json"),
            read: Box::new(|bytes| Roster::read(bytes).is_some()),
        },
        of_file("backups", 2, vec![whole], move |path| {
            let accepted = reads(path);
            assert!(!accepted || fs::read(path).expect("a file") == same, "a byte has changed");
            accepted
        }),
        Kind {
            name: "backups whose checksum is right",
            share: 2,
            seeds: vec![tar.clone()],
            read: Box::new(move |tar| {
                fs::write(file.path(), backup(tar)).expect("there is room");
                reads(file.path())
            }),
        },
        of_file("archives of images", 2, vec![images()], |path| saved::images(path).is_ok()),
    ]
}

/// Reads every answer about a machine's surroundings.
fn ask_all(around: Surroundings<'_>) {
    let _ = (around.unanswered(), around.addresses(), around.routes(), around.listeners());
    let _ = (around.resolvers(), around.room(), around.unwritable(), around.drop_ins());
    let _ = (around.kernel_without_modules(), around.memory(), around.mtu("eth0"));
    let _ = (around.firewalls(), around.forward_rules(), around.input_rules());
    let _ = (around.kube_chains(), around.swap_makers(), around.sysctls(), around.proxies());
    let _ = (around.cloud_writes_hosts(), around.keeps_routes());
}

/// The most memory that this process has had, in kilobytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Ends the process when an input hangs, and says which.
fn watch(done: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = done.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > HANGS {
                // A thread cannot be stopped; the process can.
                let _ = fs::write("/dev/stderr", format!("input {now} hangs\n"));
                std::process::abort();
            }
        }
    });
}

/// What came of the inputs of one kind.
#[derive(Default)]
struct Came {
    accepted: u64,
    refused: u64,
    slowest: Duration,
}

#[test]
fn nothing_that_is_mangled_makes_labctl_panic_hang_or_grow() {
    let count = std::env::var("MANGLED").map_or(FEW, |count| count.parse().expect("a number"));
    let kinds = kinds();
    assert_eq!(kinds.iter().map(|kind| kind.share).sum::<u64>(), 100);
    let turns: Vec<usize> =
        (0..kinds.len()).flat_map(|kind| (0..kinds[kind].share).map(move |_| kind)).collect();
    for Kind { name, seeds, read, .. } in &kinds {
        assert!(seeds.iter().any(|seed| read(seed)), "no seed of {name} is accepted as it is");
    }
    let before = peak();
    let done = Arc::new(AtomicU64::new(0));
    watch(Arc::clone(&done));
    let mut came: Vec<Came> = kinds.iter().map(|_| Came::default()).collect();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut panics = Vec::new();
    for number in 0..count {
        done.store(number, Ordering::Relaxed);
        let kind = turns[usize::try_from(number % 100).expect("it is below 100")];
        let Kind { seeds, read, .. } = &kinds[kind];
        let mut numbers = Numbers(number);
        let mut bytes = seeds[numbers.below(seeds.len())].clone();
        let other = &seeds[numbers.below(seeds.len())];
        mangle(&mut bytes, other, &mut numbers);
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| read(&bytes))) {
            Ok(true) => came[kind].accepted += 1,
            Ok(false) => came[kind].refused += 1,
            Err(_) => panics.push((kinds[kind].name, number, text(&bytes))),
        }
        came[kind].slowest = came[kind].slowest.max(began.elapsed());
    }
    std::panic::set_hook(hook);
    assert!(panics.is_empty(), "{} panics, the first: {:?}", panics.len(), panics.first());
    let grown = peak() - before;
    assert!(grown < MOST, "{grown} kB");
    for (kind, came) in kinds.iter().zip(&came) {
        assert!(came.refused > 0, "nothing of {} was refused", kind.name);
    }
    if std::env::var_os("MANGLED_WRITE").is_some() {
        write(count, &kinds, &came, grown);
    }
}

/// Writes the table of `docs/robustness.md`.
fn write(count: u64, kinds: &[Kind], came: &[Came], grown: u64) {
    let day = time::OffsetDateTime::now_utc().date();
    let mut table = format!(
        "On {day}, {count} inputs: no panic, none took {} s, and {} MB of memory for all of them.\n\
         \n| kind | tried | accepted | slowest |\n|---|---|---|---|\n",
        HANGS.as_secs(),
        grown.div_ceil(1024)
    );
    for (kind, Came { accepted, refused, slowest }) in kinds.iter().zip(came) {
        let (tried, slowest) = (accepted + refused, slowest.as_millis());
        writeln!(table, "| {} | {tried} | {accepted} | {slowest} ms |", kind.name).expect("text");
    }
    page::write("docs/robustness.md", "written: mangled", &table);
}
