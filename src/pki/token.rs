//! The lab's bootstrap token: what a machine can join with that has no certificate yet (pure).
//!
//! It follows from the key that signs service account tokens, so it is as secret as that key and
//! one file less to keep: every run finds the same token, and a rotation of the key replaces it.

use sha2::Digest as _;

use super::error::PkiError;
use super::files::Pki;
use super::list::SERVICE_ACCOUNT_KEY;
use crate::secret::Secret;

/// Sets this use of the key apart from any other.
const PURPOSE: &[u8] = b"labctl: bootstrap token\n";
/// Length that Kubernetes wants of the secret half.
const LENGTH: usize = 16;

/// Returns the secret half of the token.
///
/// # Errors
/// [`PkiError::Absent`].
pub fn secret(pki: &Pki) -> Result<Secret, PkiError> {
    let key = pki.require(SERVICE_ACCOUNT_KEY)?;
    let digest = sha2::Sha256::new().chain_update(PURPOSE).chain_update(key).finalize();
    let mut text = hex::encode(digest);
    text.truncate(LENGTH);
    Ok(text.into())
}
