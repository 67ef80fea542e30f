//! Symbolic links: made, led elsewhere, and what is in their place kept.

use labctl::module::Desired;
use labctl::module::link::Link;

use super::{command, why};
use crate::support::machine::Machine;

#[tokio::test]
async fn a_link_leads_where_it_should_and_keeps_what_it_replaces() {
    let machine = Machine::new();
    let (path, target) = ("/srv/deep/it's a link", "/etc/no such file");
    let link =
        |replace| [Desired::Link(Link { path: path.into(), target: target.into(), replace })];
    assert_eq!(why(&machine.settles(&link(true)).await.found), "missing");
    assert_eq!(
        machine.sh("readlink \"/srv/deep/it's a link\"; ls -A /srv/deep"),
        format!("{target}\nit's a link")
    );
    assert_eq!(machine.record()[..2], ["directory /srv/deep".to_owned(), format!("file {path}")]);
    machine.sh("ln -sfn /etc/hosts \"/srv/deep/it's a link\"");
    assert_eq!(machine.differences(&link(false)).await, [], "something is there");
    assert_eq!(why(&machine.settles(&link(true)).await.found), "leads elsewhere");

    let machine = Machine::new();
    machine.sh("mkdir /srv/deep; echo mine > \"/srv/deep/it's a link\"");
    assert_eq!(machine.differences(&link(false)).await, []);
    assert_eq!(why(&machine.settles(&link(true)).await.found), "is a regular file, not a link");
    assert_eq!(machine.record(), [format!("replaced {path}")]);
    assert_eq!(machine.sh("cat \"/var/lib/labctl/originals/srv/deep/it's a link\""), "mine");
}

#[tokio::test]
async fn a_link_that_may_not_replace_anything_looks_again_before_it_is_made() {
    let machine = Machine::new();
    let link = Link { path: "/srv/link".into(), target: "/etc".into(), replace: false };
    let desired = [command("echo theirs > /srv/link", "[ -e /srv/link ]"), Desired::Link(link)];
    assert_eq!(machine.converge(&desired).await.found.len(), 2);
    assert_eq!(machine.sh("cat /srv/link"), "theirs");
    assert!(!machine.sh("cat /var/lib/labctl/record").contains("/srv/link"));
}
