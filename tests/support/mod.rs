//! What tests share: labs that are data, servers to talk to, a machine to change.

pub mod http_server;
pub mod labs;
pub mod machine;
pub mod neighbours;
pub mod official;
pub mod prose;
pub mod record;
pub mod releases;
#[allow(dead_code, reason = "tests/scale.rs uses the rest of it")]
pub mod ssh_server;
pub mod workshop;
