//! `labctl plan`: it says exactly what `up` does, shows no secret, and leaves no trace, neither on
//! a node nor here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::lab::{Lab, Run};

/// A playbook small enough that its node stands still between two looks at it.
const PLAYBOOK: &str = "\
name: up
plays:
  - name: files
    hosts: all
    tasks:
      - directory: { path: /etc/quiet }
      - file: { content: \"one\\ntwo\\nTHREE\\n\", to: /etc/quiet/text }
      - file:
          content: 'key {{ encryption_keys[0].secret }} end'
          to: /etc/quiet/secret
          mode: '0600'
      - file: { from: pki/admin.crt, to: /etc/quiet/admin.crt }
      - file: { from: kubeconfig/admin.conf, to: /etc/quiet/admin.conf, mode: '0600' }
      - binary: { from: etcdctl, to: /usr/local/bin/etcdctl }
      - sysctl: { key: net.ipv4.tcp_keepalive_probes, value: '5' }
      - hosts: { mark: labctl, address: 192.0.2.7, name: elsewhere }
      - command: { run: touch /etc/quiet/ran, unless: test -e /etc/quiet/ran }
  - name: unit
    hosts: all
    after: [files]
    tasks:
      - file:
          content: \"[Service]\\nExecStart=/usr/bin/sleep \
    SECONDS\\n[Install]\\nWantedBy=multi-user.target\\n\"
          to: /etc/systemd/system/quiet.service
      - unit: { name: quiet.service, state: started, uses: [/etc/quiet/text, /etc/quiet/secret] }
";

/// The changes that a run planned, as (task, why, all of it).
fn planned(run: &Run) -> BTreeMap<String, Value> {
    let planned = run.all("planned").next().unwrap_or_else(|| panic!("a plan: {}", run.story()));
    let changes = planned["changes"].as_array().expect("changes").iter();
    changes
        .map(|change| (change["task"].as_str().expect("a task").to_owned(), change.clone()))
        .collect()
}

/// Everything on the node's disk with every time except that of the last reading. What a login
/// itself leaves, whoever logs in, is not on it (/run) or is the journal.
fn everything_on(lab: &Lab, node: &str) -> BTreeSet<String> {
    let find = "find / -xdev \\( -path /run -o -path /var/log/journal \\) -prune -o -printf '%p \
        %T@ %C@ %s %m %U %i\\n'";
    lab.on(node, find).lines().map(str::to_owned).collect()
}

/// Every file of the lab directory with its content and time, except the file systems of local
/// nodes.
fn lab_directory(folder: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            let time =
                fs::symlink_metadata(&path).expect("it is there").modified().expect("a time");
            if kind.is_dir() && entry.file_name() != "nodes" {
                open.push(path.clone());
            }
            let content =
                if kind.is_file() { fs::read(&path).expect("readable") } else { Vec::new() };
            found.insert(path.display().to_string(), (content, time));
        }
    }
    found
}

#[test]
fn a_plan_says_what_up_does_and_leaves_no_trace() {
    let lab = Lab::new("single");
    let mine = lab.folder().join("mine");
    fs::create_dir(&mine).expect("a folder");
    let playbook = |text: &str| fs::write(mine.join("up.yaml"), text).expect("a playbook");
    let verb = |verb: &str| lab.run(&[verb, "--playbooks", "mine"]);
    let first = PLAYBOOK.replace("THREE", "three").replace("SECONDS", "1000000");
    playbook(&first);

    // Of a lab that is not there yet, all is planned and nothing is made.
    let plan = verb("plan");
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    let here: Vec<&Value> = plan.all("preparation").collect();
    assert!(
        here.iter()
            .any(|it| it["what"] == "local_node" && it["node"] == "node-0" && it["made"] == true)
    );
    assert!(
        here.iter()
            .any(|it| it["what"] == "certificate" && it["name"] == "ca" && it["why"] == "new")
    );
    assert_eq!(planned(&plan).len(), 11, "{}", plan.story());
    assert!(!lab.directory().exists(), "a plan makes no lab directory");

    let up = verb("up");
    assert_eq!((up.code, up.changed()), (Some(0), 11), "{}", up.story());
    let issued = up.all("preparation").filter(|it| it["what"] == "certificate").count();
    assert_eq!(issued, here.len() - 1, "what was planned to be issued was issued");
    let settled = verb("plan");
    assert_eq!(settled.code, Some(0), "{}", settled.story());

    // Something of every kind is to be done: the playbook changed, and somebody was at the node and
    // at the lab.
    playbook(&PLAYBOOK.replace("SECONDS", "2000000"));
    lab.on(
        "node-0",
        "echo hidden-by-hand >> /etc/quiet/secret; chmod 644 /etc/quiet/admin.conf; rm \
        /etc/quiet/ran; \
         echo shorter > /usr/local/bin/etcdctl; sysctl -qw net.ipv4.tcp_keepalive_probes=7",
    );
    for half in ["admin.crt", "admin.key"] {
        fs::remove_file(lab.directory().join("pki").join(half)).expect("it was there");
    }
    // The first look after a change may itself be what makes the node's programs write; the second
    // one counts.
    everything_on(&lab, "node-0");
    let (node, directory) = (everything_on(&lab, "node-0"), lab_directory(&lab.directory()));
    assert!(node.len() > 1000 && directory.len() > 30, "{} {}", node.len(), directory.len());
    let plan = verb("plan");
    let after = everything_on(&lab, "node-0");
    let touched: Vec<&String> = after.symmetric_difference(&node).collect();
    assert_eq!(touched, Vec::<&String>::new(), "a plan leaves the node as it is");
    assert_eq!(lab_directory(&lab.directory()), directory, "and the lab directory");

    assert_eq!(plan.code, Some(3), "{}", plan.story());
    let issued: Vec<&Value> = plan.all("preparation").collect();
    assert_eq!(
        (issued.len(), &issued[0]["name"], &issued[0]["why"]),
        (1, &"admin".into(), &"new".into())
    );
    let changes = planned(&plan);
    let shown = |task: &str, field: &str| {
        changes.get(task).unwrap_or_else(|| panic!("{task} differs"))[field].clone()
    };
    assert_eq!(shown("/etc/quiet/text", "diff"), "@@ -1,3 +1,3 @@\n one\n two\n-three\n+THREE\n");
    assert_eq!(shown("/etc/quiet/secret", "secret"), true);
    assert_eq!(shown("/etc/quiet/secret", "diff"), Value::Null);
    assert_eq!(
        shown("/etc/quiet/admin.crt", "diff"),
        Value::Null,
        "the lines of a certificate say nothing"
    );
    let mode = serde_json::json!([{ "what": "mode", "from": "644", "to": "600" }]);
    assert_eq!(
        (shown("/etc/quiet/admin.conf", "values"), shown("/etc/quiet/admin.conf", "secret")),
        (mode, true.into())
    );
    assert_eq!(shown("/usr/local/bin/etcdctl", "values")[1]["from"], "8");
    assert_eq!(shown("sysctl net.ipv4.tcp_keepalive_probes", "why"), "7 should be 5");
    assert_eq!(shown("unit quiet.service", "kind"), "restart");
    let because = ["/etc/quiet/text changed", "/etc/systemd/system/quiet.service changed"];
    assert_eq!(shown("unit quiet.service", "because"), serde_json::json!(because));
    assert!(
        !plan.events.iter().any(|event| event.to_string().contains("hidden-by-hand")),
        "no secret is told"
    );

    // The same for a person.
    let said = lab.labctl(&["plan", "--playbooks", "mine"]).output().expect("labctl starts");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    for line in
        ["        -three\n        +THREE\n", "content differs (secret)\n", "    + admin  new\n"]
    {
        assert!(said.contains(line), "`{line}` in\n{said}");
    }
    assert!(!said.contains("hidden-by-hand"), "{said}");

    // `up` does just that: the same plan, and every task of it and no other.
    let up = verb("up");
    assert_eq!(up.code, Some(0), "{}", up.story());
    assert_eq!(planned(&up), changes);
    let done: BTreeSet<&str> =
        up.all("task_ended").filter_map(|task| task["task"].as_str()).collect();
    assert_eq!(done, changes.keys().map(String::as_str).collect());
    assert_eq!(verb("plan").code, Some(0));

    // Where a node does not answer, the plan is for the others and says so.
    let own = format!(
        "name: own\nkubernetes: \"1.36.3\"\nbundle: {}\nssh: {{ identity: {} }}\nnodes:\n  \
         - {{ name: node-0, address: 10.231.0.10, roles: [controller] }}\n  \
         - {{ name: ghost, address: 192.0.2.1, roles: [worker], ssh: {{ host: 127.0.0.1, port: 1 \
        }} }}\n",
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("bundle")
            .canonicalize()
            .expect("a bundle")
            .display(),
        lab.directory().join("ssh/id_ed25519").display(),
    );
    fs::write(lab.folder().join("own.yaml"), own).expect("an inventory");
    let folder = lab.folder().join(".labctl/own");
    fs::create_dir(&folder).expect("a lab directory");
    fs::copy(lab.directory().join("known_hosts"), folder.join("known_hosts")).expect("known hosts");
    let partial = lab.run(&["plan", "own.yaml", "--playbooks", "mine", "--take-over", "node-0"]);
    assert_eq!(partial.code, Some(1), "{}", partial.story());
    assert_eq!(
        partial.all("planned").next().expect("a plan")["left_out"],
        serde_json::json!(["ghost"])
    );
    let changes = planned(&partial);
    assert!(
        changes.contains_key("/etc/quiet/admin.crt")
            && changes.values().all(|change| change["node"] == "node-0")
    );
    let said = lab
        .labctl(&["plan", "own.yaml", "--playbooks", "mine", "--take-over", "node-0"])
        .output()
        .expect("labctl starts");
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(
        out.contains("as desired; without ghost.\n") && err.contains("connection refused"),
        "{out}{err}"
    );
    fs::remove_dir_all(folder).expect("it goes");
    lab.must(&["down", "--yes"]);
}
