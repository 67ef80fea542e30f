//! Moves a lab directory from one stage of a rotation to the next.
//!
//! [`rotation`] defines the stages and the steps between them; this module generates keys and
//! writes files. The caller holds the lab's lock, and starts the next stage only after all nodes
//! have reached this one.

use time::OffsetDateTime;

use super::error::PkiError;
use super::files::{PkiFiles, carry_out};
use super::inspect::Certificate;
use super::issue::{self, Authority, Pair};
use super::list::SERVICE_ACCOUNT_PUBLIC_KEY;
use super::rotation::{
    self, AUTHORITIES, FileChange, NEXT_SERVICE_ACCOUNT_KEY, Stage, next_certificate, next_key,
};
use super::spec::{CertSpec, specs};
use crate::cluster::Cluster;
use crate::lab::LabDirectory;
use crate::secret::Secret;

/// Returns the stage of the lab directory.
///
/// # Errors
/// Returns [`PkiError::Read`] with the file.
pub fn stage(lab: &LabDirectory) -> Result<Stage, PkiError> {
    Ok(rotation::stage(&PkiFiles::named(&lab.pki(), rotation::names())?.content))
}

/// Generates the new CAs and the new service account key beside the old ones, if they do not exist
/// yet.
///
/// # Errors
/// [`PkiError::Issue`], [`PkiError::Read`], [`PkiError::Write`].
pub fn begin(cluster: &Cluster, lab: &LabDirectory, now: OffsetDateTime) -> Result<(), PkiError> {
    let specs = specs(cluster);
    let files = PkiFiles::read(&lab.pki(), &specs)?;
    let mut steps = Vec::new();
    for spec in specs.iter().filter(|spec| spec.is_ca()) {
        if is_usable(&files, spec, now) {
            continue;
        }
        let pair = issue::new_ca(spec, now)?;
        // A key without its certificate is generated again; a certificate never exists without its
        // key.
        steps.push(FileChange::Write(next_key(&spec.name), pair.key));
        steps.push(FileChange::Write(next_certificate(&spec.name), pair.certificate.into()));
    }
    let key = files.content.get(NEXT_SERVICE_ACCOUNT_KEY).and_then(Secret::expose_text);
    if key.is_none_or(|key| issue::public_key(key).is_err()) {
        let key = issue::service_account_key(cluster.pki.algorithm)?;
        steps.push(FileChange::Write(NEXT_SERVICE_ACCOUNT_KEY.to_owned(), key));
    }
    carry_out(&steps, lab)
}

/// Moves on from trust to replace, from replace to drop, or from drop to settled.
///
/// # Errors
/// [`PkiError::Read`], [`PkiError::Write`].
pub fn advance(lab: &LabDirectory) -> Result<(), PkiError> {
    let replaced = AUTHORITIES.map(|ca| format!("{ca}.crt"));
    let replaced = replaced.into_iter().chain([SERVICE_ACCOUNT_PUBLIC_KEY.to_owned()]);
    let mut files = PkiFiles::named(&lab.pki(), rotation::names().chain(replaced))?;
    let unfinished = rotation::unfinished(&files.content);
    carry_out(&unfinished, lab)?;
    rotation::apply(&mut files.content, &unfinished);
    let steps = match rotation::stage(&files.content) {
        Stage::Settled => Vec::new(),
        Stage::Trust => rotation::replace(&files.content),
        Stage::Replace => rotation::drop_old(&files.content),
        Stage::Drop => rotation::settle(),
    };
    carry_out(&steps, lab)
}

/// Returns the current and previous CAs that have expired. An expired CA makes a graceful renewal
/// impossible, because nothing that it signed is accepted any more.
///
/// # Errors
/// Returns [`PkiError::Read`] with the file.
pub fn expired(lab: &LabDirectory, now: OffsetDateTime) -> Result<Vec<String>, PkiError> {
    let names =
        || AUTHORITIES.iter().flat_map(|ca| [format!("{ca}.crt"), rotation::old_certificate(ca)]);
    let files = PkiFiles::named(&lab.pki(), names())?;
    let has_ended = |name: &String| {
        let certificate = files.get(name).and_then(|pem| Certificate::from_pem(pem).ok());
        certificate.is_some_and(|certificate| now > certificate.not_after)
    };
    Ok(names().filter(has_ended).collect())
}

/// Whether the next CA of `spec` is complete.
fn is_usable(files: &PkiFiles, spec: &CertSpec, now: OffsetDateTime) -> bool {
    let text = |name: &str| {
        files.get(name).and_then(|bytes| str::from_utf8(bytes).ok()).map(str::to_owned)
    };
    let (Some(certificate), Some(key)) =
        (text(&next_certificate(&spec.name)), text(&next_key(&spec.name)))
    else {
        return false;
    };
    Authority::load(spec, &Pair { certificate, key: key.into() }, &files.folder, now).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::reissue::Why;
    use crate::pki::{fixture, store};

    fn lab() -> (tempfile::TempDir, LabDirectory) {
        let folder = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::new(folder.path());
        up(&lab);
        (folder, lab)
    }

    fn up(lab: &LabDirectory) -> store::Ensured {
        let ensured = store::ensure(&fixture::cluster(), lab, fixture::now()).expect("ensured");
        ensured.save(lab).expect("saved");
        ensured
    }

    fn certificates(ensured: &store::Ensured, name: &str) -> Vec<Certificate> {
        Certificate::all_from_pem(ensured.pki.get(name).expect(name)).expect(name)
    }

    #[test]
    fn nodes_get_what_belongs_to_the_stage() {
        let (cluster, (_folder, lab)) = (fixture::cluster(), lab());
        let before = up(&lab);
        begin(&cluster, &lab, fixture::now()).expect("begun");
        let trust = up(&lab);
        assert_eq!((trust.stage, trust.issued.len()), (Stage::Trust, 0), "only trust grows");
        assert_eq!(trust.pki.get("apiserver.crt"), before.pki.get("apiserver.crt"));
        assert_eq!(trust.pki.get(store::SIGNER), before.pki.get("ca.crt"));
        let [old, new] = &certificates(&trust, "ca.crt")[..] else { panic!("two CAs are trusted") };
        let keys = |ensured: &store::Ensured| {
            String::from_utf8(ensured.pki.get("sa.pub").expect("keys").to_vec())
                .expect("PEM")
                .matches("BEGIN")
                .count()
        };
        assert_eq!((keys(&before), keys(&trust)), (1, 2));

        advance(&lab).expect("replaced");
        let replaced = up(&lab);
        assert_eq!(replaced.stage, Stage::Replace);
        // The three CAs and the key existed already; all leaves and the public key are new.
        let leaves = specs(&cluster).iter().filter(|spec| !spec.is_ca()).count();
        assert_eq!(replaced.issued.len(), leaves + 1, "{:?}", replaced.issued);
        let signed = replaced.issued.iter().filter(|issued| issued.why == Why::OtherIssuer);
        assert_eq!(signed.count(), leaves);
        assert_eq!(certificates(&replaced, "ca.crt"), [new.clone(), old.clone()]);
        assert!(certificates(&replaced, "apiserver.crt")[0].is_signed_by(new));
        assert_eq!(
            (keys(&replaced), certificates(&replaced, store::SIGNER)),
            (2, vec![new.clone()])
        );

        advance(&lab).expect("dropped");
        assert_eq!(up(&lab).stage, Stage::Drop);
        advance(&lab).expect("settled");
        let settled = up(&lab);
        assert_eq!((settled.stage, settled.issued.len(), keys(&settled)), (Stage::Settled, 0, 1));
        assert_eq!(certificates(&settled, "ca.crt"), std::slice::from_ref(new));
        assert_eq!(settled.pki.get("apiserver.crt"), replaced.pki.get("apiserver.crt"));
    }

    #[test]
    fn an_interrupted_start_is_completed_and_keeps_finished_files() {
        let (cluster, (_folder, lab)) = (fixture::cluster(), lab());
        begin(&cluster, &lab, fixture::now()).expect("begun");
        let whole = std::fs::read(lab.pki().join("ca-next.crt")).expect("a CA");
        std::fs::remove_file(lab.pki().join("etcd/ca-next.crt")).expect("it was there");
        std::fs::remove_file(lab.pki().join("sa-next.key")).expect("it was there");
        assert_eq!(stage(&lab).expect("a stage"), Stage::Trust);
        up(&lab);
        begin(&cluster, &lab, fixture::now()).expect("completed");
        assert_eq!(std::fs::read(lab.pki().join("ca-next.crt")).expect("a CA"), whole);
        assert!(
            lab.pki().join("etcd/ca-next.crt").exists() && lab.pki().join("sa-next.key").exists()
        );
    }

    #[test]
    fn an_expired_ca_is_reported_and_can_be_replaced() {
        let (cluster, (_folder, lab)) = (fixture::cluster(), lab());
        let late = fixture::now() + time::Duration::days(3651);
        assert_eq!(expired(&lab, fixture::now()).expect("read"), [""; 0]);
        assert_eq!(expired(&lab, late).expect("read").len(), 3);
        let refused =
            store::ensure(&cluster, &lab, late).expect_err("the CA has expired").to_string();
        assert!(refused.contains("`labctl certs rotate-ca`"), "{refused}");
        begin(&cluster, &lab, late).expect("begun");
        advance(&lab).expect("replaced");
        store::ensure(&cluster, &lab, late).expect("the new CA signs").save(&lab).expect("saved");
        advance(&lab).expect("dropped");
        assert_eq!(expired(&lab, late).expect("read"), [""; 0]);
    }
}
