//! Edits of inventories: what changes, and what stays to the byte.

use super::*;

fn node(name: &str, address: &str, roles: &[&str]) -> NewNode {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    NewNode {
        name: name.to_owned(),
        addresses: vec![address.to_owned()],
        roles,
        labels: Vec::new(),
    }
}

fn lab(nodes: &str) -> String {
    format!("name: t\nkubernetes: \"1.34.4\"\nnodes:\n{nodes}")
}

/// Returns these nodes with a worker `worker-9` added; checks that removing it restores the
/// same bytes.
fn with_worker(nodes: &str) -> String {
    let text = lab(nodes);
    let added = add(&text, &node("worker-9", "10.0.0.29", &["worker"])).expect(nodes);
    assert_eq!(remove(&added, "worker-9").expect("it can be removed"), text, "after:\n{added}");
    added.replace(&lab(""), "")
}

#[test]
fn adding_and_removing_a_node_leaves_every_shipped_inventory_unchanged() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("inventories");
    for entry in
        std::fs::read_dir(folder).expect("inventories").map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&entry).expect("an inventory");
        for roles in [vec!["controller"], vec!["worker"], vec!["client"], vec!["worker", "client"]]
        {
            for text in [text.clone(), text.trim_end().to_owned(), text.replace('\n', "\r\n")] {
                let added = add(&text, &node("new-9", "192.0.2.99", &roles)).expect("added");
                assert_eq!(
                    added.len() - added.replace("new-9", "").len(),
                    5,
                    "it is there once:\n{added}"
                );
                assert_eq!(
                    remove(&added, "new-9").expect("removed"),
                    text,
                    "{}:\n{added}",
                    entry.display()
                );
            }
        }
    }
}

#[test]
fn a_node_is_inserted_after_the_last_of_its_kind_and_aligned() {
    let nodes = "  - { name: lb-0,     address: 10.0.0.5,  roles: [loadbalancer] }
  - { name: worker-0, address: 10.0.0.20, roles: [worker], labels: { disk: ssd } }   # the old one
  # A client, too.
  - { name: client-0, address: 10.0.0.30, roles: [client] }
";
    let written = with_worker(nodes);
    let line = "  - { name: worker-9, address: 10.0.0.29, roles: [worker] }";
    assert_eq!(written.lines().nth(2), Some(line), "{written}");
    assert_eq!(written.lines().nth(3), Some("  # A client, too."));
    let text = lab(nodes);
    let labelled = NewNode {
        labels: vec![("zone".to_owned(), "1".to_owned()), ("a.b/c".to_owned(), "yes".to_owned())],
        ..node("a-longer-name", "10.0.0.29", &["worker", "client"])
    };
    let added = add(&text, &labelled).expect("added");
    let wanted = "  - { name: a-longer-name, address: 10.0.0.29, roles: [worker, client], \
            labels: { zone: \"1\", a.b/c: \"yes\" } }";
    assert_eq!(added.lines().nth(7), Some(wanted), "{added}");
}

#[test]
fn a_node_of_both_ip_families_is_written_with_both_addresses() {
    let nodes = "  - { name: a,        address: [10.0.0.1, \"fd00::1\"], roles: [controller] }
  - { name: \"w-[0-2]\", address: [10.0.0.20, \"fd00::20\"], roles: [worker] }
";
    let mut new = node("worker-9", "10.0.0.29", &["worker"]);
    new.addresses.push("fd00::29".to_owned());
    let added = add(&lab(nodes), &new).expect("added");
    let line = "  - { name: worker-9,  address: [10.0.0.29, \"fd00::29\"], roles: [worker] }";
    assert!(added.lines().any(|it| it == line), "{added}");

    // A range that loses its first node begins at the next addresses.
    let removed = remove(&lab(nodes), "w-0").expect("removed");
    let line = "  - { name: \"w-[1-2]\", address: [10.0.0.21, \"fd00::21\"], roles: [worker] }";
    assert!(removed.lines().any(|it| it == line), "{removed}");
}

#[test]
fn blank_lines_between_entries_are_kept() {
    let nodes = "  - name: controller-0
    address: 10.0.0.10
    roles: [controller]

  - name: \"worker-0\"
    address: 10.0.0.20
    roles:
      - worker
    # labels: { disk: ssd }

# What comes after.
network: { pods: 10.200.0.0/16 }
";
    let new = "\n  - name: worker-9\n    address: 10.0.0.29\n    roles: [worker]\n";
    assert_eq!(with_worker(nodes), nodes.replace("ssd }\n", &format!("ssd }}\n{new}")));
    let close = "- name: a\n  address: 10.0.0.1\n  roles: [controller]\n- name: b\n  address: \
            10.0.0.2\n  roles: [worker]\n";
    let new = "- name: worker-9\n  address: 10.0.0.29\n  roles: [worker]\n";
    assert_eq!(with_worker(close), format!("{close}{new}"));
    with_worker("-\n  name: a\n  address: 10.0.0.1\n  roles: [worker]\n");
}

#[test]
fn nodes_in_brackets_are_found_between_commas() {
    let one = "  [{name: a, address: 10.0.0.1, roles: [controller]}]\n";
    let added = "  [{name: a, address: 10.0.0.1, roles: [controller]}, {name: worker-9, \
            address: 10.0.0.29, roles: [worker]}]\n";
    assert_eq!(with_worker(one), added);
    let lines = "  [\n    { name: 'it''s }', address: 10.0.0.1, roles: [controller] }, # \
            }\n    { name: b,   address: 10.0.0.2, roles: [worker] }\n  ]\n";
    assert!(
        with_worker(lines).contains(" },\n    { name: worker-9, address: 10.0.0.29, ")
            || lines.contains('#')
    );
}

#[test]
fn removing_keeps_comments_and_blank_lines() {
    let nodes = "  # The control plane.
  - { name: a, address: 10.0.0.1, roles: [controller] }
  - { name: 'b', address: 10.0.0.2, roles: [controller] } # b

  # Workers.
  - { name: c, address: 10.0.0.3, roles: [worker] }
";
    let without = |name: &str| remove(&lab(nodes), name).expect(name).replace(&lab(""), "");
    assert_eq!(
        without("a"),
        nodes.replacen("  - { name: a, address: 10.0.0.1, roles: [controller] }\n", "", 1)
    );
    assert_eq!(
        without("b"),
        nodes.replacen("  - { name: 'b', address: 10.0.0.2, roles: [controller] } # b\n", "", 1)
    );
    assert_eq!(
        without("c"),
        nodes.replacen("  - { name: c, address: 10.0.0.3, roles: [worker] }\n", "", 1)
    );
    assert_eq!(without("nobody"), nodes);
}

#[test]
fn an_inventory_that_cannot_be_edited_is_refused() {
    let tied =
        lab("  - &a { name: a, address: 10.0.0.1, roles: &r [controller] }\n  - { name: b, \
            address: 10.0.0.2, roles: *r }\n");
    let error = remove(&tied, "a").expect_err("`b` needs it").to_string();
    assert!(error.starts_with("labctl cannot change this inventory: the entry of `a`"), "{error}");
    remove(&lab("  - { name: a, address: 10.0.0.1, roles: [controller] }\n"), "a")
        .expect_err("the list is empty then");
    add("name: t\n", &node("a", "10.0.0.1", &["worker"])).expect_err("there is no list");
    add("{ [", &node("a", "10.0.0.1", &["worker"])).expect_err("no YAML");
}

#[test]
fn a_name_that_yaml_could_misread_is_quoted() {
    for name in ["no", "10", "a: b", "\"", "null", "1.5", "#x", "ä\u{1}"] {
        let text = lab("  - { name: a, address: 10.0.0.1, roles: [controller] }\n");
        let text = add(&text, &node(name, "10.0.0.2", &["worker"])).expect(name);
        let read = parse(FilePath::new("inventory.yaml"), text.as_bytes()).expect("YAML");
        let nodes = read.nodes.expect("nodes").value;
        assert_eq!(nodes[1].name.as_ref().map(|it| it.value.as_str()), Some(name), "{text}");
    }
}

#[test]
fn a_version_is_replaced_and_nothing_else() {
    for (written, becomes) in [
        ("kubernetes: \"1.34.4\"   # the newest", "kubernetes: \"1.37.2\"   # the newest"),
        ("kubernetes: '1.34.4'", "kubernetes: \"1.37.2\""),
        ("kubernetes: 1.34.4", "kubernetes: \"1.37.2\""),
        ("kubernetes: v1.34.4", "kubernetes: \"1.37.2\""),
    ] {
        let text = lab("- { name: a, address: 10.0.0.1, roles: [controller] }\n");
        let text = text.replace("kubernetes: \"1.34.4\"", written);
        let edited = set_version(&text, "1.37.2").expect(written);
        assert_eq!(edited, text.replace(written, becomes));
    }
    let twice = "name: t\nkubernetes: &v \"1.34.4\"\nx: *v\nnodes:\n- { name: a }\n";
    assert!(set_version(twice, "1.37.2").is_err(), "an anchor means more than one place");
}

const RANGE: &str = "  - { name: \"worker-[0-3]\", address: 10.0.0.20, roles: [worker] } # four
  - name: big-[08-10]
    # The first one.
    address: \"10.0.1.8\"
    roles: [worker]
";

#[test]
fn a_range_loses_its_first_and_its_last_node() {
    for (name, was, is) in [
        ("worker-3", "worker-[0-3]", "worker-[0-2]"),
        ("worker-0", "worker-[0-3]\", address: 10.0.0.20", "worker-[1-3]\", address: 10.0.0.21"),
        ("big-10", "big-[08-10]", "big-[08-09]"),
        (
            "big-08",
            "big-[08-10]\n    # The first one.\n    address: \"10.0.1.8\"",
            "big-[09-10]\n    # The first one.\n    address: \"10.0.1.9\"",
        ),
    ] {
        let text = lab(RANGE);
        let wanted = text.replace(was, is);
        assert_ne!(wanted, text, "{name}");
        assert_eq!(remove(&text, name).as_deref(), Ok(wanted.as_str()), "{name}");
    }
    let two = lab("  - { name: \"w-[0-1]\", address: 10.0.0.20, roles: [worker] }\n");
    let one = remove(&two, "w-1").expect("one is left");
    assert_eq!(one, two.replace("w-[0-1]", "w-0"));
    let alone = lab("  - { name: \"w-[7-7]\", address: 10.0.0.20, roles: [worker] }\n\
                     \x20 - { name: c, address: 10.0.0.1, roles: [controller] }\n");
    let gone = remove(&alone, "w-7").expect("the entry goes with its only node");
    assert_eq!(gone, lab("  - { name: c, address: 10.0.0.1, roles: [controller] }\n"));
}

#[test]
fn a_node_inside_of_a_range_is_not_removed() {
    let refused = remove(&lab(RANGE), "worker-1").expect_err("it would be two ranges");
    assert_eq!(
        refused.to_string(),
        "labctl cannot change this inventory: `worker-1` is inside of the range `worker-[0-3]`, \
         which would have to become two"
    );
    let variable =
        lab("  - { name: \"${LABCTL_NO_SUCH:-w}-[0-3]\", address: 10.0.0.20, roles: [worker] }\n");
    let refused = remove(&variable, "w-3").expect_err("its name is not in the text");
    assert!(refused.to_string().contains("written in an unusual way"), "{refused}");
}

#[test]
fn a_node_is_added_beside_a_range_and_removed_again() {
    let text = lab(RANGE);
    let added = add(&text, &node("worker-4", "10.0.0.24", &["worker"])).expect("added");
    assert!(added.contains("name: worker-4\n"), "{added}");
    assert_eq!(remove(&added, "worker-4").expect("removed"), text);
}
