//! Bytes that nobody may see: private keys, the encryption key, files that may hold either, and
//! passwords.
//!
//! A [`Secret`] has no `Display` and cannot be serialized, its `Debug` shows its length only, and
//! its memory is wiped when the last copy is dropped. Whoever needs the bytes has to write
//! [`Secret::expose`], which is easy to find.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Bytes that are never printed, and wiped when they are dropped. A clone shares them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text; `None` when they are none.
    pub fn expose_text(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }

    /// How many bytes there are, which is no secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} secret bytes]", self.len())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Secret {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<&Secret> for Secret {
    fn from(secret: &Secret) -> Self {
        secret.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let secret = Secret::from("the key");
        let shown = format!("{secret:?} {secret:#?} {:?}", Some(("name", &secret)));
        for part in ["the", "key", "116", "0x74"] {
            assert!(!shown.contains(part), "{shown}");
        }
        assert_eq!(format!("{secret:?}"), "[7 secret bytes]");
    }

    #[test]
    fn a_clone_is_no_copy() {
        let secret = Secret::from("the key");
        let clone = secret.clone();
        assert!(std::ptr::eq(secret.expose(), clone.expose()));
        drop(secret);
        assert_eq!(clone.expose(), b"the key", "it is wiped with the last one only");
    }
}
