//! Files and binaries: whole or not at all, pushed once, repaired, and what was there before kept.

use super::*;
use crate::teardown;

#[tokio::test]
async fn files_settle_with_content_mode_and_any_name() {
    let machine = Machine::new();
    let desired = [
        text("/etc/plain", "hello\n"),
        text("/etc/empty", ""),
        text("/etc/deep/er/file", "no newline at the end"),
        text("/etc/it's a $(file) `name` \"here\"", "x"),
        text(
            "/etc/systemd/system/dev-disk\\x2dlabel.mount",
            "a backslash, as systemd escapes names",
        ),
        text("/etc/-n", "a dash"),
        file("/etc/secret", "600", Content::inline(&[0, 255, 10, 13][..])),
        file("/etc/setuid", "4755", Content::inline(&b"#!/bin/sh\n"[..])),
    ];
    assert_eq!(machine.settles(&desired).await.found.len(), desired.len());
    assert_eq!(
        machine.sh("cat /etc/plain; stat -c %a /etc/secret /etc/setuid"),
        "hello\n600\n4755"
    );
    assert_eq!(
        machine.sh("cd /etc && find . -name '*labctl*' ! -name '*.conf' | head"),
        "",
        "no temporary file is left"
    );
    assert!(
        machine.record().contains(&"directory /etc/deep/er".to_owned()),
        "{:?}",
        machine.record()
    );
    assert_eq!(
        machine.sh("ls /var/lib/labctl/runs 2>/dev/null || :"),
        "",
        "a run leaves no folder of its own"
    );
}

#[tokio::test]
async fn a_file_that_was_edited_or_chmodded_or_swapped_is_noticed_and_repaired() {
    let machine = Machine::new();
    let desired = [text("/etc/file", "right")];
    machine.settles(&desired).await;
    for (damage, noticed) in [
        ("printf wrong > /etc/file", "content differs"),
        // The same length, and the modification time put back.
        (
            "touch -r /etc/file /t; printf write > /etc/file; touch -r /t /etc/file",
            "content differs",
        ),
        ("chmod 600 /etc/file", "mode 600 should be 644"),
        ("chown 1:1 /etc/file", "owner daemon:daemon should be root:root"),
        ("rm /etc/file", "missing"),
        ("rm /etc/file; ln -s /etc/hostname /etc/file", "is a symbolic link, not a file"),
        ("rm /etc/file; mkdir /srv/x; ln -s /srv/x /etc/file", "is a symbolic link, not a file"),
    ] {
        machine.sh(damage);
        assert_eq!(why(&machine.settles(&desired).await.found), noticed, "after `{damage}`");
    }
    assert_eq!(machine.sh("ls /srv/x"), "", "what a link of somebody points at stays as it is");
    machine.sh("touch /etc/file");
    assert_eq!(machine.differences(&desired).await, [], "a new time stamp alone changes nothing");
}

#[tokio::test]
async fn a_folder_where_a_file_should_be_is_refused_and_kept() {
    let machine = Machine::new();
    machine.sh("mkdir /etc/file && echo mine > /etc/file/mine");
    let converged = machine.converge(&[text("/etc/file", "ours")]).await;
    assert_eq!(converged.failure().stderr, ["/etc/file is a folder, and a file is wanted there"]);
    assert_eq!(machine.sh("ls -A /etc/file; cat /etc/file/mine"), "mine\nmine");
}

#[tokio::test]
async fn the_second_probe_reads_no_large_file_and_all_small_ones_at_once() {
    let (machine, workstation) = (Machine::new(), tempfile::tempdir().expect("a folder"));
    let tool = blob(workstation.path(), "tool", &[7; 300_000]);
    let desired = [
        text("/etc/a", "a"),
        text("/etc/ab", "b"),
        file("/usr/local/bin/tool", "755", tool),
        text("/etc/empty", ""),
    ];
    machine.settles(&desired).await;
    machine.shim("sha256sum", "echo \"$@\" >> /hashed; exec /usr/bin/sha256sum \"$@\"");
    machine.sh(": > /hashed");
    assert_eq!(machine.differences(&desired).await, []);
    assert_eq!(machine.sh("cat /hashed"), "-- /etc/a /etc/ab /etc/empty", "by one program");
    machine.sh(": > /hashed; touch /usr/local/bin/tool");
    assert_eq!(machine.differences(&desired).await, []);
    let read = machine.sh("cat /hashed");
    assert!(read.contains("/usr/local/bin/tool"), "what was touched is read again: {read}");
}

#[tokio::test]
async fn a_binary_is_pushed_once_and_linked_into_place() {
    let (machine, workstation) = (Machine::new(), tempfile::tempdir().expect("a folder"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    let content = blob(workstation.path(), "tool", &bytes);
    let sha = content.sha256().to_owned();
    let desired = [file("/usr/local/bin/tool", "755", content.clone())];
    machine.settles(&desired).await;
    let stored = format!("/var/lib/labctl/blobs/{sha}");
    assert_eq!(
        machine.sh(&format!("[ {stored} -ef /usr/local/bin/tool ] && sha256sum < {stored}")),
        format!("{sha}  -")
    );

    machine.sh("rm /usr/local/bin/tool");
    let again = machine.settles(&desired).await;
    assert!(
        !again.events.iter().any(|event| matches!(event, Event::Pushing { .. })),
        "the node has it already"
    );
    machine.sh("chmod 700 /usr/local/bin/tool");
    assert_eq!(why(&machine.settles(&desired).await.found), "mode 700 should be 755");

    // The same bytes under another mode must not pull the first one along.
    let both = [
        desired[0].clone(),
        file("/opt/tool", "700", content.clone()),
        file("/opt/third", "755", content),
    ];
    machine.settles(&both).await;
    assert_eq!(machine.sh("stat -c %a /usr/local/bin/tool /opt/tool /opt/third"), "755\n700\n755");
}

#[tokio::test]
async fn a_binary_that_was_changed_in_place_is_repaired_though_its_blob_changed_with_it() {
    let (machine, workstation) = (Machine::new(), tempfile::tempdir().expect("a folder"));
    let content = blob(workstation.path(), "tool", &[1; 100_000]);
    let desired = [file("/usr/local/bin/tool", "755", content)];
    machine.settles(&desired).await;
    machine.sh("printf x | dd of=/usr/local/bin/tool conv=notrunc status=none");
    let repaired = machine.settles(&desired).await;
    assert_eq!(why(&repaired.found), "content differs");
    assert!(
        repaired.events.iter().any(|event| matches!(event, Event::Pushing { .. })),
        "its blob is no good either"
    );
}

#[tokio::test]
async fn what_was_there_before_is_kept_and_the_record_tells() {
    let machine = Machine::new();
    machine.sh(
        "mkdir /etc/app; echo theirs > /etc/app/a; chmod 640 /etc/app/a; ln -s a /etc/app/link",
    );
    let desired =
        [text("/etc/app/a", "ours"), text("/etc/app/link", "ours"), text("/etc/app/new", "ours")];
    machine.settles(&desired).await;
    assert_eq!(
        machine.record(),
        ["replaced /etc/app/a", "replaced /etc/app/link", "file /etc/app/new"]
    );
    let originals =
        "cd /var/lib/labctl/originals/etc/app && cat a && stat -c %a a && readlink link";
    assert_eq!(machine.sh(originals), "theirs\n640\na");
    machine.settles(&[text("/etc/app/a", "ours, newer")]).await;
    assert_eq!(
        machine.sh(originals),
        "theirs\n640\na",
        "the first original is the one that comes back"
    );
    assert_eq!(machine.record().len(), 3);
}

#[tokio::test]
async fn files_appear_whole_or_not_at_all() {
    let machine = Machine::new();
    machine.sh("echo old > /etc/file");
    // A disk that is full in the middle of the copy.
    machine.shim(
        "install",
        "for last; do :; done; printf torn > \"$last\"; echo 'no space left' >&2; exit 1",
    );
    let converged = machine.converge(&[text("/etc/file", "new and whole")]).await;
    assert_eq!(converged.failure().stderr, ["no space left"], "{:?}", converged.failure());
    assert_eq!(machine.sh("cat /etc/file; find /etc -name '*.labctl-*'"), "old");

    // A disk that tears what is written: the copy is shorter than what was sent.
    machine
        .shim("install", "/usr/bin/install \"$@\"; for last; do :; done; printf torn > \"$last\"");
    let converged = machine.converge(&[text("/etc/file", "new and whole")]).await;
    assert_eq!(
        converged.failure().stderr,
        ["/etc/file: what arrived has another checksum than what was sent"],
        "{:?}",
        converged.failure()
    );
    assert_eq!(machine.sh("cat /etc/file; find /etc -name '*.labctl-*'"), "old");
}

#[tokio::test]
async fn a_run_that_is_killed_in_the_middle_is_finished_by_the_next() {
    let machine = Machine::new();
    let before = [text("/etc/cni/net.d/10-a.conflist", "one"), hosts(&[("worker-0", 20)])];
    let killer =
        [text("/etc/cni/net.d/20-b.conflist", "two"), command("touch /done", "[ -e /done ]")];
    let desired = [&before[..], &killer[..]].concat();
    // Killed between writing the second file's temporary copy and renaming it.
    machine.shim(
        "mv",
        "case $* in *20-b*) [ -e /armed ] || { : > /armed; kill -9 0; };; esac; \
        exec /bin/mv \"$@\"",
    );
    let killed = machine.converge(&desired).await;
    assert!(!killed.applied.ok && machine.sh("ls /armed") == "/armed", "{:#?}", killed.events);
    let hidden = "cd /etc/cni/net.d && ls -A | grep -v '^[12]0-.*conflist$' || :";
    assert!(
        !machine.sh(hidden).ends_with("conflist"),
        "no reader of the folder takes the leftover for a configuration"
    );
    machine.settles(&desired).await;
    assert_eq!(machine.sh("cat /etc/cni/net.d/*; ls /done"), "onetwo/done");
    assert_eq!(machine.sh(hidden), "", "the leftover is gone");
    assert_eq!(
        machine.sh("ls -A /var/lib/labctl/runs 2>/dev/null || :"),
        "",
        "so are the files that were sent, keys among them"
    );
    let record = machine.record();
    let unique: std::collections::BTreeSet<_> = record.iter().collect();
    assert_eq!(unique.len(), record.len(), "everything is recorded once: {record:?}");
}

#[tokio::test]
async fn a_push_that_is_cut_off_leaves_no_half_blob() {
    let (machine, workstation) = (Machine::new(), tempfile::tempdir().expect("a folder"));
    let desired = [
        file("/usr/local/bin/whole", "755", blob(workstation.path(), "whole", &[1; 50_000])),
        file("/usr/local/bin/cut", "755", blob(workstation.path(), "cut", &[2; 50_000])),
    ];
    // What arrives ends before the blob does. All of it is read first: what is left unread would be
    // taken for a line.
    machine.shim("dd", "/usr/bin/dd \"$@\" > /arrived; head -c 40000 /arrived");
    let converged = machine.converge(&desired).await;
    assert!(
        converged.failure().reason.contains("did not arrive completely"),
        "{:?}",
        converged.failure()
    );
    assert_eq!(machine.sh("ls -A /var/lib/labctl/blobs"), "");
    machine.sh("rm /usr/local/sbin/dd; : > /var/lib/labctl/blobs/.incoming-old");
    machine.settles(&desired).await;
    assert_eq!(machine.sh("ls -A /var/lib/labctl/blobs | wc -l"), "2");
}

#[tokio::test]
async fn a_file_that_had_two_names_has_two_again() {
    let machine = teardown::machine("directory /srv/none");
    machine
        .sh("mkdir /srv/bin; cd /srv/bin; echo theirs > ctr; ln ctr other; ln -s other symbolic");
    machine.settles(&[text("/srv/bin/ctr", "ours"), text("/srv/bin/symbolic", "ours")]).await;
    assert_eq!(machine.sh("cat /srv/bin/ctr; cat /srv/bin/other"), "ourstheirs");
    machine.settles(&teardown::down()).await;
    assert_eq!(
        machine.sh("cd /srv/bin; [ ctr -ef other ] && stat -c %h ctr && readlink symbolic"),
        "2\nother"
    );
}
