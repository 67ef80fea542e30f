//! Decides which node sends what to whom next: a pure ledger of what has arrived and what failed.
//!
//! It works like a swarm download with one additional rule: the workstation sends a blob only if no
//! node that could pass it on has it or is getting it. So each blob leaves the workstation once,
//! the number of copies doubles with every round among the nodes, and any failure among them (a
//! firewall, an sshd that does not allow keys, a dead node) leads to a push from the workstation,
//! because then no node can provide the blob.

use std::collections::BTreeSet;

/// Maximum number of nodes that one node sends to in parallel. More would only share the same link.
const GIVES: usize = 2;

/// Number of nodes that the workstation sends to in parallel: enough to keep an uplink busy while
/// another node responds.
const SEEDS: usize = 3;

/// Maximum size in bytes of one transfer of more than one blob. A new connection between two nodes
/// costs about as much as tens of megabytes, so whole sets are sent at once.
const LARGEST: u64 = 512 << 20;

/// After this many failures a node neither sends nor receives from other nodes.
const STRIKES: usize = 2;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// The machine that labctl runs on.
    Workstation,
    /// A node, by its number.
    Node(usize),
}

/// Blobs on their way to a node, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The receiving node.
    pub to: usize,
    /// The sender.
    pub from: From,
    /// The blobs, by number.
    pub blobs: Vec<usize>,
}

/// One node in the ledger.
#[derive(Debug, Clone, Default)]
pub struct LedgerNode {
    /// What it lacks, in the order in which it needs it.
    pub needs: Vec<usize>,
    /// What it has, if others need it.
    pub has: BTreeSet<usize>,
    /// Whether others may read its blobs.
    pub gives: bool,
    /// Whether it can fetch them from others.
    pub takes: bool,
}

#[derive(Debug)]
struct LedgerEntry {
    member: LedgerNode,
    getting: Option<Transfer>,
    giving: usize,
    /// Nodes from which a fetch has failed.
    refused: BTreeSet<usize>,
    failed_to_give: usize,
    failed_to_take: usize,
}

/// What every node has and needs, and what is being transferred.
#[derive(Debug)]
pub struct Ledger {
    sizes: Vec<u64>,
    nodes: Vec<LedgerEntry>,
}

impl Ledger {
    /// Returns a ledger for blobs of these sizes.
    pub fn new(sizes: Vec<u64>, members: Vec<LedgerNode>) -> Self {
        let state = |member| LedgerEntry {
            member,
            getting: None,
            giving: 0,
            refused: BTreeSet::new(),
            failed_to_give: 0,
            failed_to_take: 0,
        };
        Self { sizes, nodes: members.into_iter().map(state).collect() }
    }

    /// Returns all transfers that can start now, and records them as started.
    pub fn next(&mut self) -> Vec<Transfer> {
        let mut begun = Vec::new();
        // Nodes that lack most go first: they can pass on least and have the longest way to go.
        let mut waiting: Vec<usize> = (0..self.nodes.len())
            .filter(|&to| {
                self.nodes[to].getting.is_none() && !self.nodes[to].member.needs.is_empty()
            })
            .collect();
        waiting.sort_by_key(|&to| std::cmp::Reverse(self.bytes(&self.nodes[to].member.needs)));
        for to in waiting {
            let Some(transfer) = self.by_a_node(to).or_else(|| self.by_this_machine(to)) else {
                continue;
            };
            if let From::Node(giver) = transfer.from {
                self.nodes[giver].giving += 1;
            }
            self.nodes[to].getting = Some(transfer.clone());
            begun.push(transfer);
        }
        begun
    }

    /// Records that a node has received a blob.
    pub fn arrived(&mut self, to: usize, blob: usize) {
        let member = &mut self.nodes[to].member;
        member.needs.retain(|needed| *needed != blob);
        member.has.insert(blob);
    }

    /// Records the end of the transfer to a node. Whether other nodes can still provide what it
    /// lacks is computed again; returns true if from now on none can.
    pub fn ended(&mut self, to: usize, well: bool) -> bool {
        let Some(transfer) = self.nodes[to].getting.take() else { return false };
        let From::Node(giver) = transfer.from else { return false };
        self.nodes[giver].giving -= 1;
        if well {
            return false;
        }
        self.nodes[to].refused.insert(giver);
        self.nodes[to].failed_to_take += 1;
        self.nodes[giver].failed_to_give += 1;
        if self.nodes[giver].failed_to_give >= STRIKES {
            self.nodes[giver].member.gives = false;
        }
        let node = &mut self.nodes[to];
        let gave_up = node.failed_to_take >= STRIKES && node.member.takes;
        node.member.takes &= !gave_up;
        gave_up
    }

    /// Whether any node that is not yet receiving these blobs lacks one, so that the receiving node
    /// will be asked to pass them on.
    pub fn more_to_come(&self, blobs: &[usize]) -> bool {
        self.nodes.iter().any(|node| {
            let waits = |blob: &usize| blobs.contains(blob);
            let gets = |blob: &usize| {
                node.getting.as_ref().is_some_and(|transfer| transfer.blobs.contains(blob))
            };
            node.member.needs.iter().any(|blob| waits(blob) && !gets(blob))
        })
    }

    /// Records that a node can no longer receive or send.
    pub fn lost(&mut self, node: usize) {
        let member = &mut self.nodes[node].member;
        member.needs.clear();
        (member.gives, member.takes) = (false, false);
    }

    fn bytes(&self, blobs: &[usize]) -> u64 {
        blobs.iter().map(|&blob| self.sizes[blob]).sum()
    }

    /// Whether `to` may ask `giver`, now or later.
    fn may_ask(&self, to: usize, giver: usize) -> bool {
        let taker = &self.nodes[to];
        to != giver
            && taker.member.takes
            && self.nodes[giver].member.gives
            && !taker.refused.contains(&giver)
    }

    /// Whether `to` can expect `blob` from a node that has it or is getting it.
    fn obtainable(&self, to: usize, blob: usize) -> bool {
        (0..self.nodes.len()).any(|giver| {
            let other = &self.nodes[giver];
            let getting =
                || other.getting.as_ref().is_some_and(|transfer| transfer.blobs.contains(&blob));
            self.may_ask(to, giver) && (other.member.has.contains(&blob) || getting())
        })
    }

    /// Returns as many of `blobs` as fit into one transfer.
    fn load(&self, blobs: impl Iterator<Item = usize>) -> Vec<usize> {
        let (mut load, mut bytes) = (Vec::new(), 0);
        for blob in blobs {
            bytes += self.sizes[blob];
            if bytes > LARGEST && !load.is_empty() {
                break;
            }
            load.push(blob);
        }
        load
    }

    /// Returns the best transfer to `to` from another node.
    fn by_a_node(&self, to: usize) -> Option<Transfer> {
        let needs = &self.nodes[to].member.needs;
        // A node that is still waiting for some of these is only asked once it has them, unless
        // nothing else is possible.
        let complete =
            |giver: usize| !self.nodes[giver].member.needs.iter().any(|blob| needs.contains(blob));
        let moving = self.something_moves();
        let offers = (0..self.nodes.len())
            .filter(|&giver| self.may_ask(to, giver) && self.nodes[giver].giving < GIVES)
            .filter(|&giver| complete(giver) || !moving)
            .map(|giver| {
                let has = &self.nodes[giver].member.has;
                (giver, self.load(needs.iter().copied().filter(|blob| has.contains(blob))))
            })
            .filter(|(_, load)| !load.is_empty());
        let (giver, blobs) = offers.max_by_key(|(giver, load)| {
            (self.bytes(load), std::cmp::Reverse(self.nodes[*giver].giving))
        })?;
        Some(Transfer { to, from: From::Node(giver), blobs })
    }

    /// Returns what `to` must get from the workstation, because no node will provide it.
    fn by_this_machine(&self, to: usize) -> Option<Transfer> {
        let node = &self.nodes[to];
        let nobody_has =
            node.member.needs.iter().copied().filter(|&blob| !self.obtainable(to, blob));
        // An isolated node gets everything at once, in one stream.
        if !node.member.takes && !node.member.gives {
            return Some(Transfer {
                to,
                from: From::Workstation,
                blobs: node.member.needs.clone(),
            });
        }
        let seeds = self.nodes.iter().filter_map(|node| node.getting.as_ref());
        if seeds.filter(|transfer| transfer.from == From::Workstation).count() >= SEEDS {
            return None;
        }
        let blobs = self.load(nobody_has);
        (!blobs.is_empty()).then_some(Transfer { to, from: From::Workstation, blobs })
    }

    fn something_moves(&self) -> bool {
        self.nodes.iter().any(|node| node.getting.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEGABYTE: u64 = 1 << 20;

    fn member(needs: &[usize]) -> LedgerNode {
        LedgerNode { needs: needs.to_vec(), has: BTreeSet::new(), gives: true, takes: true }
    }

    /// Runs a ledger to its end. `fails` selects the transfers between nodes that break, by number;
    /// `picks` which of the running ones ends next. Returns the transfers.
    fn play(ledger: &mut Ledger, fails: &dyn Fn(usize) -> bool, picks: &[usize]) -> Vec<Transfer> {
        let (mut under_way, mut all): (Vec<Transfer>, Vec<Transfer>) = (Vec::new(), Vec::new());
        for round in 0.. {
            assert!(round < 100_000, "it comes to an end");
            let begun = ledger.next();
            under_way.extend(begun.iter().cloned());
            all.extend(begun);
            for node in 0..ledger.nodes.len() {
                let giving =
                    under_way.iter().filter(|transfer| transfer.from == From::Node(node)).count();
                assert!(giving <= GIVES, "{node} gives to {giving} at a time");
                assert!(under_way.iter().filter(|transfer| transfer.to == node).count() <= 1);
            }
            if under_way.is_empty() {
                return all;
            }
            let ended = under_way.remove(
                picks.get(round % picks.len().max(1)).copied().unwrap_or(0) % under_way.len(),
            );
            let broken = ended.from != From::Workstation && fails(round);
            let whole = if broken { ended.blobs.len() / 2 } else { ended.blobs.len() };
            for blob in &ended.blobs[..whole] {
                ledger.arrived(ended.to, *blob);
            }
            ledger.ended(ended.to, !broken);
        }
        all
    }

    fn sent_from_here(transfers: &[Transfer]) -> Vec<usize> {
        let from_here = transfers.iter().filter(|transfer| transfer.from == From::Workstation);
        let mut blobs: Vec<usize> =
            from_here.flat_map(|transfer| transfer.blobs.iter().copied()).collect();
        blobs.sort_unstable();
        blobs
    }

    #[test]
    fn every_blob_leaves_the_workstation_once_through_several_nodes() {
        let sizes = vec![490 * MEGABYTE, 480 * MEGABYTE, 470 * MEGABYTE, 460 * MEGABYTE];
        let mut ledger = Ledger::new(sizes, vec![member(&[0, 1, 2, 3]); 8]);
        let first = ledger.next();
        let seeds: BTreeSet<_> =
            first.iter().map(|transfer| (transfer.to, transfer.blobs.clone())).collect();
        assert_eq!(seeds.len(), SEEDS, "several nodes get something else each: {first:?}");
        for transfer in first {
            transfer.blobs.iter().for_each(|blob| ledger.arrived(transfer.to, *blob));
            ledger.ended(transfer.to, true);
        }
        let rest = play(&mut ledger, &|_| false, &[0]);
        assert_eq!(sent_from_here(&rest), [3]);
    }

    #[test]
    fn nodes_that_lack_the_same_need_few_connections() {
        let mut ledger = Ledger::new(vec![60 * MEGABYTE; 5], vec![member(&[0, 1, 2, 3, 4]); 8]);
        let all = play(&mut ledger, &|_| false, &[0]);
        assert_eq!(sent_from_here(&all), [0, 1, 2, 3, 4]);
        assert_eq!(all.len(), 8, "everyone gets everything at once: {all:?}");
    }

    #[test]
    fn a_new_node_gets_all_from_the_old_ones() {
        let old = LedgerNode { has: [0, 1].into(), ..member(&[]) };
        let mut ledger =
            Ledger::new(vec![90 * MEGABYTE; 2], vec![old.clone(), member(&[0, 1]), old]);
        assert_eq!(sent_from_here(&play(&mut ledger, &|_| false, &[0])), [0; 0]);
    }

    #[test]
    fn nodes_that_cannot_reach_each_other_get_everything_from_the_workstation() {
        let mut ledger = Ledger::new(vec![90 * MEGABYTE; 3], vec![member(&[0, 1, 2]); 4]);
        let all = play(&mut ledger, &|_| true, &[0]);
        assert!((0..4).all(|node| ledger.nodes[node].member.needs.is_empty()));
        let in_vain = all.iter().filter(|transfer| transfer.from != From::Workstation).count();
        assert!(in_vain <= 4 * STRIKES, "{in_vain} attempts");
    }

    #[test]
    fn the_last_ones_to_get_something_are_not_asked_for_it() {
        let mut ledger = Ledger::new(vec![90 * MEGABYTE], vec![member(&[0]); 3]);
        let [first] = ledger.next().try_into().expect("one transfer");
        assert!(ledger.more_to_come(&first.blobs));
        ledger.arrived(first.to, 0);
        ledger.ended(first.to, true);
        assert_eq!(ledger.next().len(), 2);
        assert!(!ledger.more_to_come(&[0]), "both others are getting it");
        ledger.ended(2, false);
        assert!(ledger.more_to_come(&[0]), "one of them in vain");
    }

    #[test]
    fn an_isolated_node_gets_everything_in_one_stream() {
        let alone = LedgerNode { gives: false, takes: false, ..member(&[0, 1, 2]) };
        let mut ledger = Ledger::new(vec![90 * MEGABYTE; 3], vec![alone]);
        assert_eq!(
            ledger.next(),
            [Transfer { to: 0, from: From::Workstation, blobs: vec![0, 1, 2] }]
        );
    }

    #[test]
    fn a_node_is_asked_when_it_has_all_that_it_can_give() {
        let half = LedgerNode { has: [0].into(), ..member(&[1]) };
        let mut ledger = Ledger::new(vec![90 * MEGABYTE; 2], vec![half, member(&[0, 1])]);
        let from_here = |to, blob| Transfer { to, from: From::Workstation, blobs: vec![blob] };
        let among_nodes =
            |to, from, blob| Transfer { to, from: From::Node(from), blobs: vec![blob] };
        // Nothing is moving yet, so each node takes what is there; then each gets the rest from the
        // other.
        assert_eq!(ledger.next(), [among_nodes(1, 0, 0), from_here(0, 1)]);
        ledger.arrived(1, 0);
        ledger.ended(1, true);
        assert_eq!(ledger.next(), [], "it is getting it");
        ledger.arrived(0, 1);
        ledger.ended(0, true);
        assert_eq!(ledger.next(), [among_nodes(1, 0, 1)]);
    }

    proptest! {
        #[test]
        fn everyone_ends_with_all_it_needs(
            sizes in prop::collection::vec(1_u64..200, 1..8),
            wants in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u8..8), 1..12),
            broken in prop::collection::vec(any::<bool>(), 32),
            picks in prop::collection::vec(0_usize..16, 1..20),
        ) {
            let count = sizes.len();
            let members: Vec<LedgerNode> = wants.iter().map(|(needs, has, kind)| LedgerNode {
                needs: (0..count).filter(|blob| needs >> blob & 1 == 1).collect(),
                has: (0..count).filter(|blob| (!needs & has) >> blob & 1 == 1).collect(),
                gives: *kind != 1,
                takes: *kind != 2,
            }).collect();
            let sizes: Vec<u64> = sizes.iter().map(|size| size * MEGABYTE).collect();
            let mut ledger = Ledger::new(sizes.clone(), members.clone());
            play(&mut ledger, &|round| broken[round % broken.len()], &picks);
            for node in 0..members.len() {
                prop_assert!(ledger.nodes[node].member.needs.is_empty(), "{node} lacks \
                    {:?}", ledger.nodes[node].member.needs);
            }
            // If nothing breaks and all nodes share, a blob that a node already has never leaves
            // the workstation, and any other leaves it once.
            let members = members.into_iter();
            let willing: Vec<LedgerNode> = members
                .map(|member| LedgerNode { gives: true, takes: true, ..member })
                .collect();
            let all = willing.iter();
            let somewhere: BTreeSet<usize> = all.clone().flat_map(|it| it.has.clone()).collect();
            let wanted: BTreeSet<usize> = all.flat_map(|it| it.needs.clone()).collect();
            let mut ledger = Ledger::new(sizes, willing);
            let sent = sent_from_here(&play(&mut ledger, &|_| false, &picks));
            let expected: Vec<usize> = wanted.difference(&somewhere).copied().collect();
            prop_assert_eq!(sent, expected);
        }
    }
}
