//! labctl turns machines into a Kubernetes lab: an inventory declares the lab, and a run closes the
//! gap between it and the machines.
//!
//! This page is the map: which way data moves, what each layer is for, how a run goes, and where
//! things are.
//!
//! # One way
//!
//! ```text
//!  inventory ──> cluster ──> playbook ──> plan ──> engine ──> transport ──> the nodes
//!                   │                      ^         │
//!                   │     module: the      │         └──> event ──> report ──> a person, a program, a log
//!                   │     vocabulary of    │
//!                   │     desired states   │
//!                   ├──> pki ──────────────┤
//!                   ├──> bundle ───────────┤
//!                   ├──> backup ───────────┤
//!                   ├──> render ───────────┘
//!                   │
//!                   └──> local: nodes on the workstation, made before the engine connects to them
//!
//!  timeline: where a run's time went, read from its log ──> report
//!  picture: a lab drawn, from its model alone ──> a page, a README
//!  machine: what is known of a node before its files are rendered: cluster, module and render ask it
//!  node: the shell that runs on nodes, and the grammar of the record that it keeps there
//!  secret: bytes that are never shown
//!  status: how a lab is, judged from what its nodes answer ──> report
//!  lab: paths on the workstation                    smoke: does the lab work, asked through the engine's connections
//!  cli: what can be typed ──> commands: one operation per verb, the only place that wires all of these together
//! ```
//!
//! Data moves from left to right, and a layer knows only the layers before it. Nothing is passed
//! back: what the right side has to report, it emits as an event. `tests/it/architecture.rs`
//! enforces every arrow, with a reason for each layer.
//!
//! # The layers
//!
//! | layer | what it is for |
//! |---|---|
//! | [`inventory`] | reads the YAML strictly and remembers the line and column of every word of it |
//! | [`lab`] | knows the paths in the lab directory, and writes files there that appear whole and private |
//! | [`cluster`] | works out every address, network, name and version once, and reports all problems at once |
//! | [`secret`] | holds bytes that are never shown, and wiped when they are dropped |
//! | [`machine`] | is what is known of a node's machine before its files are rendered, and the families of systems |
//! | [`event`] | is the contract between a run and its report: everything worth reporting, as data |
//! | [`module`] | has one file for each kind of task: what to ask a node, what differs, what to send, and the same by hand |
//! | [`node`] | holds all shell that runs on nodes, and the grammar of the record that it keeps there |
//! | [`pki`] | says which certificates a lab needs, issues what is missing, and keeps it |
//! | [`bundle`] | opens the directory of binaries and images that a lab is built from, or makes it from official releases |
//! | [`backup`] | defines what a backup contains, and writes and reads it so that no byte can change unnoticed |
//! | [`render`] | turns a template and what is known of a node into the text of a file |
//! | [`playbook`] | is the typed vocabulary of the runbook, and reads it from YAML |
//! | [`plan`] | works out what is desired on each node, and compares it with what was found there |
//! | [`transport`] | keeps one connection to one node, and carries commands and bytes over it |
//! | [`local`] | makes, starts and removes nodes on the workstation |
//! | [`engine`] | connects, probes, pushes and applies: many nodes at a time, in the order that the plays ask for |
//! | [`smoke`] | tries what a person would try on a fresh cluster, each check with its verdict |
//! | [`picture`] | draws a lab: its nodes by what they do, and who reaches whom |
//! | [`timeline`] | reads a run's log back as bars, and finds the critical path among them |
//! | [`status`] | says what nodes are asked about how they are, and judges the answers: what is wrong, worst first |
//! | [`report`] | reports what happens to a person, a program and the run log |
//! | [`commands`] | wires the layers together: one operation per verb, with types of its own |
//! | [`cli`] | defines verbs and options, and calls the operation that was typed |
//!
//! # The rules
//!
//! - **The middle is pure.** From a cluster and facts to changes there is no I/O, no clock and no
//!   randomness: `cluster`, `module`, `plan`, `status`, the playbook's vocabulary and the certificates'
//!   specifications are functions. That is why they can be tested with thousands of inputs, and why
//!   `plan` and `up` cannot disagree: they share one diff.
//! - **Only `transport` and `local` touch machines.** There are two exceptions: `labctl ssh` becomes
//!   the `ssh` program, and a bundle's programs are asked which flags they know.
//! - **Only `report` prints.** Everything else emits events or returns what it has to say.
//! - **A library that may be replaced one day is named in one place**: rcgen in `pki/issue`, tera
//!   in `render`, russh in `transport/ssh`, indicatif, console and ratatui in `report`, reqwest in `bundle`,
//!   and the YAML reader in `inventory/load`, `playbook/load` and `bundle/lock`.
//! - **An error says what, where, why and what to do**, and mistakes in an inventory or a playbook
//!   are reported before any connection is opened.
//! - **Secrets are never in an argument list, an environment, a log or an event.** They travel as
//!   the standard input of a command, and are kept in files of mode 0600.
//!
//! # How `up` goes
//!
//! 1. [`inventory::load`] reads the file, and [`cluster::resolve`] resolves it into a cluster. A
//!    mistake ends the run here with exit code 2, and all mistakes are reported together. So does a
//!    change that no run can make: the lab directory has a [roster](cluster::roster) of the nodes
//!    that were worked on, and a node keeps its name, address and roles.
//! 2. [`engine::lock`] takes the lab's lock and starts a run log. From here on everything is an
//!    event.
//! 3. [`local`] makes and starts the nodes that the inventory wants on the workstation and that do
//!    not run.
//! 4. [`bundle`] opens the bundle, or completes it from the official releases when the inventory
//!    names none. Its programs are asked whether they know the flags of the inventory.
//! 5. [`pki`] compares the lab directory with what the cluster needs, issues what is missing and
//!    saves it.
//! 6. [`plan::expand`] works out what every play wants of every node: conditions decided, templates
//!    rendered, contents hashed. A mistake in any template ends the run here, before any node is
//!    contacted.
//! 7. [`engine::connect`] connects to all nodes, and [`engine::probe`] asks each of them, in one
//!    round trip, everything that the plays need to know.
//! 8. [`plan::preflight`] refuses nodes that cannot work (a wrong clock, a port in use, another pod
//!    network), warns of what may get in the way, and decides from the facts of all controllers
//!    which may found etcd and which can only join it; [`plan::diff`] makes the plan. It is complete
//!    before anything changes; `labctl plan` ends here.
//! 9. [`engine::apply`] carries it out. Large files are pushed into the nodes' blob stores from the
//!    start. Each play on each node is one stream with its small files and one script; it starts
//!    when the plays that it comes after have ended and its large files have arrived. Tasks that
//!    can only be judged then (waits, commands, manifests) are judged then.
//! 10. [`report`] ends with a table of the nodes, a timeline of the plays, and what to type next.
//!
//! A lab in which nothing differs costs step 7 only: one round trip per node. The same command
//! finishes a run that was interrupted anywhere, because every step looks at what is there and not
//! at what an earlier run meant to do.
//!
//! `etcd restore` is two playbooks with `up` between them: the first stops the members and gives
//! them the snapshot's data, `up` starts them, and the second removes the data from before.
//!
//! `down` is the same engine with another playbook, which undoes each node's record; local nodes
//! are removed whole. `node add` edits the inventory and continues as `up`; `node remove` takes a
//! node out of the cluster with a playbook of its own, undoes its record, edits the inventory, and
//! continues as `up` for the others.
//!
//! # Where things are
//!
//! On a node, the paths that people know from kubeadm and from guides:
//!
//! | path | what |
//! |---|---|
//! | `/usr/local/bin` | the binaries, as hard links into the blob store |
//! | `/etc/kubernetes/pki`, `/etc/kubernetes/*.conf` | certificates and keys under kubeadm's names; kubeconfigs |
//! | `/etc/systemd/system` | one unit per program |
//! | `/var/lib/etcd`, `/etc/etcd` | etcd's data; how this member founded its cluster or joined it |
//! | `/var/lib/kubelet`, `/var/lib/kube-proxy`, `/etc/containerd` | configuration and state of the workers' programs |
//! | `/etc/cni/net.d`, `/opt/cni/bin` | the pod network's configuration and plugins |
//! | `/var/lib/labctl` | labctl's own: the node record, copies of files that it replaced, the blob store |
//!
//! On the workstation, the lab directory `.labctl/<name>/` beside the inventory
//! ([`lab::LabDirectory`]): `pki/`, `admin.conf`, `known_hosts`, `roster.json`, `facts.json`,
//! `lock`, `runs/`, and for local nodes `ssh/` and `nodes/`. What can be downloaded or built again
//! (releases, the local nodes' base image) is in the cache ([`lab::cache_directory`]).

pub mod backup;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod engine;
pub mod event;
pub mod inventory;
pub mod lab;
pub mod local;
pub mod machine;
pub mod module;
pub mod node;
pub mod picture;
pub mod pki;
pub mod plan;
pub mod playbook;
pub mod render;
pub mod report;
pub mod secret;
pub mod smoke;
pub mod status;
pub mod timeline;
pub mod transport;
