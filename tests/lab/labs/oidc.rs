//! Somebody who logs in elsewhere: the issuer says who it is, and the API what they may.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};

use super::{in_time, is_well};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

const ISSUER: &str = "https://10.239.3.20:5556";

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// jane logs in with a password, as docs/labs/oidc.md says.
fn log_in(lab: &Lab, password: &str) -> Output {
    let mut child = Command::new(sources().join("inventories/oidc/log-in"))
        .arg(ISSUER)
        .arg(lab.directory().join("pki/ca.crt"))
        .arg("jane")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("its input").write_all(password.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// What the API answers somebody with this token.
fn with_token(lab: &Lab, token: &str, arguments: &str) -> Result<String, String> {
    let output = Command::new(sources().join("bundle/bin/kubectl"))
        .args(["--kubeconfig", "/dev/null", "--server", "https://10.239.3.10:6443"])
        .arg(format!("--certificate-authority={}", lab.directory().join("pki/ca.crt").display()))
        .args(["--token", token])
        .args(arguments.split(' '))
        .output()
        .expect("kubectl starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The token with another name in it, and the signature that it had.
fn with_another_name(token: &str) -> String {
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts: {token}")
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let claims = String::from_utf8(claims).expect("text");
    assert!(claims.contains(r#""sub":"jane""#), "{claims}");
    let claims = URL_SAFE_NO_PAD.encode(claims.replace(r#""sub":"jane""#, r#""sub":"joan""#));
    format!("{head}.{claims}.{signature}")
}

#[test]
fn a_token_of_the_issuer_logs_in() {
    let lab = Lab::new("oidc");
    lab.must(&["up"]);
    // Nothing that is in a pod needs a registry.
    let image = lab.folder().join("issuer.tar");
    let built = Command::new(sources().join("tests/extras/issuer/build")).arg(&image).status();
    assert!(built.expect("it starts").success(), "the issuer's image is built");
    lab.must(&["image", "load", "issuer.tar"]);
    std::fs::remove_file(image).expect("it was there");
    let ready = "-n issuer get deployment issuer -o jsonpath={.status.readyReplicas}";
    in_time(&lab, ready, |ready| ready == "1");

    // Who has not the password gets no token.
    let refused = log_in(&lab, "let me in");
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    let password = lab.kubectl_says("-n issuer get secret issuer -o jsonpath={.data.password}");
    let password = String::from_utf8(BASE64.decode(password).expect("base64")).expect("text");
    let logged_in = log_in(&lab, &password);
    let token = String::from_utf8_lossy(&logged_in.stdout).trim().to_owned();
    assert!(logged_in.status.success(), "{}", String::from_utf8_lossy(&logged_in.stderr));

    // The API has looked for the issuer since it started; it asks again every few seconds.
    let whoami = "auth whoami -o jsonpath={.status.userInfo.username}/{.status.userInfo.groups}";
    let known = || with_token(&lab, &token, whoami).is_ok();
    assert!(lab.within_two_minutes(known), "{:?}", with_token(&lab, &token, whoami));
    let user = with_token(&lab, &token, whoami);
    assert_eq!(user.as_deref(), Ok(r#"oidc:jane/["system:authenticated"]"#));
    assert_eq!(with_token(&lab, &token, "get pods -o name").as_deref(), Ok(""));
    let forbidden = with_token(&lab, &token, "get nodes").expect_err("not hers to see");
    assert!(forbidden.contains("Forbidden") && forbidden.contains("\"oidc:jane\""), "{forbidden}");
    // A name that the issuer has not signed is nobody's.
    let forged = with_token(&lab, &with_another_name(&token), whoami).expect_err("forged");
    assert!(forged.contains("Unauthorized") || forged.contains("logged in"), "{forged}");
    let log = lab.on("controller-0", "grep -c '\"oidc:jane\"' /var/log/kube-apiserver/audit.log");
    assert!(log.parse::<u32>().expect("a number") >= 3, "{log}");

    // The API checks signatures by itself: the issuer need not be there for that.
    lab.kubectl_says("-n issuer scale deployment issuer --replicas=0");
    in_time(&lab, "-n issuer get pods -o name", str::is_empty);
    assert_eq!(with_token(&lab, &token, whoami), user);

    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
