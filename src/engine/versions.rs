//! Asks controllers what their lab runs.

use std::time::Duration;

use super::Connections;
use crate::cluster::running::VersionsFound;
use crate::cluster::{Cluster, Role};
use crate::node::VERSIONS;
use crate::transport::{Exec, Stdin};

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks every controller. All of them must answer: an upgrade needs a lab that is well.
///
/// # Errors
/// The controller that does not answer, and why.
pub async fn versions(
    cluster: &Cluster,
    connections: &Connections,
) -> Result<VersionsFound, (String, String)> {
    let mut found = VersionsFound::default();
    for node in cluster.with_role(Role::Controller) {
        let said = told(connections, &node.name, cluster.api.server_port).await;
        found.hear(&node.name, &said.map_err(|why| (node.name.clone(), why))?);
    }
    Ok(found)
}

async fn told(connections: &Connections, node: &str, port: u16) -> Result<String, String> {
    let Some(transport) = connections.get(node) else {
        return Err("it cannot be reached".to_owned());
    };
    let script = format!("port={port}\n{VERSIONS}");
    let exec = Exec::new("sh -s", PATIENCE).stdin(Stdin::Bytes(script.into_bytes()));
    let output = transport.exec(exec).await.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.code == 0 && said.contains("api ") {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(errors.lines().last().unwrap_or("no answer").to_owned())
}
