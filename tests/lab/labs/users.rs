//! A person with a certificate, a program with a token, and what the audit log has of both.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{in_time, is_well};
use crate::lab::{self, Lab};
use crate::{goes_without_a_trace, passes_smoke};

/// kubectl on this machine with a kubeconfig of a user's own.
fn as_user(kubeconfig: &Path, arguments: &str) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
        .args(arguments.split(' '))
        .env("KUBECONFIG", kubeconfig)
        .output()
        .expect("kubectl starts")
}

/// What a user is answered; whoever may not do it is told so.
fn answer(kubeconfig: &Path, arguments: &str) -> Result<String, String> {
    let output = as_user(kubeconfig, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A kubeconfig with these credentials, for the lab's API.
fn kubeconfig(lab: &Lab, home: &Path, user: &str, credentials: &str) -> std::path::PathBuf {
    let ca = BASE64.encode(fs::read(lab.directory().join("pki/ca.crt")).expect("the CA"));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{{name: x, context: \
         {{cluster: x, user: {user}}}}}]\nclusters: [{{name: x, cluster: {{server: \
         'https://10.239.0.10:6443', certificate-authority-data: {ca}}}}}]\nusers: [{{name: \
         {user}, user: {{{credentials}}}}}]\n"
    );
    let path = home.join(format!("{user}.conf"));
    fs::write(&path, text).expect("a kubeconfig");
    path
}

/// Asks the API to sign what jane has made, as docs/labs/users.md says.
fn sign(lab: &Lab, home: &Path) {
    let (key, request) = (home.join("jane.key"), home.join("jane.csr"));
    let (key, request) = (key.display().to_string(), request.display().to_string());
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    lab::said("openssl", &[&["genpkey"][..], &curve, &["-out", &key]].concat());
    let subject = "/CN=jane/O=developers";
    lab::said("openssl", &["req", "-new", "-key", &key, "-subj", subject, "-out", &request]);
    let request = BASE64.encode(fs::read(&request).expect("a request"));
    let object = home.join("csr.yaml");
    let text = format!(
        "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: \
         jane}}, spec: {{request: {request}, signerName: kubernetes.io/kube-apiserver-client, \
         expirationSeconds: 86400, usages: [client auth]}}}}\n"
    );
    fs::write(&object, text).expect("a manifest");
    lab.kubectl_says(&format!("apply -f {}", object.display()));
    assert_eq!(
        lab.kubectl_says("get csr jane -o jsonpath={.status.certificate}"),
        "",
        "nobody approved it"
    );
    lab.kubectl_says("certificate approve jane");
    let certificate =
        in_time(lab, "get csr jane -o jsonpath={.status.certificate}", |it| !it.is_empty());
    fs::write(home.join("jane.crt"), BASE64.decode(certificate).expect("base64")).expect("a file");
}

#[test]
fn jane_may_list_pods_and_the_log_has_each_of_her_calls() {
    let lab = Lab::new("users");
    lab.must(&["up"]);
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    sign(&lab, home);
    let file = |name: &str| home.join(name).display().to_string();
    let credentials =
        format!("client-certificate: {}, client-key: {}", file("jane.crt"), file("jane.key"));
    let jane = kubeconfig(&lab, home, "jane", &credentials);
    let whoami = answer(
        &jane,
        "auth whoami -o jsonpath={.status.userInfo.username}/{.status.userInfo.groups}",
    );
    assert_eq!(whoami.as_deref(), Ok(r#"jane/["developers","system:authenticated"]"#));
    assert_eq!(answer(&jane, "get pods -o name").as_deref(), Ok(""));
    let forbidden = ["get secrets", "get pods -n kube-system", "get nodes", "delete pod web"];
    for call in forbidden {
        let refused = answer(&jane, call).expect_err(call);
        assert!(refused.contains("Forbidden") && refused.contains("\"jane\""), "{call}: {refused}");
    }

    // Each of her calls is in the log, whether it was allowed or not.
    let log =
        lab.on("controller-0", "grep '\"username\":\"jane\"' /var/log/kube-apiserver/audit.log");
    let calls: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let logged = |verb: &str, uri: &str, code: u64| {
        let is_it = |call: &&serde_json::Value| {
            let at = call["requestURI"].as_str().unwrap_or_default();
            call["verb"] == verb && at.starts_with(uri) && call["responseStatus"]["code"] == code
        };
        assert!(calls.iter().any(|call| is_it(&call)), "{verb} {uri} {code}: {log}");
    };
    logged("list", "/api/v1/namespaces/default/pods", 200);
    logged("list", "/api/v1/namespaces/default/secrets", 403);
    logged("list", "/api/v1/namespaces/kube-system/pods", 403);
    logged("list", "/api/v1/nodes", 403);
    logged("delete", "/api/v1/namespaces/default/pods/web", 403);

    // A program, by its token: in its own namespace it may, elsewhere not.
    let token = lab.kubectl_says("create token robot -n robots");
    let robot = kubeconfig(&lab, home, "robot", &format!("token: {token}"));
    let may = |place: &str| as_user(&robot, &format!("auth can-i create deployments -n {place}"));
    assert!(may("robots").status.success() && !may("default").status.success());

    // The right is taken back, and not the certificate.
    lab.kubectl_says("delete rolebinding jane-looks-at-pods");
    assert!(answer(&jane, "get pods").expect_err("no right").contains("Forbidden"));
    assert_eq!(lab.run(&["plan"]).code, Some(3), "the lab is not as it should be");
    lab.must(&["up"]);
    assert_eq!(answer(&jane, "get pods -o name").as_deref(), Ok(""));

    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
