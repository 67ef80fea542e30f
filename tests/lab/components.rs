//! What an inventory says of the lab's programs: flags and configuration files, as the programs
//! themselves report them.

use std::fs;

use crate::lab::Lab;
use crate::{goes_without_a_trace, is_settled};

const COMPONENTS: &str = "\
components:
  etcd: { flags: { snapshot-count: 20000 } }
  kube-apiserver:
    flags:
      audit-log-maxage: null
      enable-admission-plugins: [NodeRestriction, DenyServiceExternalIPs]
      event-ttl: 2h
      feature-gates: { APIServingWithRoutine: true }
  kube-controller-manager: { flags: { kube-api-qps: 60 } }
  kube-scheduler: { config: { percentageOfNodesToScore: 42 } }
  containerd: { config: { debug: { level: debug } } }
  kubelet:
    flags: { v: 3 }
    config: { maxPods: 42, podPidsLimit: null, evictionHard: { memory.available: 64Mi } }
  kube-proxy: { config: { iptables: { minSyncPeriod: 3s } } }

";

/// The arguments of a program that runs on the node, one per line.
fn arguments(lab: &Lab, program: &str) -> Vec<String> {
    let show = format!("tr '\\0' '\\n' < /proc/$(pidof -s {program})/cmdline");
    lab.on("node-0", &show).lines().map(str::to_owned).collect()
}

fn has_argument(lab: &Lab, program: &str, argument: &str) -> bool {
    arguments(lab, program).iter().any(|it| it == argument)
}

fn write(lab: &Lab, change: impl Fn(&str) -> String) {
    let path = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&path).expect("an inventory");
    let changed = change(&text);
    assert_ne!(text, changed);
    fs::write(&path, changed).expect("an inventory");
}

fn asked(lab: &Lab, path: &str) -> String {
    let output = lab.kubectl(&format!("get --raw {path}"));
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn programs_run_with_what_the_inventory_says_of_them() {
    let lab = Lab::changed("single", &[("nodes:\n", &format!("{COMPONENTS}nodes:\n"))]);

    // A flag that the version does not know, and a value that it does not take, are refused before
    // there is any machine.
    write(&lab, |text| text.replace("event-ttl:", "event-tll:"));
    for verb in ["validate", "plan", "up"] {
        let refused = lab.run(&[verb]);
        assert_eq!(refused.code, Some(2), "{verb}: {}", refused.story());
        for part in ["has no flag `event-tll`", "did you mean `event-ttl`?", "inventory.yaml:"] {
            assert!(refused.stderr.contains(part), "{verb}: {part}: {}", refused.stderr);
        }
    }
    write(&lab, |text| text.replace("event-tll: 2h", "event-ttl: long"));
    let refused = lab.run(&["up"]);
    assert_eq!(refused.code, Some(2), "{}", refused.story());
    assert!(refused.stderr.contains("`--event-ttl=long`"), "{}", refused.stderr);
    assert!(!lab.directory().join("nodes").exists(), "no machine was made");

    write(&lab, |text| text.replace("event-ttl: long", "event-ttl: 2h"));
    lab.must(&["up"]);
    for (program, argument) in [
        ("etcd", "--snapshot-count=20000"),
        ("kube-apiserver", "--event-ttl=2h"),
        ("kube-apiserver", "--enable-admission-plugins=NodeRestriction,DenyServiceExternalIPs"),
        ("kube-controller-manager", "--kube-api-qps=60"),
        ("kubelet", "--v=3"),
    ] {
        assert!(has_argument(&lab, program, argument), "{:?}", arguments(&lab, program));
    }
    let api = arguments(&lab, "kube-apiserver");
    assert!(!api.iter().any(|it| it.starts_with("--audit-log-maxage")), "{api:?}");
    let gate = "kubernetes_feature_enabled{name=\"APIServingWithRoutine\",stage=\"ALPHA\"} 1";
    assert!(asked(&lab, "/metrics").contains(gate), "the feature is on");
    let kubelet = asked(&lab, "/api/v1/nodes/node-0/proxy/configz");
    for part in ["\"maxPods\":42", "\"memory.available\":\"64Mi\"", "\"nodefs.available\":\"1%\""] {
        assert!(kubelet.contains(part), "{part} in {kubelet}");
    }
    assert!(!kubelet.contains("\"podPidsLimit\":4096"), "{kubelet}");
    let proxy = lab.on("node-0", "curl -s --noproxy '*' http://127.0.0.1:10249/configz");
    // Releases differ in how they write the keys: with a capital letter, and without.
    assert!(proxy.to_lowercase().contains("\"minsyncperiod\":\"3s\""), "{proxy}");
    let scheduler = lab.on(
        "node-0",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:10259 \
         get --raw /configz",
    );
    let scheduler = scheduler.to_lowercase();
    assert!(scheduler.contains("\"percentageofnodestoscore\":42"), "{scheduler}");
    let debug = lab.on("node-0", "journalctl --no-pager -u containerd | grep -c level=debug");
    assert_ne!(debug, "0");
    is_settled(&lab);

    // What is taken out of the inventory is as labctl sets it again.
    write(&lab, |text| text.replace(COMPONENTS, ""));
    lab.must(&["up"]);
    assert!(has_argument(&lab, "kube-apiserver", "--audit-log-maxage=30"));
    assert!(!has_argument(&lab, "kube-apiserver", "--event-ttl=2h"));
    assert!(!asked(&lab, "/api/v1/nodes/node-0/proxy/configz").contains("\"maxPods\":42"));
    is_settled(&lab);
    goes_without_a_trace(&lab);
}

const NODE: &str =
    "  - { name: node-0, address: 10.231.0.10, roles: [controller, worker, loadbalancer, client] }";
const WORKER: &str = "
  - name: extra
    address: 10.231.0.11
    roles: [worker]
    labels: { disk: ssd, example.org/tier: \"\" }
    taints: [\"dedicated=gpu:NoSchedule\", \"noisy:PreferNoSchedule\"]
";

/// The taints of the second node, sorted, but for those that Kubernetes itself sets.
fn taints(lab: &Lab) -> Vec<String> {
    let ask = "kubectl --kubeconfig /etc/kubernetes/admin.conf get node extra -o \
        jsonpath='{range .spec.taints[*]}{.key}={.value}:{.effect};{end}'";
    let text = lab.on("node-0", ask);
    let own = |it: &&str| !it.is_empty() && !it.starts_with("node.kubernetes.io/");
    let mut taints: Vec<String> = text.split(';').filter(own).map(str::to_owned).collect();
    taints.sort();
    taints
}

fn label(lab: &Lab, key: &str) -> String {
    let output = lab.kubectl(&format!("get node extra -o jsonpath={{.metadata.labels.{key}}}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn labels_and_taints_are_kept_as_the_inventory_has_them() {
    let lab = Lab::changed("single", &[(NODE, &format!("{NODE}{WORKER}"))]);
    lab.must(&["up"]);
    let kubelet = lab.on("extra", "cat /var/lib/kubelet/config.yaml");
    assert!(kubelet.contains("registerWithTaints:"), "{kubelet}");
    assert_eq!(taints(&lab), ["dedicated=gpu:NoSchedule", "noisy=:PreferNoSchedule"]);
    assert_eq!(label(&lab, "disk"), "ssd");
    is_settled(&lab);

    // What somebody else has set stays; what they have taken away comes back.
    lab.kubectl("taint node extra theirs=1:NoSchedule");
    lab.kubectl("taint node extra dedicated:NoSchedule-");
    lab.kubectl("label node extra theirs=1 disk-");
    assert_eq!(lab.run(&["plan"]).code, Some(3));
    lab.must(&["up"]);
    assert_eq!(label(&lab, "disk"), "ssd");
    let all = ["dedicated=gpu:NoSchedule", "noisy=:PreferNoSchedule", "theirs=1:NoSchedule"];
    assert_eq!(taints(&lab), all);

    // What is changed in the inventory is changed on the node, and what is removed goes.
    write(&lab, |text| {
        text.replace("\"dedicated=gpu:NoSchedule\", ", "\"dedicated=cpu:NoExecute\", ")
    });
    write(&lab, |text| text.replace("disk: ssd", "disk: hdd"));
    lab.must(&["up"]);
    let all = ["dedicated=cpu:NoExecute", "noisy=:PreferNoSchedule", "theirs=1:NoSchedule"];
    assert_eq!(taints(&lab), all);
    assert_eq!(label(&lab, "disk"), "hdd");
    write(&lab, |text| {
        let kept =
            |line: &&str| !["    labels:", "    taints:"].iter().any(|it| line.starts_with(it));
        text.lines().filter(kept).collect::<Vec<_>>().join("\n") + "\n"
    });
    lab.must(&["up"]);
    assert_eq!(taints(&lab), ["theirs=1:NoSchedule"]);
    assert_eq!((label(&lab, "disk"), label(&lab, "theirs")), (String::new(), "1".to_owned()));
    is_settled(&lab);
    lab.must(&["down", "--yes"]);
}

const AUDIT: &str = "\
components:
  kube-apiserver:
    files: { policy.yaml: policy.yaml, authentication.yaml: authentication.yaml }
    flags:
      audit-policy-file: /etc/kubernetes/kube-apiserver/policy.yaml
      authentication-config: /etc/kubernetes/kube-apiserver/authentication.yaml

";

/// Only those may come without a name who ask whether the API server is well.
const AUTHENTICATION: &str = "\
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{ path: /livez }, { path: /readyz }, { path: /healthz }]
";

/// A policy that writes down what is in requests for one kind of object, and nothing else.
fn policy(resource: &str) -> String {
    format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n  - level: Request\n    \
         resources: [{{ group: \"\", resources: [{resource}] }}]\n"
    )
}

#[test]
fn an_audit_policy_and_authentication_of_ones_own_are_heeded() {
    let lab = Lab::changed("single", &[("nodes:\n", &format!("{AUDIT}nodes:\n"))]);
    let beside = |name: &str| lab.folder().join(name);
    fs::write(beside("authentication.yaml"), AUTHENTICATION).expect("a file");
    let missing = lab.run(&["up"]);
    assert_eq!(missing.code, Some(2), "{}", missing.story());
    assert!(missing.stderr.contains("policy.yaml: No such file"), "{}", missing.stderr);
    fs::write(beside("policy.yaml"), policy("configmaps")).expect("a policy");
    lab.must(&["up"]);

    let logged = |word: &str| {
        let count = format!("grep -c {word} /var/log/kube-apiserver/audit.log || true");
        lab.on("node-0", &count) != "0"
    };
    lab.kubectl("create configmap one --from-literal=word=first-word");
    lab.kubectl("create secret generic unseen --from-literal=word=x");
    assert!(lab.within_two_minutes(|| logged("first-word")));
    assert!(!logged("secrets/unseen"));
    let status = |path: &str| {
        let ask = format!(
            "curl -qsko /dev/null -w '%{{http_code}}' --noproxy '*' https://127.0.0.1:6443{path}"
        );
        lab.on("node-0", &ask)
    };
    assert_eq!((status("/livez"), status("/version")), ("200".to_owned(), "401".to_owned()));
    is_settled(&lab);

    // A changed file restarts the program.
    fs::write(beside("policy.yaml"), policy("serviceaccounts")).expect("a policy");
    lab.must(&["up"]);
    lab.kubectl("create configmap two --from-literal=word=second-word");
    lab.kubectl("create serviceaccount somebody");
    assert!(lab.within_two_minutes(|| logged("somebody")));
    assert!(!logged("second-word"));
    is_settled(&lab);
    lab.must(&["down", "--yes"]);
}
