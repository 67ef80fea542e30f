//! A shell on this machine, behind the same face as a node: what tests run the very same scripts with.
use super::{Exec, Output, Traffic, TransportError};

/// stub
#[derive(Debug, Clone)]
pub struct Shell;
impl Shell {
    /// stub
    pub async fn exec(&self, _exec: Exec) -> Result<Output, TransportError> {
        Ok(Output::default())
    }
    /// stub
    pub fn traffic(&self) -> &Traffic {
        unreachable!()
    }
}
