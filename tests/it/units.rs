//! Units against a real shell and a systemd of the tests' own: what is started is seen to stay up.

use crate::support::machine::Machine;
use labctl::module::command::Command;
use labctl::module::file::File;
use labctl::module::unit::{OnChange, Unit};
use labctl::module::{Content, Desired};

/// A unit that uses no files.
pub fn unit(name: &str) -> Desired {
    let (name, on_change) = (name.to_owned(), OnChange::Restart);
    Desired::Unit(Unit {
        name,
        started: true,
        enabled: true,
        on_change,
        uses: Vec::new(),
        leaves: Vec::new(),
    })
}

/// A systemd that says of a unit what is in /units/NAME, and once it was started, what is in
/// /units/NAME.then.
pub fn with_systemd(machine: &Machine) {
    machine.sh("mkdir -p /units");
    machine.shim(
        "systemctl",
        r#"verb=$1
for last; do :; done
case $verb in
  show) seen=no; for unit; do
          [ -e "/units/$unit" ] || continue
          [ $seen = no ] || echo; seen=yes; echo "Id=$unit"; cat "/units/$unit"
        done ;;
  daemon-reload) echo reread >> /reread ;;
  restart) cat "/units/$last.then" > "/units/$last"; echo "$last" >> /restarted ;;
esac"#,
    );
    machine.shim(
        "journalctl",
        "case $* in *_SYSTEMD_INVOCATION_ID=crashed*) cat /journal ;; *--sync*) ;; *) echo old ;; \
        esac",
    );
}

pub const DOWN: &str = "ActiveState=inactive\nSubState=dead\nUnitFileState=enabled\nType=simple\n";
pub const RUNS: &str = "ActiveState=active\nSubState=running\nUnitFileState=enabled\n\
                        Type=simple\nMainPID=0\nNRestarts=0\n";
const FLAPS: &str = "ActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\n\
                     Type=simple\nExecMainCode=1\nExecMainStatus=1\nNRestarts=3\n\
                     InvocationID=crashed\n";

#[tokio::test]
async fn a_unit_that_ends_after_its_start_is_a_failure_with_its_own_last_words() {
    let machine = Machine::new();
    with_systemd(&machine);
    let put = |name: &str, text: &str| machine.sh(&format!("printf '%s' '{text}' > /units/{name}"));
    put("good.service", DOWN);
    put("good.service.then", RUNS);
    put("bad.service", DOWN);
    put("bad.service.then", FLAPS);
    machine.sh("printf 'hello\\nError: unknown flag: --no-such-flag\\nUsage: bad\\n' > /journal");
    let after =
        Desired::Command(Command { run: "touch /after".into(), unless: "[ -e /after ]".into() });
    let desired = [unit("good.service"), unit("bad.service"), after];
    let converged = machine.converge(&desired).await;
    let failure = converged.failure();
    assert_eq!(failure.task, "unit bad.service");
    assert_eq!(failure.reason, "Error: unknown flag: --no-such-flag\nstart: it is inactive");
    let said =
        "bad.service does not stay up: its program ended with exit code 1; started again 3 times";
    assert_eq!(failure.stderr, [said]);
    assert_eq!(
        failure.journal,
        ["hello", "Error: unknown flag: --no-such-flag", "Usage: bad"],
        "of this run only"
    );
    assert_eq!(
        converged.applied.changed["node"], 1,
        "the other one was watched beside it, and is done"
    );
    assert_eq!(
        machine.attempt("ls /after").status.code(),
        Some(2),
        "what comes after a unit needs it"
    );

    // The next plan finds it, also in the moment in which it happens to run.
    let found = machine.differences(&desired).await;
    assert_eq!(
        found[0],
        ("unit bad.service".into(), "start: it keeps exiting, 4 times so far".into())
    );
    put("bad.service", RUNS);
    let found = machine.differences(&desired).await;
    assert_eq!(found[0].1, "restart: it did not stay up when it was last started");

    // Mended, it is started once more, and then there is nothing to do for either.
    put("bad.service.then", RUNS);
    machine.settles(&desired).await;
    assert_eq!(machine.sh("cat /restarted"), "good.service\nbad.service\nbad.service");
}

#[tokio::test]
async fn files_are_put_in_place_while_units_are_watched() {
    let machine = Machine::new();
    with_systemd(&machine);
    for name in ["a.service", "b.service"] {
        machine.sh(&format!("printf '%s' '{DOWN}' > /units/{name}"));
        machine.sh(&format!("printf '%s' '{RUNS}' > /units/{name}.then"));
    }
    // What runs when somebody first waits for a unit to stay up.
    machine.shim("sleep", "ls /srv/of-b /asked >> /there 2>/dev/null; cat /restarted >> /there");
    let file = Desired::File(File {
        path: "/srv/of-b".into(),
        mode: "644".into(),
        owner: "root:root".into(),
        content: Content::inline(b"b".to_vec()),
        sensitive: false,
        origin: "of-b".into(),
    });
    let asks =
        Desired::Command(Command { run: "touch /asked".into(), unless: "[ -e /asked ]".into() });
    let desired = [unit("a.service"), file, unit("b.service"), asks];
    machine.settles(&desired).await;
    let there = machine.sh("head -n 3 /there");
    assert_eq!(there, "/srv/of-b\na.service\nb.service", "and nothing was asked yet");
}

#[tokio::test]
async fn a_unit_that_was_started_again_and_again_until_now_is_watched_and_not_restarted() {
    let machine = Machine::new();
    with_systemd(&machine);
    let put = |text: &str| machine.sh(&format!("printf '%s' '{text}' > /units/a.service"));
    put(DOWN);
    machine.sh(&format!("printf '%s' '{RUNS}' > /units/a.service.then"));
    machine.settles(&[unit("a.service")]).await;
    let lately = "ActiveEnterTimestampMonotonic=$(cut -d. -f1 /proc/uptime)000000";
    let restarts = |count: u32, since: &str| {
        let text = RUNS.replace("NRestarts=0", &format!("NRestarts={count}"));
        machine.sh(&format!("{{ printf '%s' '{text}'; echo \"{since}\"; }} > /units/a.service"));
    };
    restarts(1, lately);
    assert_eq!(machine.differences(&[unit("a.service")]).await, [], "one restart is none");
    restarts(7, "ActiveEnterTimestampMonotonic=1000000");
    assert_eq!(machine.differences(&[unit("a.service")]).await, [], "what was long ago is over");
    restarts(7, lately);
    let found = machine.differences(&[unit("a.service")]).await;
    assert!(found[0].1.starts_with("it ended 7 times, the last time "), "{found:?}");
    // While it is watched it ends once more.
    machine.shim("sleep", &format!("printf '%s' '{FLAPS}' > /units/a.service"));
    machine.sh("echo 'panic: again' > /journal");
    let converged = machine.converge(&[unit("a.service")]).await;
    assert!(converged.failure().reason.starts_with("panic: again\n"), "{:?}", converged.failure());
    assert_eq!(machine.sh("cat /restarted"), "a.service", "it was not started by this");
}

#[tokio::test]
async fn a_unit_that_somebody_else_restarts_while_it_is_watched_stays_up() {
    let machine = Machine::new();
    with_systemd(&machine);
    machine.sh(&format!("printf '%s' '{DOWN}' > /units/a.service"));
    let between = DOWN.replace("Type=simple", "Type=simple\nJob=7");
    machine.sh(&format!("printf '%s' '{between}' > /units/a.service.then"));
    machine.shim("sleep", &format!("printf '%s' '{RUNS}' > /units/a.service"));
    machine.settles(&[unit("a.service")]).await;
    assert_eq!(machine.sh("cat /restarted"), "a.service", "once by this run");
}

#[tokio::test]
async fn a_unit_that_somebody_else_has_started_is_read_again_before_it_is_restarted() {
    let machine = Machine::new();
    with_systemd(&machine);
    for name in ["theirs.service", "new.service"] {
        let before = if name == "new.service" { DOWN } else { RUNS };
        machine.sh(&format!("printf '%s' '{before}' > /units/{name}"));
        machine.sh(&format!("printf '%s' '{RUNS}' > /units/{name}.then"));
    }
    machine.settles(&[unit("new.service")]).await;
    assert_eq!(machine.sh("cat /reread 2>/dev/null || :"), "", "its file is read as it starts");
    machine.settles(&[unit("theirs.service")]).await;
    assert_eq!(machine.sh("cat /reread; tail -n 1 /restarted"), "reread\ntheirs.service");
}
