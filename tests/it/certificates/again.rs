//! A second look at certificates: what is kept, what is issued again, and what is refused.

use super::*;

#[test]
fn a_second_run_issues_nothing_and_changes_nothing() {
    let cluster = cluster();
    let lab = Lab::empty();
    let first = lab.up(&cluster);
    let before = lab.content();
    let second = lab.up(&cluster);
    assert_eq!(second.issued, []);
    assert_eq!(second.pki, first.pki);
    assert_eq!(lab.content(), before);
}

#[test]
fn a_new_worker_gets_its_certificate_and_nobody_else_does() {
    let mut cluster = cluster();
    let lab = Lab::with_certificates_for(&cluster);
    cluster.nodes.push(node("worker-1", 21, Role::Worker));
    assert_eq!(issued(&lab.up(&cluster)), ["nodes/worker-1/kubelet: new"]);
}

#[test]
fn a_new_load_balancer_changes_only_the_api_servers_certificate() {
    let mut cluster = cluster();
    let lab = Lab::with_certificates_for(&cluster);
    cluster.nodes.push(node("lb-1", 6, Role::Loadbalancer));
    assert_eq!(issued(&lab.up(&cluster)), ["apiserver: names: add lb-1, 10.240.0.6"]);
    assert!(lab.extension("apiserver", "subjectAltName").contains("DNS:lb-1"));
}

#[test]
fn another_algorithm_replaces_certificates_but_no_ca() {
    let mut cluster = cluster();
    let lab = Lab::with_certificates_for(&cluster);
    cluster.pki.algorithm = KeyAlgorithm::Rsa2048;
    let replaced = lab.up(&cluster);
    assert_eq!(replaced.issued.len(), leaves(&cluster).len());
    for spec in leaves(&cluster) {
        lab.verify(
            &spec,
            if spec.usages == [pki::Usage::Server] { "sslserver" } else { "sslclient" },
        );
    }
}

#[test]
fn a_deleted_certificate_or_key_comes_back() {
    let cluster = cluster();
    let lab = Lab::with_certificates_for(&cluster);
    lab.delete("scheduler.key");
    lab.delete("apiserver.crt");
    lab.delete("sa.pub");
    assert_eq!(
        issued(&lab.up(&cluster)),
        ["sa.pub: new", "apiserver: its certificate is missing", "scheduler: its key is missing"]
    );
    assert_eq!(lab.up(&cluster).issued, []);
}

#[test]
fn a_lost_ca_or_secret_is_never_replaced_silently() {
    let cluster = cluster();
    for (name, evidence) in [
        ("ca.crt", "apiserver.crt"),
        ("ca.key", "ca.crt"),
        ("etcd/ca.crt", "apiserver-etcd-client.crt"),
        ("encryption.key", "apiserver.crt"),
        ("sa.key", "apiserver.crt"),
    ] {
        let lab = Lab::with_certificates_for(&cluster);
        lab.delete(name);
        assert_eq!(
            lab.refuses(&cluster),
            format!(
                "pki/{name} is missing, but {evidence} exists: this lab already uses the \
                lost one, and a new one \
                 would not fit; `labctl recover` reads it back from a controller"
            )
        );
    }
}

#[test]
fn a_spoilt_file_is_named_with_what_is_wrong_and_what_to_do() {
    let cluster = cluster();
    let again =
        |name: &str| format!("delete {name}.crt and {name}.key there to have both issued again");
    let restore = "restore it from a backup of the lab directory".to_owned();
    let not_pem: &[u8] = b"garbage";
    for (name, content, problem, remedy) in [
        ("admin.crt", not_pem, "is not a PEM file", again("admin")),
        ("admin.crt", b"", "is not a PEM file", again("admin")),
        ("admin.key", not_pem, "contains no readable private key", again("admin")),
        ("admin.key", b"\xff\xfe", "is not a text file", again("admin")),
        ("ca.crt", not_pem, "is not a PEM file", restore.clone()),
        ("ca.key", not_pem, "contains no readable private key", restore.clone()),
        ("sa.key", not_pem, "contains no readable private key", restore.clone()),
        ("encryption.key", not_pem, "does not contain 32 bytes in base64", restore.clone()),
    ] {
        let lab = Lab::with_certificates_for(&cluster);
        fs::write(lab.path(name), content).expect("written");
        assert_eq!(lab.refuses(&cluster), format!("pki/{name} {problem}; {remedy}"));
    }
}

#[test]
fn what_does_not_belong_in_a_cas_place_is_refused() {
    let cluster = cluster();
    let restore = "restore it from a backup of the lab directory";
    let other = Lab::with_certificates_for(&cluster);
    let lab = Lab::with_certificates_for(&cluster);
    let put = |from: &Lab, source: &str, target: &str| {
        fs::copy(from.path(source), lab.path(target)).expect("copied");
    };

    put(&other, "ca.key", "ca.key");
    assert_eq!(lab.refuses(&cluster), format!("pki/ca.key does not belong to ca.crt; {restore}"));

    put(&lab, "etcd/ca.crt", "ca.crt");
    assert_eq!(
        lab.refuses(&cluster),
        format!("pki/ca.crt is for `CN=etcd-ca`, not for `CN=kubernetes`; {restore}")
    );

    let key = lab.path("ca.key");
    let forged = lab.path("ca.crt");
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-key",
        text(&key),
        "-subj",
        "/CN=kubernetes",
        "-days",
        "36500",
        "-out",
        text(&forged),
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]);
    let refused = lab.refuses(&cluster);
    assert_eq!(
        refused,
        format!("pki/ca.crt is not a CA certificate that may sign others; {restore}")
    );
}

#[test]
fn a_whole_ca_of_another_lab_has_everything_of_its_own_issued_again() {
    let cluster = cluster();
    let (lab, other) = (Lab::with_certificates_for(&cluster), Lab::with_certificates_for(&cluster));
    for name in ["front-proxy-ca.crt", "front-proxy-ca.key"] {
        fs::copy(other.path(name), lab.path(name)).expect("copied");
    }
    assert_eq!(issued(&lab.up(&cluster)), ["front-proxy-client: not signed by this lab's CA"]);
}

#[test]
fn an_expired_ca_is_refused_and_an_expired_certificate_is_not() {
    let cluster = cluster();
    let lab = Lab::with_certificates_for(&cluster);
    let later = |days| pki::ensure(&cluster, &lab.directory, NOW + time::Duration::days(days));
    let replaced = later(400).expect("only leaves have expired");
    assert_eq!(replaced.issued.len(), leaves(&cluster).len());
    assert_eq!(replaced.issued[0].why.to_string(), "expired on 2026-06-01");
    let refused = later(3651).expect_err("the CA has expired").to_string();
    assert!(
        refused.ends_with(
            "ca.crt expired on 2035-05-30; `labctl certs rotate-ca` creates new CAs \
            and revives the lab"
        ),
        "{refused}"
    );
}

#[test]
fn a_ca_made_elsewhere_is_taken_up() {
    let cluster = cluster();
    let lab = Lab::empty();
    lab.directory.make_folder(&lab.directory.pki()).expect("made");
    let (certificate, key) = (lab.path("ca.crt"), lab.path("ca.key"));
    openssl(&["genrsa", "-traditional", "-out", text(&key), "2048"]);
    openssl(&[
        "req",
        "-x509",
        "-new",
        "-key",
        text(&key),
        "-subj",
        "/CN=kubernetes",
        "-days",
        "36500",
        "-out",
        text(&certificate),
        "-addext",
        "keyUsage=critical,keyCertSign",
    ]);
    // openssl starts the certificate at its own clock, which is later than NOW.
    let now = OffsetDateTime::now_utc() + time::Duration::minutes(1);
    let ensured = pki::ensure(&cluster, &lab.directory, now).expect("a good CA");
    ensured.save(&lab.directory).expect("saved");
    assert!(!issued(&ensured).contains(&"ca: new".to_owned()));
    openssl(&["verify", "-CAfile", text(&certificate), text(&lab.path("admin.crt"))]);
}
