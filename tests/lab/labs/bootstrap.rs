//! Workers with nothing but a token: they ask for certificates, and again before these expire.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{in_time, is_well};
use crate::lab::{self, Lab};
use crate::{goes_without_a_trace, passes_smoke};

const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// kubectl on this machine with the certificate that a worker has now.
fn as_worker(lab: &Lab, home: &Path, worker: &str, arguments: &str) -> Output {
    let pair = home.join(format!("{worker}.pem"));
    fs::write(&pair, lab.on(worker, &format!("cat {CURRENT}"))).expect("a file");
    let (pair, ca) = (pair.display().to_string(), lab.directory().join("pki/ca.crt"));
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
        .args(["--kubeconfig", "/dev/null", "--server", "https://10.239.2.10:6443"])
        .arg(format!("--certificate-authority={}", ca.display()))
        .args(["--client-certificate", &pair, "--client-key", &pair])
        .args(arguments.split(' '))
        .output()
        .expect("kubectl starts")
}

/// What a worker is told that may not do something.
fn refused(lab: &Lab, home: &Path, worker: &str, arguments: &str) -> String {
    let output = as_worker(lab, home, worker, arguments);
    assert!(!output.status.success(), "{worker} may {arguments}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A request for a certificate as a manifest: for a node, with these alternative names.
fn request(home: &Path, name: &str, node: &str, signer: &str, names: &str) -> PathBuf {
    let (key, csr) = (home.join("foreign.key"), home.join("foreign.csr"));
    let (key, csr) = (key.display().to_string(), csr.display().to_string());
    let subject = format!("/O=system:nodes/CN=system:node:{node}");
    let names = (!names.is_empty()).then(|| format!("subjectAltName={names}"));
    let mut arguments = vec!["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    arguments.extend(["-nodes", "-keyout", &key, "-out", &csr, "-subj", &subject]);
    arguments.extend(names.iter().flat_map(|names| ["-addext", names]));
    lab::said("openssl", &arguments);
    let usage = if names.is_some() { "server auth" } else { "client auth" };
    let request = BASE64.encode(fs::read(&csr).expect("a request"));
    let text = format!(
        "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: \
         {name}}}, spec: {{request: {request}, signerName: kubernetes.io/{signer}, usages: \
         [digital signature, {usage}]}}}}\n"
    );
    let path = home.join(format!("{name}.yaml"));
    fs::write(&path, text).expect("a manifest");
    path
}

/// Nothing on a worker comes from the workstation but the CA's certificate and the token.
fn has_nothing_but_a_token(lab: &Lab, worker: &str) {
    let files =
        "cd /etc/kubernetes; find . -name '*.conf' -o -name '*.crt' -o -name '*.key' | sort";
    let found = lab.on(worker, files);
    let found: Vec<&str> = found.lines().filter(|file| *file != "./resolv.conf").collect();
    assert_eq!(found, ["./bootstrap.conf", "./pki/ca.crt"], "{worker}");
    let token = lab.on(worker, "sed -n 's/^ *token: //p' /etc/kubernetes/bootstrap.conf");
    assert!(token.starts_with("labctl.") && token.len() == 23, "{worker}");
    // And what it has made of that is a certificate that the API has signed, with its own key.
    let subject = format!("openssl x509 -noout -subject -in {CURRENT}");
    let pair = lab.on(worker, &format!("cat {CURRENT}"));
    assert!(pair.contains("PRIVATE KEY"), "{worker}: {subject}");
    let kept = lab.directory().join(format!("pki/nodes/{worker}/kubelet.key"));
    let own = pair.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(1).expect("a key");
    assert!(!fs::read_to_string(kept).unwrap_or_default().contains(own), "the key is its own");
}

#[test]
fn a_worker_joins_with_a_token_and_renews_its_certificate() {
    // So short that a rotation can be watched. Certificates begin five minutes before they are
    // signed, so a kubelet asks again within the next two.
    let lab = Lab::changed("bootstrap", &[("cluster-signing-duration: 1h", SHORT)]);
    lab.must(&["up"]);
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    for worker in ["worker-0", "worker-1"] {
        has_nothing_but_a_token(&lab, worker);
    }
    let first = lab.on("worker-0", &format!("sha256sum < {CURRENT}"));
    // The first request was made with the token, and approved by nobody but Kubernetes.
    let fields = "{.spec.username}/{.spec.signerName}/{.status.conditions[*].reason}";
    let csrs = format!("get csr -o jsonpath={{range.items[*]}}{fields};{{end}}");
    let by_token =
        "system:bootstrap:labctl/kubernetes.io/kube-apiserver-client-kubelet/AutoApproved";
    let list = lab.kubectl_says(&csrs);
    let asked = list.split(';').filter(|csr| *csr == by_token).count();
    assert!(asked >= 2, "one for each worker: {list}");

    another_name_is_refused(&lab, home);
    an_address_that_is_not_its_own_is_denied(&lab, home);
    another_node_is_not_its_to_label(&lab, home);

    // It has asked again, as itself this time, before the first one expired; the node has stayed.
    let now = |lab: &Lab| lab.on("worker-0", &format!("sha256sum < {CURRENT}"));
    let rotated = || now(&lab) != first;
    assert!(lab.within_two_minutes(rotated) || lab.within_two_minutes(rotated), "no rotation");
    let by_itself = "system:node:worker-0/kubernetes.io/kube-apiserver-client-kubelet/AutoApproved";
    in_time(&lab, &csrs, |list| list.contains(by_itself));
    let serving = "system:node:worker-0/kubernetes.io/kubelet-serving/KubectlApprove";
    in_time(&lab, &csrs, |list| list.contains(serving));
    let ready = "get nodes -o jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    assert_eq!(lab.kubectl_says(ready), "True True");

    passes_smoke(&lab, 12);
    lab.must(&["status"]);
    is_well(&lab);
    goes_without_a_trace(&lab);
}

const SHORT: &str = "cluster-signing-duration: 3m";

/// A node that asks for another node's certificate.
fn another_name_is_refused(lab: &Lab, home: &Path) {
    let foreign = request(home, "foreign", "worker-1", "kube-apiserver-client-kubelet", "");
    let create = format!("create -f {}", foreign.display());
    let why = refused(lab, home, "worker-0", &create);
    assert!(why.contains("can only create a node CSR with CN=system:node:worker-0"), "{why}");
    // Its own it may ask for.
    let own = request(home, "own", "worker-0", "kube-apiserver-client-kubelet", "");
    let made = as_worker(lab, home, "worker-0", &format!("create -f {}", own.display()));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    in_time(lab, "get csr own -o jsonpath={.status.conditions[0].reason}", |it| {
        it == "AutoApproved"
    });
}

/// A node that wants to serve at another node's address: Kubernetes lets it ask, and the approver
/// looks into the inventory.
fn an_address_that_is_not_its_own_is_denied(lab: &Lab, home: &Path) {
    let names = "DNS:worker-0,IP:10.239.2.21";
    let lie = request(home, "lie", "worker-0", "kubelet-serving", names);
    let made = as_worker(lab, home, "worker-0", &format!("create -f {}", lie.display()));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    in_time(lab, "get csr lie -o jsonpath={.status.conditions[*].type}", |it| it == "Denied");
    let log = lab.on("controller-0", "journalctl -u serving-approver -o cat");
    assert!(
        log.contains("lie: system:node:worker-0 asks for DNS:worker-0, IP Address:10.239.2.21")
    );
}

/// NodeRestriction: a node may change its own Node object, and not all of that.
fn another_node_is_not_its_to_label(lab: &Lab, home: &Path) {
    let why = refused(lab, home, "worker-0", "label node worker-1 disk=ssd");
    assert!(why.contains("Forbidden") && why.contains("worker-1"), "{why}");
    let own = as_worker(lab, home, "worker-0", "label node worker-0 example.org/disk=ssd");
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
    let control = "node-role.kubernetes.io/control-plane=";
    let why = refused(lab, home, "worker-0", &format!("label node worker-0 {control}"));
    assert!(why.contains("is not allowed to modify labels"), "{why}");
}
