//! Decides which certificates must be issued again, and why.
//!
//! The decision, [`why_issue`], is pure: its inputs are the spec, what was found, the CA and the
//! current time; its result is a reason or nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use time::{Date, Duration, OffsetDateTime};

use super::inspect::Certificate;
use super::spec::{CertSpec, Usage};

/// How long before its expiry a certificate is renewed at most; one with a short validity is
/// renewed in its last tenth.
pub const RENEW_BEFORE: Duration = Duration::days(30);

/// What the lab directory contains for one spec.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The certificate, if its file exists.
    pub certificate: Option<Certificate>,
    /// The public half of the private key (SubjectPublicKeyInfo, DER), if its file exists.
    pub public_key: Option<Vec<u8>>,
}

/// Why a certificate is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is neither a certificate nor a key: the first run, or a new node.
    New,
    /// There is a key but no certificate: an interrupted run.
    CertificateMissing,
    /// There is a certificate but no key.
    KeyMissing,
    /// Certificate and key do not match: an interrupted run.
    KeyMismatch,
    /// The public key file does not match the private key.
    NotThePublicHalf,
    /// Another CA signed it.
    OtherIssuer,
    /// Its subject is another one, which is given here.
    Subject(String),
    /// Its names and addresses differ from the cluster's.
    Names {
        /// Names to add.
        missing: Vec<String>,
        /// What is to go.
        surplus: Vec<String>,
    },
    /// Its usages differ.
    Usages,
    /// The algorithm of its key differs from the inventory's.
    Algorithm,
    /// It is not valid before this day.
    NotYetValid(Date),
    /// It was valid until this day.
    Expired(Date),
    /// It expires soon, on this day.
    EndsSoon(Date),
    /// A renewal was requested.
    Renewal,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::New => f.write_str("new"),
            Why::CertificateMissing => f.write_str("its certificate is missing"),
            Why::KeyMissing => f.write_str("its key is missing"),
            Why::KeyMismatch => f.write_str("certificate and key do not belong together"),
            Why::NotThePublicHalf => f.write_str("is not the public half of the private key"),
            Why::OtherIssuer => f.write_str("not signed by this lab's CA"),
            Why::Subject(found) => write!(f, "was for {found}"),
            Why::Names { missing, surplus } => {
                let add = (!missing.is_empty()).then(|| format!("add {}", missing.join(", ")));
                let drop = (!surplus.is_empty()).then(|| format!("drop {}", surplus.join(", ")));
                let both: Vec<_> = add.into_iter().chain(drop).collect();
                write!(f, "names: {}", both.join("; "))
            }
            Why::Usages => f.write_str("its usages differ"),
            Why::Algorithm => f.write_str("its key has another algorithm"),
            Why::NotYetValid(day) => write!(f, "not valid before {day}"),
            Why::Expired(day) => write!(f, "expired on {day}"),
            Why::EndsSoon(day) => write!(f, "expires on {day}"),
            Why::Renewal => f.write_str("renewal was requested"),
        }
    }
}

/// Returns why the certificate that `spec` describes must be issued (again) at `now` by `ca`;
/// `None` if it is good.
///
/// A certificate is renewed some time before its expiry ([`RENEW_BEFORE`]), but only if that makes
/// it last longer, which it would not in the last days of a CA. A change of the configured validity
/// alone is not a reason; it applies from the next renewal on.
pub fn why_issue(
    spec: &CertSpec,
    found: &Found,
    ca: &Certificate,
    now: OffsetDateTime,
) -> Option<Why> {
    let (certificate, public_key) = match (&found.certificate, &found.public_key) {
        (None, None) => return Some(Why::New),
        (None, Some(_)) => return Some(Why::CertificateMissing),
        (Some(_), None) => return Some(Why::KeyMissing),
        (Some(certificate), Some(public_key)) => (certificate, public_key),
    };
    if certificate.public_key != *public_key {
        return Some(Why::KeyMismatch);
    }
    if !certificate.is_signed_by(ca) {
        return Some(Why::OtherIssuer);
    }
    if !certificate.has_subject_of(spec) {
        return Some(Why::Subject(certificate.subject.join(", ")));
    }
    names_differ(spec, certificate)
        .or_else(|| {
            let wanted: BTreeSet<Usage> = spec.usages.iter().copied().collect();
            let same = certificate.usages.as_ref() == Some(&wanted)
                && certificate.fit_for_tls
                && !certificate.is_ca;
            (!same).then_some(Why::Usages)
        })
        .or_else(|| (certificate.algorithm != Some(spec.algorithm)).then_some(Why::Algorithm))
        .or_else(|| wrong_time(spec, certificate, ca, now))
}

fn names_differ(spec: &CertSpec, certificate: &Certificate) -> Option<Why> {
    let wanted_dns: BTreeSet<String> = spec.dns_names.iter().cloned().collect();
    let wanted_ip: BTreeSet<IpAddr> = spec.ip_addresses.iter().copied().collect();
    let (found_dns, found_ip) = (&certificate.dns_names, &certificate.ip_addresses);
    let text = IpAddr::to_string;
    let missing: Vec<String> = wanted_dns
        .difference(found_dns)
        .cloned()
        .chain(wanted_ip.difference(found_ip).map(text))
        .collect();
    let surplus: Vec<String> = found_dns
        .difference(&wanted_dns)
        .cloned()
        .chain(found_ip.difference(&wanted_ip).map(text))
        .chain(certificate.other_names.iter().cloned())
        .collect();
    (!missing.is_empty() || !surplus.is_empty()).then_some(Why::Names { missing, surplus })
}

fn wrong_time(
    spec: &CertSpec,
    certificate: &Certificate,
    ca: &Certificate,
    now: OffsetDateTime,
) -> Option<Why> {
    if now < certificate.not_before {
        return Some(Why::NotYetValid(certificate.not_before.date()));
    }
    if now > certificate.not_after {
        return Some(Why::Expired(certificate.not_after.date()));
    }
    let life = certificate.not_after - certificate.not_before;
    let soon = certificate.not_after - now < RENEW_BEFORE.min(life / 10);
    let next_end = now.saturating_add(spec.life).min(ca.not_after);
    (soon && next_end > certificate.not_after).then(|| Why::EndsSoon(certificate.not_after.date()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cluster::KeyAlgorithm;
    use crate::pki::fixture;
    use crate::pki::issue::{Authority, Pair, new_ca, public_key};
    use crate::pki::spec::{CA, specs};

    struct Lab {
        specs: Vec<CertSpec>,
        ca: Authority,
    }

    impl Lab {
        fn new() -> Self {
            let specs = specs(&fixture::cluster());
            let ca_spec = specs.iter().find(|spec| spec.name == CA).expect("a CA");
            let pair = new_ca(ca_spec, fixture::now()).expect("a CA is made");
            let ca = Authority::load(ca_spec, &pair, Path::new("pki"), fixture::now())
                .expect("the CA is good");
            Self { specs, ca }
        }

        fn spec(&self, name: &str) -> CertSpec {
            self.specs.iter().find(|spec| spec.name == name).expect("a known certificate").clone()
        }

        fn issue(&self, spec: &CertSpec) -> Found {
            found(&self.ca.issue(spec, fixture::now()).expect("it is issued"))
        }

        fn why(&self, spec: &CertSpec, found: &Found, at: OffsetDateTime) -> Option<Why> {
            why_issue(spec, found, self.ca.certificate(), at)
        }
    }

    fn found(pair: &Pair) -> Found {
        Found {
            certificate: Some(
                Certificate::from_pem(pair.certificate.as_bytes()).expect("a certificate"),
            ),
            public_key: Some(public_key(pair.key.expose_text().expect("PEM")).expect("a key")),
        }
    }

    #[test]
    fn an_issued_certificate_matches_its_spec() {
        let lab = Lab::new();
        for spec in lab.specs.iter().filter(|spec| spec.issuer == Some(CA)) {
            assert_eq!(lab.why(spec, &lab.issue(spec), fixture::now()), None, "{}", spec.name);
        }
    }

    #[test]
    fn half_a_pair_is_issued_again() {
        let lab = Lab::new();
        let spec = lab.spec("admin");
        let whole = lab.issue(&spec);
        let now = fixture::now();
        let without_key = Found { public_key: None, ..whole.clone() };
        let without_certificate = Found { certificate: None, ..whole.clone() };
        let mixed = Found { public_key: lab.issue(&spec).public_key, ..whole };
        assert_eq!(lab.why(&spec, &Found::default(), now), Some(Why::New));
        assert_eq!(lab.why(&spec, &without_key, now), Some(Why::KeyMissing));
        assert_eq!(lab.why(&spec, &without_certificate, now), Some(Why::CertificateMissing));
        assert_eq!(lab.why(&spec, &mixed, now), Some(Why::KeyMismatch));
    }

    #[test]
    fn a_certificate_of_another_ca_with_the_same_name_is_issued_again() {
        let (lab, other) = (Lab::new(), Lab::new());
        let spec = lab.spec("admin");
        assert_eq!(lab.why(&spec, &other.issue(&spec), fixture::now()), Some(Why::OtherIssuer));
    }

    #[test]
    fn every_difference_from_the_spec_is_reported() {
        let lab = Lab::new();
        let now = fixture::now();
        let spec = lab.spec("apiserver");
        let good = lab.issue(&spec);

        let mut renamed = spec.clone();
        renamed.organization = Some("somebody".to_owned());
        assert_eq!(
            lab.why(&renamed, &good, now),
            Some(Why::Subject("CN=kube-apiserver".to_owned()))
        );

        let mut moved = spec.clone();
        moved.dns_names.push("lb-1".to_owned());
        moved.ip_addresses.retain(|ip| ip.to_string() != "10.240.0.5");
        let why = lab.why(&moved, &good, now).expect("names differ");
        assert_eq!(why.to_string(), "names: add lb-1; drop 10.240.0.5");

        let mut client = spec.clone();
        client.usages.push(Usage::Client);
        assert_eq!(lab.why(&client, &good, now), Some(Why::Usages));

        let mut rsa = spec.clone();
        rsa.algorithm = KeyAlgorithm::Rsa2048;
        assert_eq!(lab.why(&rsa, &good, now), Some(Why::Algorithm));
    }

    #[test]
    fn a_name_is_not_an_address() {
        let lab = Lab::new();
        let spec = lab.spec("nodes/worker-0/kubelet");
        let mut as_text = spec.clone();
        as_text.ip_addresses.clear();
        as_text.dns_names.push("10.240.0.20".to_owned());
        let why = lab.why(&spec, &lab.issue(&as_text), fixture::now());
        let address = vec!["10.240.0.20".to_owned()];
        assert_eq!(why, Some(Why::Names { missing: address.clone(), surplus: address }));
    }

    #[test]
    fn renewal_and_expiry_depend_on_the_time() {
        let lab = Lab::new();
        let spec = lab.spec("admin");
        let year = lab.issue(&spec);
        let after = |days| fixture::now() + Duration::days(days);
        let end = after(365).date();
        assert_eq!(lab.why(&spec, &year, after(-1)), Some(Why::NotYetValid(fixture::now().date())));
        assert_eq!(lab.why(&spec, &year, after(334)), None);
        assert_eq!(lab.why(&spec, &year, after(336)), Some(Why::EndsSoon(end)));
        assert_eq!(lab.why(&spec, &year, after(366)), Some(Why::Expired(end)));
    }

    #[test]
    fn a_short_validity_is_renewed_in_its_last_tenth() {
        let lab = Lab::new();
        let mut spec = lab.spec("admin");
        spec.life = Duration::days(10);
        let short = lab.issue(&spec);
        assert_eq!(lab.why(&spec, &short, fixture::now() + Duration::days(8)), None);
        let late = fixture::now() + Duration::hours(9 * 24 + 12);
        assert!(matches!(lab.why(&spec, &short, late), Some(Why::EndsSoon(_))));
    }

    #[test]
    fn a_certificate_that_expires_with_its_ca_is_not_issued_repeatedly() {
        let lab = Lab::new();
        let mut spec = lab.spec("admin");
        spec.life = Duration::days(5000);
        let capped = lab.issue(&spec);
        let certificate = capped.certificate.as_ref().expect("a certificate");
        assert_eq!(
            certificate.not_after,
            lab.ca.certificate().not_after,
            "a leaf must not outlive its CA"
        );
        assert_eq!(lab.why(&spec, &capped, fixture::now() + Duration::days(3640)), None);
    }
}
