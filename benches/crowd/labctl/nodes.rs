//! A lab of simulated nodes: SSH servers in this process, each of which answers the probe as a node
//! that is as the runbook wants it, and says of every change that it is made. So a run over a
//! thousand nodes costs what labctl costs, and not what a thousand machines do.
//!
//! `nodes DIRECTORY WORKERS [ADDRESS KEY]` writes `inventory.yaml` with its lab directory, prints
//! `ready`, and serves until it is killed. With the address and the login key of a
//! machine that is none of the simulated ones, it also writes `more.yaml`: the same lab with that
//! worker more, whose simulated nodes are still as `inventory.yaml` wants them.

#[path = "../../plan/labctl/materials.rs"]
mod materials;
#[allow(dead_code, reason = "the server can do more, for tests")]
#[path = "../../../tests/support/ssh_server.rs"]
mod ssh_server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use labctl::bundle;
use labctl::cluster::Cluster;
use labctl::engine::connect::raise_open_files;
use labctl::lab::LabDirectory;
use labctl::machine::surroundings;
use labctl::module::probe::PathFact;
use labctl::module::{Facts, Question, State as _};
use labctl::pki::{self, store};
use labctl::plan::expand::expand;
use labctl::plan::{DesiredPlay, Tasks, machines, ownership};
use labctl::playbook::standard;
use materials::{Failure, Lab};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use ssh_server::{Answer, Options, Server, key};

type Answers = BTreeMap<String, String>;

/// A simulated node: its name, its address in the lab, its role.
struct Place {
    name: String,
    address: String,
    role: &'static str,
}

fn places(workers: usize) -> Vec<Place> {
    let place = |name: String, address: String, role| Place { name, address, role };
    let mut all = vec![place("lb-0".to_owned(), "10.251.0.5".to_owned(), "loadbalancer")];
    all.extend((0..3).map(|number| {
        place(format!("controller-{number}"), format!("10.251.0.1{number}"), "controller")
    }));
    all.extend((0..workers).map(|number| {
        let address = format!("10.251.{}.{}", 1 + number / 250, 1 + number % 250);
        place(format!("worker-{number}"), address, "worker")
    }));
    all
}

/// Serves the nodes of one inventory. What each answers is known only once all have their ports.
struct Crowd {
    inventory: PathBuf,
    servers: Vec<Server>,
    answers: Arc<std::sync::OnceLock<Answers>>,
}

impl Crowd {
    async fn new(
        path: PathBuf,
        workers: usize,
        keys: (&PrivateKey, &PrivateKey),
        more: &str,
    ) -> Result<Self, Failure> {
        let folder = path.parent().ok_or("a directory")?;
        let answers = Arc::<std::sync::OnceLock<Answers>>::default();
        let (mut servers, mut hosts, mut nodes) = (Vec::new(), String::new(), String::new());
        let public = keys.0.public_key().to_openssh()?;
        for Place { name, address, role } in places(workers) {
            let all = Arc::clone(&answers);
            let of = name.clone();
            let says = move |line: &str| Some(says(&of, all.get(), line));
            let server = Options::new(keys.0, keys.1).answering(says).start().await;
            let port = server.address.port();
            writeln!(hosts, "[127.0.0.1]:{port} {public}")?;
            writeln!(
                nodes,
                "  - {{ name: {name}, address: {address}, roles: [{role}], \
                 ssh: {{ host: 127.0.0.1, port: {port}, identity: ./id_ed25519 }} }}"
            )?;
            servers.push(server);
        }
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle").canonicalize()?;
        let text = format!(
            "name: crowd\nkubernetes: \"{}\"\nbundle: {}\nssh: {{ user: root }}\n\
             network: {{ pods: 10.128.0.0/10 }}\napi: {{ endpoint: lb-0 }}\n\
             # A local node may have control groups of version 1.\n\
             components: {{ kubelet: {{ config: {{ failCgroupV1: false }} }} }}\n\
             nodes:\n{nodes}{more}",
            bundle::lock::read(&bundle)?.ok_or("no bundle")?.kubernetes,
            bundle.display()
        );
        fs::write(&path, text)?;
        let known = folder.join(".labctl/crowd/known_hosts");
        let earlier = fs::read_to_string(&known).unwrap_or_default();
        fs::write(&known, earlier + &hosts)?;
        Ok(Self { inventory: path, servers, answers })
    }

    fn cluster(&self) -> Result<Cluster, Failure> {
        materials::open(&self.inventory)
    }

    /// Has its nodes answer `plays`' questions with `facts`.
    fn answer(&self, plays: &[DesiredPlay], facts: &BTreeMap<String, Facts>) {
        let tasks = Tasks::of(plays);
        let answer = |(node, facts): (&String, &Facts)| {
            (node.clone(), written(&tasks.questions(node), facts))
        };
        let answers = facts.iter().map(answer).collect();
        assert!(self.answers.set(answers).is_ok(), "they are told once");
    }
}

/// What a node says to a command: to the probe what it was told to say, to a play's script that
/// every task is done.
fn says(node: &str, answers: Option<&Answers>, line: &str) -> Answer {
    if line != "sh -s" {
        return Answer::Read(all_done);
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let answer = answers.and_then(|all| all.get(node)).map(String::as_str).unwrap_or_default();
    Answer::said(format!("clock\t{}\n{answer}", clock.as_secs_f64()))
}

fn all_done(input: &str) -> String {
    let tasks = (0..).take_while(|number| input.contains(&format!("\nrun {number} ")));
    tasks.map(|number| format!("@start {number}\n@done {number}\n")).collect::<String>() + "@end\n"
}

/// Answers as the probe's script writes them.
fn written(questions: &BTreeSet<Question>, facts: &Facts) -> String {
    let mut text = "uptime\t100000\n".to_owned();
    let mut checks = 0;
    for question in questions {
        match question {
            Question::Path(path) | Question::File { path, .. } => {
                let Some(fact) = facts.paths.get(path) else { continue };
                let PathFact { kind, mode, owner, size, sha256 } = fact;
                let _ = writeln!(text, "path\t{kind}|{mode}|{owner}|{size}|1|0|0|{path}");
                if let Some(sha256) = sha256 {
                    let _ = writeln!(text, "hash\t{sha256}  {path}");
                }
            }
            Question::Text(path) => {
                if let Some(content) = facts.texts.get(path) {
                    let _ = writeln!(text, "text\t{path}\t{}", STANDARD.encode(content));
                }
            }
            Question::Names(path) => {
                if let Some(names) = facts.names.get(path) {
                    let _ = writeln!(text, "names\t{path}\t{}/", names.join("/"));
                }
            }
            Question::Unit(unit) => {
                let Some(fact) = facts.units.get(unit) else { continue };
                let _ = writeln!(
                    text,
                    "unit\tId={unit}\nunit\tActiveState={}\nunit\tSubState=running\n\
                     unit\tUnitFileState={}\nunit\tActiveEnterTimestampMonotonic=1\nunit\t",
                    fact.active, fact.file
                );
            }
            Question::Machine => facts.machine.iter().for_each(|(key, value)| {
                let _ = writeln!(text, "machine\t{key}\t{value}");
            }),
            Question::Surroundings => {
                for (question, lines) in &facts.surroundings {
                    let _ = writeln!(text, "around\t{question}");
                    for line in lines {
                        let _ = writeln!(text, "around\t{question}\t{line}");
                    }
                }
            }
            Question::Routes => facts.routes.values().for_each(|route| {
                let _ = writeln!(text, "route\t{route}");
            }),
            Question::Images => facts.images.iter().for_each(|image| {
                let _ = writeln!(text, "image\t{image}");
            }),
            Question::Check(check) | Question::Test(check) => {
                let passed = facts.checks.get(check) == Some(&true);
                let _ = writeln!(text, "check\t{checks}\t{}", u8::from(!passed));
                checks += 1;
            }
        }
    }
    text + "end\n"
}

/// The plays of a lab, as a run has them.
fn plays(lab: &Lab, cluster: &Cluster) -> Result<Vec<DesiredPlay>, Failure> {
    Ok(expand(&standard::find("up", None)?, &lab.materials(cluster))?)
}

/// Every node as `plays` want it, on a machine that has nothing else.
fn settled(
    lab: &Lab,
    cluster: &Cluster,
    plays: &[DesiredPlay],
) -> Result<BTreeMap<String, Facts>, Failure> {
    let directory = LabDirectory::new(&cluster.lab_directory);
    let mark = store::holding(cluster, &directory)?.mark().text();
    let ca = String::from_utf8_lossy(lab.pki.require("ca.crt")?).into_owned();
    let (tasks, mut all) = (Tasks::of(plays), BTreeMap::new());
    for node in &cluster.nodes {
        let mut facts = Facts::default();
        tasks.desired(&node.name).for_each(|desired| desired.settle(&mut facts));
        facts.texts.insert(ownership::mark_file(), mark.clone());
        facts.texts.insert("/etc/kubernetes/pki/ca.crt".to_owned(), ca.clone());
        let record = PathFact { kind: "regular file".to_owned(), size: 1, ..PathFact::default() };
        facts.paths.insert("/var/lib/labctl/record".to_owned(), record);
        let own = node.address.to_string();
        let says = [
            ("system", "debian"),
            ("release", "12"),
            ("architecture", "x86_64"),
            ("cgroup", "2"),
            ("systemd", "252"),
            ("addresses", own.as_str()),
        ];
        facts.machine = says.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        facts.surroundings = around(&own);
        all.insert(node.name.clone(), facts);
    }
    Ok(all)
}

/// What else is on the machine with this address.
fn around(own: &str) -> BTreeMap<String, Vec<String>> {
    let mut around: BTreeMap<String, Vec<String>> = surroundings::QUESTIONS
        .iter()
        .map(|(question, _)| ((*question).to_owned(), Vec::new()))
        .collect();
    let mut says = |question: &str, lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        around.insert(question.to_owned(), lines);
    };
    says("addresses", &["lo 127.0.0.1/8", &format!("eth0 {own}/16")]);
    says("routes", &["10.251.0.0/16 dev eth0 proto kernel scope link"]);
    says("resolvers", &["10.251.0.1"]);
    says("kernel", &["yes 6.1.0"]);
    says("memory", &["8000000"]);
    says("mtu", &["lo 65536", "eth0 1500"]);
    says("forward", &["-P FORWARD ACCEPT"]);
    let room = ["/var/lib/labctl", "/var/lib/containerd", "/usr/local/bin", "/opt/cni/bin"]
        .map(|place| format!("{place} / 50000000"));
    says("room", &room.each_ref().map(String::as_str));
    around
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "whoever started it waits for the word")]
async fn main() -> Result<(), Failure> {
    let usage = "usage: nodes DIRECTORY WORKERS [ADDRESS KEY]";
    let folder = PathBuf::from(std::env::args().nth(1).ok_or(usage)?);
    let workers = std::env::args().nth(2).ok_or(usage)?.parse()?;
    raise_open_files();
    let (host_key, login) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    fs::create_dir_all(folder.join(".labctl/crowd"))?;
    let identity = folder.join("id_ed25519");
    fs::write(&identity, login.to_openssh(LineEnding::LF)?.as_bytes())?;
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600))?;

    let keys = (&host_key, &login);
    let crowd = Crowd::new(folder.join("inventory.yaml"), workers, keys, "").await?;
    let cluster = crowd.cluster()?;
    let directory = LabDirectory::new(&cluster.lab_directory);
    pki::ensure(&cluster, &directory, time::OffsetDateTime::now_utc())?.save(&directory)?;
    store::remember(&store::holding(&cluster, &directory)?, &directory)?;
    let lab = Lab::new(&cluster)?;
    // The files depend on the machines, and the machines are found with them.
    let bare = settled(&lab, &cluster, &plays(&lab, &cluster)?)?;
    let known = machines::learn(&cluster, &machines::found(&bare));
    let wanted = plays(&lab, &known)?;
    let settled = settled(&lab, &known, &wanted)?;
    crowd.answer(&wanted, &settled);

    let mut after = None;
    if let (Some(address), Some(key)) = (std::env::args().nth(3), std::env::args().nth(4)) {
        let more = format!(
            "  - {{ name: joiner, address: {address}, roles: [worker], \
             ssh: {{ identity: {key} }} }}\n"
        );
        let grown = Crowd::new(folder.join("more.yaml"), workers, keys, &more).await?;
        let cluster = grown.cluster()?;
        let known = machines::learn(&cluster, &machines::found(&settled));
        // The joiner's certificates are made by the run; those of the others are the same.
        grown.answer(&plays(&Lab::new(&cluster)?, &known)?, &settled);
        after = Some(grown);
    }
    println!("ready");
    std::future::pending::<()>().await;
    drop((crowd.servers, after.map(|it| it.servers)));
    Ok(())
}
