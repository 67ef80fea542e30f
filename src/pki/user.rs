//! Credentials for users of a lab: the administrator's certificate, or a new one that is not
//! stored.

use time::{Duration, OffsetDateTime};

use super::error::PkiError;
use super::files::PkiFiles;
use super::issue::{Authority, Pair};
use super::rotation;
use super::spec::{CA, CertSpec, specs};
use crate::cluster::Cluster;
use crate::lab::LabDirectory;

/// A certificate with its key, and the CAs to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The CAs to trust, PEM.
    pub ca: Vec<u8>,
    /// The certificate and its key.
    pub pair: Pair,
}

/// Returns the administrator's credentials from the lab directory.
///
/// # Errors
/// Returns [`PkiError::Absent`] if the lab has none yet, [`PkiError::Read`],
/// [`PkiError::Unusable`].
pub fn admin(cluster: &Cluster, lab: &LabDirectory) -> Result<Credentials, PkiError> {
    let files = read(cluster, lab)?;
    Ok(Credentials { ca: trusted(&files)?, pair: pair(&files, "admin")? })
}

/// Issues a certificate for `user`, optionally in a group, signed by the lab's CA. Its key is not
/// stored.
///
/// # Errors
/// Same as [`admin`]; [`PkiError::Issue`] if a name is not allowed in a certificate.
pub fn issue(
    cluster: &Cluster,
    lab: &LabDirectory,
    now: OffsetDateTime,
    user: &str,
    group: Option<&str>,
    life: Duration,
) -> Result<Credentials, PkiError> {
    let files = read(cluster, lab)?;
    let ca = pair(&files, CA)?;
    let specs = specs(cluster);
    let spec = specs.iter().find(|spec| spec.name == CA).ok_or_else(|| absent(CA))?;
    let authority = Authority::load(spec, &ca, &files.folder, now)?;
    let pair = authority.issue(&CertSpec::user(cluster, user, group, life), now)?;
    Ok(Credentials { ca: trusted(&files)?, pair })
}

/// Returns the directory's files as they are after an interrupted step of a rotation is completed.
fn read(cluster: &Cluster, lab: &LabDirectory) -> Result<PkiFiles, PkiError> {
    let mut files = PkiFiles::read(&lab.pki(), &specs(cluster))?;
    let unfinished = rotation::unfinished(&files.content);
    rotation::apply(&mut files.content, &unfinished);
    Ok(files)
}

fn trusted(files: &PkiFiles) -> Result<Vec<u8>, PkiError> {
    rotation::trusted(&files.content, CA).ok_or_else(|| absent("ca.crt"))
}

fn pair(files: &PkiFiles, name: &str) -> Result<Pair, PkiError> {
    let text = |file: String| {
        let text = files.text(&file, "`labctl up` issues what can be issued again")?;
        text.map(str::to_owned).ok_or_else(|| absent(&file))
    };
    Ok(Pair { certificate: text(format!("{name}.crt"))?, key: text(format!("{name}.key"))?.into() })
}

fn absent(name: &str) -> PkiError {
    PkiError::Absent { name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::inspect::Certificate;
    use crate::pki::{fixture, store};

    #[test]
    fn a_user_gets_a_certificate_of_the_labs_ca_that_is_not_stored() {
        let folder = tempfile::tempdir().expect("a directory");
        let (cluster, lab) = (fixture::cluster(), LabDirectory::new(folder.path()));
        assert!(matches!(admin(&cluster, &lab), Err(PkiError::Absent { .. })));
        store::ensure(&cluster, &lab, fixture::now()).expect("issued").save(&lab).expect("saved");
        let before = crate::pki::listing::in_lab_directory(&lab).expect("listed");

        let month = Duration::days(30);
        let jane =
            issue(&cluster, &lab, fixture::now(), "jane", Some("dev"), month).expect("issued");
        let certificate =
            Certificate::from_pem(jane.pair.certificate.as_bytes()).expect("a certificate");
        let ca = Certificate::from_pem(&jane.ca).expect("a CA");
        assert!(certificate.is_signed_by(&ca));
        assert_eq!(certificate.subject, ["O=dev", "CN=jane"]);
        assert_eq!(certificate.not_after, fixture::now() + month);
        assert_eq!(crate::pki::listing::in_lab_directory(&lab).expect("listed"), before);
        assert!(!format!("{jane:?}").contains("PRIVATE KEY"));
    }
}
