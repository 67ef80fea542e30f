//! System users: made with their group, recorded, and removed without a trace.

use labctl::module::Desired;
use labctl::module::user::User;

use super::why;
use crate::support::machine::Machine;
use crate::teardown::down;

/// What the machine has of users. Made-up ones, so that it does not matter who runs the tests.
const ACCOUNTS: &str = "cd /etc && sha256sum passwd group shadow gshadow passwd- group- shadow- \
    gshadow- .pwd.lock 2>&1; stat -c '%n %a %U:%G' passwd- shadow- 2>&1; true";

fn user() -> [Desired; 1] {
    [Desired::User(User { name: "etcd-of-a-test".into(), home: "/srv/data".into() })]
}

fn machine() -> Machine {
    let machine = Machine::new();
    machine.shim("systemctl", "case $1 in is-active) echo inactive; exit 3 ;; cat) exit 1 ;; esac");
    machine
}

#[tokio::test]
async fn a_user_comes_with_its_group_and_goes_without_a_trace() {
    let machine = machine();
    // One copy that somebody's last change has left, and none of another file.
    machine
        .sh("echo older > /etc/passwd-; chmod 600 /etc/passwd-; rm -f /etc/shadow- /etc/.pwd.lock");
    let before = machine.sh(ACCOUNTS);
    assert_eq!(why(&machine.settles(&user()).await.found), "missing");
    let entry = machine.sh("getent passwd etcd-of-a-test | cut -d: -f 6-; id -gn etcd-of-a-test");
    assert_eq!(entry, "/srv/data:/usr/sbin/nologin\netcd-of-a-test");
    assert!(
        machine.sh("id -u etcd-of-a-test").parse::<u32>().expect("a number") < 1000,
        "it is a system user"
    );
    assert_eq!(machine.sh("ls -d /srv/data 2>/dev/null || echo none"), "none");
    let record = machine.record();
    for line in ["group etcd-of-a-test", "user etcd-of-a-test", "replaced /etc/passwd-"] {
        assert!(record.iter().any(|it| it == line), "{line}: {record:?}");
    }
    machine.settles(&down()).await;
    assert_eq!(machine.sh(ACCOUNTS), before);
}

#[tokio::test]
async fn a_user_and_a_group_that_were_there_stay() {
    let machine = machine();
    machine.sh("groupadd --system etcd-of-a-test");
    let group = machine.sh("getent group etcd-of-a-test");
    machine.settles(&user()).await;
    assert!(!machine.record().contains(&"group etcd-of-a-test".to_owned()));
    machine.settles(&down()).await;
    assert_eq!(machine.sh("getent group etcd-of-a-test"), group);
    assert_eq!(machine.sh("getent passwd etcd-of-a-test || echo none"), "none");

    machine.sh("useradd --system --gid etcd-of-a-test --home-dir /elsewhere etcd-of-a-test");
    let theirs = machine.sh("getent passwd etcd-of-a-test");
    assert_eq!(machine.differences(&user()).await, [], "it is as good as one of ours");
    machine.sh("mkdir -p /var/lib/labctl
         printf 'user root\\ngroup root\\nuser a:b\\n' > /var/lib/labctl/record");
    machine.settles(&down()).await;
    assert_eq!(machine.sh("getent passwd etcd-of-a-test"), theirs);
    assert_eq!(machine.sh("id -un 0; id -gn 0"), "root\nroot", "whatever a record says");
}
