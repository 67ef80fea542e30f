//! SSH
use super::{Exec, Output, Traffic, TransportError};

/// stub
#[derive(Debug, Clone)]
pub struct Session;
impl Session {
    /// stub
    pub async fn exec(&self, _exec: Exec) -> Result<Output, TransportError> {
        Ok(Output::default())
    }
    /// stub
    pub fn traffic(&self) -> &Traffic {
        unreachable!()
    }
}
