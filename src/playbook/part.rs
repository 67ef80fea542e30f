//! Parts of a playbook: its beginning, to look around before the rest, and the parts of an upgrade,
//! because Kubernetes wants the control plane to be at a version before any worker is.

use std::collections::BTreeSet;

use super::{On, Play, Playbook};
use crate::cluster::Role;
use crate::module::Module;

/// A part of the playbook that brings a lab up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayPart {
    /// What is not only for workers, does not wait for them, and applies no objects: their pods may
    /// need images that only upgraded workers have.
    ControlPlane,
    /// What is for workers, with what they share with other nodes.
    Workers,
}

impl Playbook {
    /// Returns the playbook as far as the play `last`: with everything above it, and nothing below.
    /// No play comes after one below it.
    pub fn until(&self, last: &str) -> Self {
        let end = self.plays.iter().position(|play| play.name == last).map_or(0, |at| at + 1);
        Self { plays: self.plays[..end].to_vec(), ..self.clone() }
    }

    /// Returns one part of the playbook. A play that comes after plays which are not in it comes
    /// after those that they come after.
    pub fn part(&self, part: PlayPart) -> Self {
        let chosen: BTreeSet<&str> =
            self.plays.iter().filter(|play| self.is_in(play, part)).map(|it| &*it.name).collect();
        let mut plays: Vec<Play> =
            self.plays.iter().filter(|play| chosen.contains(&*play.name)).cloned().collect();
        for play in &mut plays {
            let mut after = BTreeSet::new();
            self.nearest(&play.after, &chosen, &mut after);
            play.after = after.into_iter().collect();
        }
        Self { plays, ..self.clone() }
    }

    fn is_in(&self, play: &Play, part: PlayPart) -> bool {
        match part {
            PlayPart::Workers => workers().is_within(&play.on),
            PlayPart::ControlPlane => {
                let applies = |it: &super::Task| {
                    matches!(it.module, Module::KubectlApply(_) | Module::Addons(_))
                };
                !self.needs_workers(play) && !play.tasks.iter().any(applies)
            }
        }
    }

    /// Whether a play is for workers alone, or comes after one that is.
    fn needs_workers(&self, play: &Play) -> bool {
        let named = |name: &String| self.plays.iter().find(|play| play.name == *name);
        for_workers(play)
            || play.after.iter().filter_map(named).any(|before| self.needs_workers(before))
    }

    /// Collects the plays of `chosen` that `after` names, or that those come after which it names.
    fn nearest(&self, after: &[String], chosen: &BTreeSet<&str>, found: &mut BTreeSet<String>) {
        for name in after {
            if chosen.contains(&**name) {
                found.insert(name.clone());
            } else if let Some(left_out) = self.plays.iter().find(|play| play.name == *name) {
                self.nearest(&left_out.after, chosen, found);
            }
        }
    }
}

fn for_workers(play: &Play) -> bool {
    play.on.is_within(&workers())
}

fn workers() -> On {
    On::Roles(vec![Role::Worker])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::standard;

    fn names(playbook: &Playbook) -> Vec<&str> {
        playbook.plays.iter().map(|play| play.name.as_str()).collect()
    }

    #[test]
    fn the_control_plane_comes_without_workers_and_without_objects() {
        let up = standard::find("up", None).expect("the standard playbook");
        let part = up.part(PlayPart::ControlPlane);
        assert_eq!(
            names(&part),
            [
                "prepare",
                "certificates",
                "controller-binaries",
                "client",
                "etcd",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "healthz",
                "loadbalancer",
                "endpoint",
                "pod-network"
            ]
        );
        let endpoint = part.plays.iter().find(|play| play.name == "endpoint").expect("a play");
        assert_eq!(endpoint.after, ["kube-apiserver", "loadbalancer"]);
    }

    #[test]
    fn the_beginning_of_a_playbook_ends_with_the_play_that_is_named() {
        let up = standard::find("up", None).expect("the standard playbook");
        let part = up.until("etcd");
        let plays =
            ["prepare", "certificates", "controller-binaries", "worker-binaries", "client", "etcd"];
        assert_eq!(names(&part), plays);
        assert_eq!(up.until("ready"), up);
    }

    #[test]
    fn workers_have_their_plays_in_order() {
        let up = standard::find("up", None).expect("the standard playbook");
        let part = up.part(PlayPart::Workers);
        assert_eq!(
            names(&part),
            [
                "prepare",
                "certificates",
                "worker-binaries",
                "containerd",
                "pod-network",
                "kubelet",
                "kube-proxy"
            ]
        );
        let after = |name: &str| {
            part.plays.iter().find(|play| play.name == name).map(|play| play.after.clone())
        };
        let of = |names: &[&str]| Some(names.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(after("containerd"), of(&["prepare", "worker-binaries"]));
        assert_eq!(after("kubelet"), of(&["certificates", "containerd", "pod-network", "prepare"]));
    }
}
