//! Delivers large files to the blob stores of all nodes that lack them.
//!
//! A push from the workstation to each node always works. If many nodes lack the same files, the
//! uplink is the bottleneck; then each blob leaves the workstation once, and nodes pass it on
//! (`gate`) as `ledger` decides. Whatever fails among the nodes is pushed from the workstation
//! instead.

mod gate;
mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::gate::{Gate, GateKeys, fetch, known_host};
use self::ledger::{From, Ledger, LedgerNode, Transfer};
pub use super::delivery::{Peer, Spread};
use super::inbox::{Inbox, Pushed};
use super::pack::Packer;
use super::push::{patience, send};
use super::{Connections, Run};
use crate::event::Event;
use crate::module::file::Blob;
use crate::transport::TransportError;
use crate::transport::ssh::TemporaryKey;

/// Minimum upload in bytes that must be saved before nodes exchange files directly.
const WORTH: u64 = 64 << 20;

/// Maximum number of nodes that only send; more do not make it faster.
const ONLY_GIVERS: usize = 4;

/// Interval of progress reports.
const TICK: Duration = Duration::from_millis(100);

/// Which nodes need what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// What each node lacks, in the order in which plays need it.
    pub lacking: BTreeMap<String, Vec<Blob>>,
    /// Nodes that have what others lack, as far as the plan shows.
    pub having: BTreeSet<String>,
}

/// Returns the nodes that exchange blobs with each other; empty if pushing alone is better.
///
/// Pure: decides by sizes and numbers of nodes. `reachable` are nodes whose address others may use.
fn party(
    wanted: &Demand,
    reachable: &BTreeSet<String>,
    spread: Spread,
    near: bool,
) -> BTreeSet<String> {
    let takers: BTreeSet<String> =
        wanted.lacking.keys().filter(|node| reachable.contains(*node)).cloned().collect();
    let givers = wanted.having.intersection(reachable).take(ONLY_GIVERS);
    let all: BTreeSet<String> = takers.iter().chain(givers).cloned().collect();
    let (mut sizes, mut sum) = (BTreeMap::new(), 0);
    for blob in takers.iter().flat_map(|node| &wanted.lacking[node]) {
        sizes.insert(&blob.sha256, blob.size);
        sum += blob.size;
    }
    let saved = sum - if all.len() > takers.len() { 0 } else { sizes.values().sum::<u64>() };
    let pays = match spread {
        Spread::Never => false,
        Spread::Always => saved > 0,
        // Local nodes share the workstation's processors, and there is no uplink between them.
        Spread::Auto => !near && saved >= WORTH,
    };
    if pays { all } else { BTreeSet::new() }
}

/// Delivers to every node what it lacks, and updates `stores` as blobs arrive. Ends when everything
/// has arrived or is lost, or soon after the user asks to stop.
pub(super) async fn deliver(
    wanted: Demand,
    connections: Connections,
    mut stores: BTreeMap<String, watch::Sender<Pushed>>,
    run: Run,
) {
    let delivery = &run.delivery;
    let inbox = |node: &String, blobs: Vec<Blob>| {
        let (transport, pushed) = (connections.get(node)?.clone(), stores.remove(node)?);
        Some((node.clone(), Arc::new(Inbox::new(node, transport, blobs, pushed, &run))))
    };
    let inboxes: BTreeMap<String, Arc<Inbox>> = {
        let mut inbox = inbox;
        wanted.lacking.iter().filter_map(|(node, blobs)| inbox(node, blobs.clone())).collect()
    };
    let reachable = connections
        .iter()
        .filter(|(node, transport)| {
            delivery.peers.contains_key(*node) && transport.host_key().is_some()
        })
        .map(|(node, _)| node.clone())
        .collect();
    let party = party(&wanted, &reachable, delivery.spread, delivery.near);
    let packer = Packer::new(delivery.packed.clone());
    let ticker = async {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            inboxes.values().for_each(|inbox| inbox.tell());
        }
    };
    let work = async {
        let alone = inboxes
            .iter()
            .filter(|(node, _)| !party.contains(*node))
            .map(|(_, inbox)| Arc::clone(inbox));
        tokio::join!(
            push_all(alone.collect(), &packer, &run),
            spread(&party, &inboxes, &connections, &packer, &run)
        );
    };
    tokio::select! {
        () = work => inboxes.values().for_each(|inbox| inbox.tell()),
        () = ticker => {}
    }
}

/// Pushes to each node separately.
async fn push_all(inboxes: Vec<Arc<Inbox>>, packer: &Packer, run: &Run) {
    let mut pushes = JoinSet::new();
    for inbox in inboxes {
        let (run, packer) = (run.clone(), packer.clone());
        pushes.spawn(async move {
            let Ok(_permit) = run.forks.clone().acquire_owned().await else { return };
            if let Err(error) = send(&inbox, &inbox.blobs, &packer, None, &|_| ()).await {
                inbox.fail(error);
            }
        });
    }
    tokio::select! {
        () = async { while pushes.join_next().await.is_some() {} } => {}
        () = run.stopping() => {}
    }
}

/// Makes the nodes of `party` exchange blobs until all have everything.
async fn spread(
    party: &BTreeSet<String>,
    inboxes: &BTreeMap<String, Arc<Inbox>>,
    connections: &Connections,
    packer: &Packer,
    run: &Run,
) {
    if party.is_empty() {
        return;
    }
    let Some(mut swarm) = Swarm::gather(party, inboxes, connections, packer, run).await else {
        let all = party.iter().filter_map(|node| inboxes.get(node).cloned());
        return push_all(all.collect(), packer, run).await;
    };
    tokio::select! {
        () = swarm.exchange() => {}
        () = run.stopping() => {}
    }
    swarm.disperse().await;
}

/// Nodes that exchange blobs.
struct Swarm {
    nodes: Vec<SwarmNode>,
    blobs: Vec<Blob>,
    ledger: Ledger,
    packer: Packer,
    run: Run,
}

/// One of them.
struct SwarmNode {
    name: String,
    peer: Peer,
    gate: Option<Gate>,
    /// `None` for a node that only sends.
    inbox: Option<Arc<Inbox>>,
}

impl Swarm {
    /// Opens the gates. `None` if no key can be created for this run.
    async fn gather(
        party: &BTreeSet<String>,
        inboxes: &BTreeMap<String, Arc<Inbox>>,
        connections: &Connections,
        packer: &Packer,
        run: &Run,
    ) -> Option<Self> {
        let mut blobs: Vec<Blob> = Vec::new();
        for blob in party.iter().filter_map(|node| inboxes.get(node)).flat_map(|inbox| &inbox.blobs)
        {
            if !blobs.iter().any(|known| known.sha256 == blob.sha256) {
                blobs.push(blob.clone());
            }
        }
        packer.begin(&blobs);
        let key = TemporaryKey::new().ok()?;
        let lifetime = patience(&blobs) * u32::try_from(party.len()).unwrap_or(u32::MAX);
        let keys = Arc::new(GateKeys {
            key,
            known_hosts: party
                .iter()
                .filter_map(|node| Some(known_host(node, &connections.get(node)?.host_key()?)))
                .collect(),
            wanted: blobs.iter().map(|blob| format!("{}\n", blob.sha256)).collect(),
            lifetime: lifetime.min(Duration::from_secs(24 * 3600)),
        });
        let mut opening = JoinSet::new();
        for node in party {
            let (Some(transport), Some(peer)) =
                (connections.get(node), run.delivery.peers.get(node))
            else {
                continue;
            };
            let (name, transport) = (node.clone(), transport.clone());
            let peer = peer.clone().seen_by(&transport);
            let (inbox, keys, forks) =
                (inboxes.get(node).cloned(), Arc::clone(&keys), run.forks.clone());
            opening.spawn(async move {
                let _permit = forks.acquire_owned().await;
                let gate = Gate::open(&transport, &peer, &keys).await;
                SwarmNode { name, peer, gate, inbox }
            });
        }
        let mut nodes = opening.join_all().await;
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let number = |sha256: &str| blobs.iter().position(|blob| blob.sha256 == sha256);
        let member = |node: &SwarmNode| {
            let wants = node.inbox.iter().flat_map(|inbox| &inbox.blobs);
            let needs: Vec<usize> = wants.filter_map(|blob| number(&blob.sha256)).collect();
            let has =
                node.gate.iter().flat_map(|gate| &gate.has).filter_map(|sha256| number(sha256));
            LedgerNode {
                // A blob that it has but lacks is damaged.
                has: has.filter(|blob| !needs.contains(blob)).collect(),
                needs,
                gives: node.gate.as_ref().is_some_and(|gate| gate.gives),
                takes: node.gate.as_ref().is_some_and(|gate| gate.takes),
            }
        };
        let ledger = Ledger::new(
            blobs.iter().map(|blob| blob.size).collect(),
            nodes.iter().map(member).collect(),
        );
        Some(Self { nodes, blobs, ledger, packer: packer.clone(), run: run.clone() })
    }

    /// Runs until no node lacks anything that it can get.
    async fn exchange(&mut self) {
        let (news, mut heard) = mpsc::unbounded_channel();
        let mut transfers = JoinSet::new();
        loop {
            for transfer in self.ledger.next() {
                transfers.spawn(self.carry(transfer, news.clone()));
            }
            tokio::select! {
                Some((node, blob)) = heard.recv() => self.ledger.arrived(node, blob),
                ended = transfers.join_next() => {
                    let Some(Ok((transfer, result))) = ended else { return };
                    // Process arrivals before the end of their transfer.
                    while let Ok((node, blob)) = heard.try_recv() {
                        self.ledger.arrived(node, blob);
                    }
                    self.ended(&transfer, result);
                }
            }
        }
    }

    fn ended(&mut self, transfer: &Transfer, result: Result<(), TransportError>) {
        let node = transfer.to;
        let on_its_own = self.ledger.ended(node, result.is_ok());
        let Err(error) = result else { return };
        if transfer.from == From::Workstation {
            self.ledger.lost(node);
            self.nodes[node].inbox.iter().for_each(|inbox| inbox.fail(error.clone()));
        } else if on_its_own {
            let message = format!(
                "gets its binaries from the workstation, as other nodes cannot send them: {error}"
            );
            self.run
                .events
                .emit(Event::Warning { node: Some(self.nodes[node].name.clone()), message });
        }
    }

    /// Makes one transfer, from the workstation or another node; `news` receives each blob that has
    /// arrived.
    fn carry(
        &self,
        transfer: Transfer,
        news: mpsc::UnboundedSender<(usize, usize)>,
    ) -> impl Future<Output = (Transfer, Result<(), TransportError>)> + use<> {
        let (to, blobs) = (
            transfer.to,
            transfer.blobs.iter().map(|&blob| self.blobs[blob].clone()).collect::<Vec<_>>(),
        );
        let numbers: BTreeMap<String, usize> =
            transfer.blobs.iter().map(|&blob| (self.blobs[blob].sha256.clone(), blob)).collect();
        let inbox = self.nodes[to].inbox.clone();
        let folder = self.nodes[to].gate.as_ref().map(|gate| gate.folder.clone());
        let giver = match transfer.from {
            From::Workstation => None,
            From::Node(giver) => {
                Some((self.nodes[giver].name.clone(), self.nodes[giver].peer.clone()))
            }
        };
        let (packer, forks) = (self.packer.clone(), self.run.forks.clone());
        let keeps = self.ledger.more_to_come(&transfer.blobs);
        async move {
            let Some(inbox) = inbox else { return (transfer, Ok(())) };
            let _permit = forks.acquire_owned().await;
            let on_arrival = |blob: &Blob| {
                let _ = news.send((to, numbers[&blob.sha256]));
            };
            let result = match (&giver, &folder) {
                (Some((name, peer)), Some(gate)) => {
                    fetch(&inbox, gate, keeps, name, peer, &blobs, &on_arrival).await
                }
                _ => {
                    send(&inbox, &blobs, &packer, folder.as_deref().filter(|_| keeps), &on_arrival)
                        .await
                }
            };
            (transfer, result)
        }
    }

    /// Closes the gates in parallel.
    async fn disperse(self) {
        let mut closing: JoinSet<()> =
            self.nodes.into_iter().filter_map(|node| node.gate).map(Gate::close).collect();
        while closing.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::delivery::packs;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn blob(name: &str, megabytes: u64) -> Blob {
        Blob {
            sha256: name.repeat(64),
            size: megabytes << 20,
            source: "/bundle".into(),
            name: name.into(),
        }
    }

    fn lacking(nodes: &[(&str, &[Blob])], having: &[&str]) -> Demand {
        let lacking =
            nodes.iter().map(|(node, blobs)| ((*node).to_owned(), blobs.to_vec())).collect();
        Demand { lacking, having: names(having) }
    }

    #[test]
    fn nodes_exchange_files_if_that_saves_enough_upload() {
        let all = names(&["a", "b", "c", "d"]);
        let auto = |wanted: &Demand| party(wanted, &all, Spread::Auto, false);
        let (large, small, other) = ([blob("1", 100)], [blob("2", 10)], [blob("3", 100)]);
        assert_eq!(auto(&lacking(&[("a", &large), ("b", &large)], &[])), names(&["a", "b"]));
        assert_eq!(
            auto(&lacking(&[("a", &large), ("b", &other)], &[])),
            names(&[]),
            "nothing shared"
        );
        assert_eq!(auto(&lacking(&[("a", &small), ("b", &small)], &[])), names(&[]), "too little");
        assert_eq!(auto(&lacking(&[("a", &large)], &[])), names(&[]), "nobody else");
        assert_eq!(
            auto(&lacking(&[("a", &large)], &["b", "unreachable"])),
            names(&["a", "b"]),
            "a node that joins"
        );
    }

    #[test]
    fn the_option_and_the_location_of_the_nodes_decide() {
        let (all, blobs) = (names(&["a", "b"]), [blob("1", 100)]);
        let wanted = lacking(&[("a", &blobs), ("b", &blobs)], &[]);
        assert_eq!(party(&wanted, &all, Spread::Auto, true), names(&[]), "local nodes");
        assert_eq!(party(&wanted, &all, Spread::Never, false), names(&[]));
        assert_eq!(
            party(&wanted, &names(&["a"]), Spread::Always, false),
            names(&[]),
            "only one can be reached"
        );
        assert_eq!(party(&wanted, &all, Spread::Always, true), all);
        assert!(
            packs(Spread::Auto, false)
                && packs(Spread::Never, false)
                && packs(Spread::Always, true)
        );
        assert!(!packs(Spread::Auto, true));
    }
}
