//! Machines of other people, each in a state that such machines are in: `plan` refuses one with the
//! reason, or `up` and `down` leave it as it was.
//!
//! Every script in `tests/machines/` puts a node into one state. Its first line says what it is;
//! its second has the role of the node, and `equal`, `refused: ` with a part of the reason, or
//! `stays: ` with the beginnings of lines that differ afterwards, and why. All of them are tried,
//! and all that differ are reported. `MACHINES="nginx hosts-"` tries those whose names have one of
//! these words in them. With `MACHINES_WRITE=1`, what was seen goes into `tests/machines.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use crate::lab::{Lab, Run, said};
use crate::teardown::{Census, bare_nodes, census};
use crate::{goes_without_a_trace, mine};

/// How many machines become nodes of one lab. With more, one user has more watches on files than a
/// kernel allows by itself (`fs.inotify.max_user_instances`).
const AT_ONCE: usize = 8;
/// How many lines of a difference are shown.
const SHOWN: usize = 40;
/// What a plan after `up` is called: it must have nothing to do.
const AGAIN: &str = "a second plan";
/// The node that makes a lab of the machines: nothing was done to it before.
const HUB: &str = "hub";
/// Playbooks are the standard ones, but the kernel is shared.
const TEMPLATES: [&str; 2] = ["--templates", "mine/templates"];

/// A machine of somebody's.
#[derive(Debug, Clone)]
struct Machine {
    /// The script's name, and the node's.
    name: String,
    role: String,
    expected: Expected,
    script: PathBuf,
}

#[derive(Debug, Clone)]
enum Expected {
    Equal,
    /// With this in the reason.
    Refused(String),
    /// Lines of a census that begin like this differ.
    Stays(String),
}

/// What became of the machines of a round, and everything that should not have.
#[derive(Default)]
struct Findings {
    seen: BTreeMap<String, String>,
    wrong: BTreeMap<String, Vec<String>>,
}

impl Findings {
    fn wrong(&mut self, machine: &str, what: String) {
        self.wrong.entry(machine.to_owned()).or_default().push(what);
    }
}

impl Machine {
    fn read(script: PathBuf) -> Self {
        let text = fs::read_to_string(&script).expect("a script");
        let name = script.file_stem().expect("a name").to_string_lossy().into_owned();
        let line = text.lines().nth(1).and_then(|line| line.strip_prefix("# "));
        let (role, expected) = line
            .and_then(|line| line.split_once(", "))
            .unwrap_or_else(|| panic!("{name}: the second line says what is expected"));
        let expected = match expected.split_once(": ") {
            None if expected == "equal" => Expected::Equal,
            Some(("refused", why)) => Expected::Refused(why.to_owned()),
            Some(("stays", lines)) => Expected::Stays(lines.to_owned()),
            _ => {
                panic!("{name}: `{expected}` is neither equal, nor refused: WHY, nor stays: LINES")
            }
        };
        Self { name, role: role.to_owned(), expected, script }
    }

    fn is_refused(&self) -> bool {
        matches!(self.expected, Expected::Refused(_))
    }
}

/// Those that `MACHINES` names, or all.
fn machines() -> Vec<Machine> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    let wanted = std::env::var("MACHINES").unwrap_or_default();
    let is_wanted = |machine: &Machine| {
        wanted.trim().is_empty()
            || wanted.split_whitespace().any(|word| machine.name.contains(word))
    };
    let scripts = fs::read_dir(folder).expect("machines").map(|entry| entry.expect("one").path());
    let mut machines: Vec<Machine> = scripts.map(Machine::read).filter(is_wanted).collect();
    machines.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!machines.is_empty(), "there is no machine of `{wanted}`");
    machines
}

/// As many to each round as to any other, of those that become nodes and of those that do not.
fn rounds(machines: Vec<Machine>) -> Vec<Vec<Machine>> {
    let (refused, nodes): (Vec<_>, Vec<_>) = machines.into_iter().partition(Machine::is_refused);
    let count = nodes.len().div_ceil(AT_ONCE).max(1);
    let mut rounds = vec![Vec::new(); count];
    for all in [nodes, refused] {
        for (index, machine) in all.into_iter().enumerate() {
            rounds[index % count].push(machine);
        }
    }
    rounds
}

/// The nodes of an inventory.
fn nodes<'a>(machines: impl Iterator<Item = (usize, &'a Machine)>) -> String {
    let mut text = format!(
        "api: {{ endpoint: {HUB} }}\nnodes:\n  - {{ name: {HUB}, address: 10.230.0.9, roles: \
         [controller, loadbalancer, worker, client] }}\n"
    );
    for (index, Machine { name, role, .. }) in machines {
        let address = format!("10.230.0.{}", 10 + index);
        writeln!(text, "  - {{ name: {name}, address: {address}, roles: [{role}] }}")
            .expect("a line");
    }
    text
}

/// A lab of bare local nodes, and what an inventory of one's own for them begins with.
fn made(round: &[Machine]) -> (Lab, String) {
    let lab = Lab::new("sandbox");
    let inventory = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&inventory).expect("an inventory");
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).expect(key);
    let common = format!("{}\n{}\n", line("kubernetes:"), line("bundle:"));
    let local = "local: { subnet: 10.230.0.0/24 }\n";
    let nodes = nodes(round.iter().enumerate());
    fs::write(&inventory, format!("name: sandbox\n{common}{local}{nodes}")).expect("an inventory");
    bare_nodes(&lab);
    let identity = lab.directory().join("ssh/id_ed25519").display().to_string();
    let directory = lab.folder().join(".labctl/own");
    fs::create_dir_all(&directory).expect("a lab directory");
    fs::copy(lab.directory().join("known_hosts"), directory.join("known_hosts"))
        .expect("known hosts");
    mine::templates_for_a_shared_kernel(&lab);
    (lab, format!("name: own\n{common}ssh: {{ identity: {identity} }}\n"))
}

/// Puts a node into the state of its machine.
fn prepare(lab: &Lab, machine: &Machine) -> Result<(), String> {
    let script = fs::File::open(&machine.script).expect("a script");
    let mut ssh = lab.labctl(&["ssh", "inventory.yaml", &machine.name, "--", "sh -es"]);
    let output = ssh.stdin(Stdio::from(script)).output().expect("ssh starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("its script fails: {said}")) }
}

/// A picture of every node.
fn pictures(lab: &Lab) -> BTreeMap<String, Census> {
    let nodes = lab.nodes();
    std::thread::scope(|scope| {
        let taking: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(move || (node.clone(), census(lab, node))))
            .collect();
        taking.into_iter().map(|taken| taken.join().expect("a picture")).collect()
    })
}

/// The failures of a run, by node.
fn failures(run: &Run) -> BTreeMap<String, Vec<String>> {
    let mut failed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for failure in run.all("task_failed") {
        let text = |field: &str| failure[field].as_str().unwrap_or_default().to_owned();
        let what = match text("task").as_str() {
            "preflight" => text("reason"),
            task => format!("{task}: {}: {}", text("reason"), failure["stderr"]),
        };
        failed.entry(text("node")).or_default().push(what);
    }
    failed
}

/// Plans until nothing is refused, without those that were. Returns the machines that are left.
fn planned(lab: &Lab, head: &str, round: &[Machine], found: &mut Findings) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = round.iter().map(|machine| machine.name.clone()).collect();
    loop {
        let machines = round.iter().enumerate().filter(|(_, machine)| left.contains(&machine.name));
        let text = format!("{head}{}", nodes(machines));
        fs::write(lab.folder().join("own.yaml"), text).expect("an inventory");
        let plan = lab.run(&[&["plan", "own.yaml"][..], &TEMPLATES].concat());
        let refused = failures(&plan);
        if refused.is_empty() {
            if plan.code != Some(3) {
                found.wrong(HUB, format!("plan ends with {:?}: {}", plan.code, plan.story()));
            }
            return left;
        }
        for (node, why) in refused {
            if !left.remove(&node) {
                found.wrong(&node, format!("is refused: {}", why.join("; ")));
                return left;
            }
            found.seen.insert(node, why.join("; "));
        }
    }
}

/// What was expected of a machine, against what was seen.
fn judge(machine: &Machine, found: &mut Findings, difference: &[String]) {
    let name = &machine.name;
    let refusal = found.seen.get(name).cloned();
    match (&machine.expected, refusal) {
        (Expected::Refused(why), Some(said)) if !said.contains(why) => {
            found.wrong(name, format!("is refused, but not because of `{why}`: {said}"));
        }
        (Expected::Refused(why), None) => {
            found.wrong(name, format!("is not refused because of `{why}`"));
        }
        (Expected::Equal | Expected::Stays(_), Some(said)) => {
            found.wrong(name, format!("is refused: {said}"));
        }
        _ => {}
    }
    let (stays, differs): (Vec<&String>, Vec<&String>) =
        difference.iter().partition(|line| match &machine.expected {
            Expected::Stays(start) => line[2..].starts_with(start.as_str()),
            _ => false,
        });
    if matches!(machine.expected, Expected::Stays(_)) && stays.is_empty() {
        found.wrong(name, "nothing stays any more: it is equal".to_owned());
    }
    if !differs.is_empty() {
        let shown: Vec<&str> = differs.iter().take(SHOWN).map(|line| line.as_str()).collect();
        let more = differs.len() - shown.len();
        let lines = shown.join("\n    ");
        found.wrong(name, format!("is not as it was ({more} more):\n    {lines}"));
    }
    let seen = found.seen.entry(name.clone()).or_default();
    *seen = match seen.as_str() {
        "" if stays.is_empty() => "equal".to_owned(),
        "" => format!("equal but for {} lines", stays.len()),
        why => format!("refused: {why}"),
    };
}

/// A lab of machines of their own, from before it to after it.
fn try_round(round: &[Machine], found: &mut Findings) {
    found.seen.remove(HUB);
    let (lab, head) = made(round);
    for machine in round {
        if let Err(why) = prepare(&lab, machine) {
            found.wrong(&machine.name, why);
        }
    }
    let before = pictures(&lab);
    let left = planned(&lab, &head, round, found);
    let mut note = |verb: &str, run: &Run, right: i32| {
        for (node, why) in failures(run) {
            found.wrong(&node, format!("{verb}: {}", why.join("; ")));
        }
        let left = run.all("planned").flat_map(|it| it["changes"].as_array().into_iter().flatten());
        for change in left.filter(|_| verb == AGAIN) {
            let node = change["node"].as_str().unwrap_or(HUB);
            found.wrong(node, format!("{verb}: {}: {}", change["task"], change["why"]));
        }
        if run.code != Some(right) && run.all("task_failed").count() == 0 {
            found.wrong(HUB, format!("{verb} ends with {:?}: {}", run.code, run.story()));
        }
    };
    if !left.is_empty() {
        let up = lab.run(&[&["up", "own.yaml", "--spread", "always"][..], &TEMPLATES].concat());
        note("up", &up, 0);
        if up.code == Some(0) {
            note(AGAIN, &lab.run(&[&["plan", "own.yaml"][..], &TEMPLATES].concat()), 0);
        }
        note("down", &lab.run(&["down", "own.yaml", "--yes"]), 0);
    }
    let after = pictures(&lab);
    let hub = Machine {
        name: HUB.to_owned(),
        role: String::new(),
        expected: Expected::Equal,
        script: PathBuf::new(),
    };
    for machine in round.iter().chain([&hub]) {
        let (before, after) = (&before[&machine.name], &after[&machine.name]);
        let gone = before.difference(after).map(|line| format!("- {line}"));
        let came = after.difference(before).map(|line| format!("+ {line}"));
        judge(machine, found, &gone.chain(came).collect::<Vec<_>>());
    }
    fs::remove_file(lab.folder().join("own.yaml")).expect("it was there");
    fs::remove_dir_all(lab.folder().join(".labctl/own")).expect("it was there");
    mine::forget(&lab);
    goes_without_a_trace(&lab);
}

/// Notes what was seen of the machines that are right; other lines of the file stay.
fn write(found: &Findings) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines.txt");
    let text = fs::read_to_string(&file).expect("what was seen earlier");
    let name = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (head, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|it| it.starts_with('#'));
    let mut seen: BTreeMap<String, String> =
        lines.into_iter().map(|line| (name(line), line.to_owned())).collect();
    let today = said("date", &["-u", "+%F"]);
    for (machine, what) in &found.seen {
        if machine != HUB && !found.wrong.contains_key(machine) {
            seen.insert(machine.clone(), format!("{} {machine} {what}", today.trim()));
        }
    }
    let lines: Vec<String> = seen.into_values().collect();
    fs::write(&file, format!("{}\n{}\n", head.join("\n"), lines.join("\n"))).expect("the file");
}

#[test]
#[allow(clippy::print_stdout, reason = "what was seen of each machine, also when all is well")]
fn other_peoples_machines_are_refused_or_left_as_they_were() {
    let mut found = Findings::default();
    for round in rounds(machines()) {
        let began = Instant::now();
        try_round(&round, &mut found);
        println!("{} machines: {} s", round.len(), began.elapsed().as_secs());
    }
    for (machine, seen) in &found.seen {
        println!("{machine} {seen}");
    }
    if std::env::var_os("MACHINES_WRITE").is_some() {
        write(&found);
    }
    let wrong: Vec<String> = found
        .wrong
        .iter()
        .map(|(machine, what)| format!("{machine}:\n  {}", what.join("\n  ")))
        .collect();
    assert!(wrong.is_empty(), "{} machines are not right:\n{}", wrong.len(), wrong.join("\n"));
}
