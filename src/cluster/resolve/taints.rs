//! Resolves the taints of nodes, and checks that pods have a node left.

use super::Resolver;
use super::nodes::Draft;
use crate::cluster::{Role, Taint, names};
use crate::inventory::{Located, NodeEntry, Position, did_you_mean};

/// The effects of taints; pods stay away for all but the second.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Resolver<'_, '_> {
    pub(super) fn taints(&mut self, entry: &NodeEntry, roles: Option<&[Role]>) -> Vec<Taint> {
        let Some(list) = &entry.taints else { return Vec::new() };
        if roles.is_some_and(|roles| !roles.contains(&Role::Worker)) {
            let what = "taints on a node that is not a worker: it has no Node object to carry them";
            self.problems.error(list.at, what, "remove them, or add `worker` to its roles");
        }
        let mut taints: Vec<Taint> = Vec::new();
        for text in &list.value {
            let Some(taint) = self.taint(text) else { continue };
            if taints.iter().any(|it| (&it.key, &it.effect) == (&taint.key, &taint.effect)) {
                let what = format!("a second taint `{}` with {}", taint.key, taint.effect);
                self.problems.error(text.at, what, "a node has one value for a key and an effect");
                continue;
            }
            taints.push(taint);
        }
        taints.sort();
        taints
    }

    fn taint(&mut self, text: &Located<String>) -> Option<Taint> {
        let form = "write it as `key=value:Effect` or `key:Effect`, such as \
            `dedicated=gpu:NoSchedule`";
        let Some((pair, effect)) = text.value.rsplit_once(':') else {
            let what = format!("the taint `{}` has no effect", text.value);
            self.problems.error(text.at, what, form);
            return None;
        };
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = names::check_label_key(key).err().map(|wrong| (key, wrong));
        let wrong = wrong.or(names::check_label_value(value).err().map(|wrong| (value, wrong)));
        if let Some((part, wrong)) = wrong {
            let what = format!("the taint `{}`: `{part}` {wrong}", text.value);
            self.problems.error(text.at, what, form);
            return None;
        }
        if !EFFECTS.contains(&effect) {
            let what = format!("the taint `{}` has an unknown effect `{effect}`", text.value);
            let help = match did_you_mean(effect, EFFECTS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the effects are {}", EFFECTS.join(", ")),
            };
            self.problems.error(text.at, what, help);
            return None;
        }
        Some(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }

    /// Warns if taints keep pods away from every worker.
    pub(super) fn check_room_for_pods(&mut self, drafts: &[Draft<'_>], at: Position) {
        let keeps_away = |draft: &&Draft<'_>| {
            draft.taints.iter().any(|taint| taint.effect != "PreferNoSchedule")
        };
        let mut workers = drafts.iter().filter(|draft| draft.has(Role::Worker)).peekable();
        if workers.peek().is_some() && workers.all(|draft| keeps_away(&draft)) {
            let what = "every worker has a taint that keeps pods away: CoreDNS has nowhere to run, \
                and `up` waits for it in vain";
            self.problems.warning(at, what, "leave one worker without, or use `PreferNoSchedule`");
        }
    }
}
