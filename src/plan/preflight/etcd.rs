//! etcd's members: those that lost their data, and those that were founded by others.

use super::finding::Obstacle;
use crate::machine::Etcd;
use crate::machine::etcd::{DATA, MEMBER};

/// Checks for obstacles of etcd: members that lost their data, and a bootstrap that was interrupted
/// and then changed. `wanted` are the members that the inventory wants.
pub(super) fn etcd(wanted: &str, controllers: &[(&str, &Etcd)]) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let alone = controllers.len() == 1;
    for (node, _) in controllers.iter().filter(|(_, etcd)| etcd.member && !etcd.data) {
        let help = if alone {
            format!(
                "restore the data from a backup; or, if it is no longer needed, remove \
                {MEMBER} there and run `up` again for an empty cluster"
            )
        } else {
            format!(
                "`labctl node remove {node}`, then `labctl node add` it again: it joins the \
                others with nothing"
            )
        };
        let what = format!("it was a member of this lab's etcd, and its data in {DATA} is gone");
        found.push(Obstacle { node: (*node).to_owned(), what, help });
    }
    // No member was ever healthy, and those that have started wait for other members than those in
    // the inventory.
    let begun = controllers.iter().find_map(|(_, etcd)| {
        let list = etcd.founders.as_deref().filter(|_| etcd.data)?;
        (list != wanted).then_some(list)
    });
    if let Some(begun) = begun.filter(|_| !controllers.iter().any(|(_, etcd)| etcd.member)) {
        let with_data = controllers.iter().filter(|(_, etcd)| etcd.data).count();
        let waiting = with_data * 2 <= begun.split(',').count();
        for (node, _) in controllers.iter().filter(|_| waiting) {
            found.push(Obstacle {
                node: (*node).to_owned(),
                what: format!(
                    "this lab's etcd is being founded by {begun}, and the inventory \
                    wants {wanted}"
                ),
                help: "put the controllers back as they were, run `up`, and change them then; or \
                    take the lab down and up again"
                    .to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(obstacles: Vec<Obstacle>) -> Vec<String> {
        obstacles.into_iter().map(|it| format!("{}: {}", it.node, it.what)).collect()
    }

    fn of_etcd(wanted: &str, controllers: &[(&str, Etcd)]) -> Vec<String> {
        let controllers: Vec<(&str, &Etcd)> =
            controllers.iter().map(|(node, etcd)| (*node, etcd)).collect();
        said(etcd(wanted, &controllers))
    }

    fn begun(founders: &str) -> Etcd {
        let text = format!("ETCD_INITIAL_CLUSTER={founders}\nETCD_INITIAL_CLUSTER_STATE=new\n");
        Etcd::of(Some(&text), false, true)
    }

    #[test]
    fn etcd_may_begin_go_on_and_be_joined() {
        let member = |founders| Etcd { member: true, ..begun(founders) };
        for (wanted, controllers) in [
            ("c0,c1", vec![("c0", Etcd::default()), ("c1", Etcd::default())]),
            ("c0,c1", vec![("c0", begun("c0,c1")), ("c1", Etcd::default())]),
            ("c0,c1,c2", vec![("c0", member("c0")), ("c1", Etcd::default())]),
            // Alone it needed nobody: an etcd, though nobody noted that it was healthy.
            ("c0,c1", vec![("c0", begun("c0")), ("c1", Etcd::default())]),
        ] {
            assert_eq!(of_etcd(wanted, &controllers), [""; 0], "{controllers:?}");
        }
    }

    #[test]
    fn an_interrupted_bootstrap_that_was_changed_is_refused() {
        let why = "this lab's etcd is being founded by c0,c1, and the inventory wants c0,c2";
        let refused = of_etcd("c0,c2", &[("c0", begun("c0,c1")), ("c2", Etcd::default())]);
        assert_eq!(refused, [format!("c0: {why}"), format!("c2: {why}")]);
    }

    #[test]
    fn a_member_that_lost_its_data_does_not_start_empty() {
        let lost = Etcd { member: true, data: false, ..begun("c0=x") };
        let refused = of_etcd("c0=x", &[("c0", lost)]);
        assert_eq!(
            refused,
            ["c0: it was a member of this lab's etcd, and its data in /var/lib/etcd/member is \
                gone"]
        );
    }
}
