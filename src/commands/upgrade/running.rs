//! What a lab runs before an upgrade: asked of its controllers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::skew::Running;
use crate::cluster::{Cluster, Node, Role, Version};
use crate::commands::exit::Stop;
use crate::commands::ownership::connected_must_be_ours;
use crate::engine::{Connections, Run, connect::connect};
use crate::node::VERSIONS;
use crate::transport::{Exec, Stdin};

const PATIENCE: Duration = Duration::from_secs(60);

/// The answers of all controllers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The API server's version on each controller.
    pub apis: BTreeMap<String, Version>,
    /// The kubelet's version of each Node object.
    pub kubelets: BTreeMap<String, Version>,
    /// etcd's newest version.
    pub etcd: Option<String>,
    /// Objects that somebody asks for by a version of the API that a release removes.
    pub deprecated: Vec<Deprecated>,
}

/// A version of an API that somebody uses, and that a release removes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deprecated {
    /// The minor release without it.
    pub removed: u16,
    /// `flowschemas`.
    pub resource: String,
    /// `flowcontrol.apiserver.k8s.io/v1beta3`.
    pub version: String,
}

impl Answers {
    /// What each node runs.
    pub fn running(&self, cluster: &Cluster) -> Running {
        let of = |node: &Node| {
            let api = self.apis.get(&node.name).filter(|_| node.has(Role::Controller));
            let kubelet = self.kubelets.get(&node.name).filter(|_| node.has(Role::Worker));
            api.into_iter().chain(kubelet).min().copied()
        };
        cluster.nodes.iter().filter_map(|node| Some((node.name.clone(), of(node)?))).collect()
    }

    /// Adds what one controller said.
    pub fn hear(&mut self, controller: &str, said: &str) {
        let version = |text: &str| text.parse::<Version>().ok();
        for line in said.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["api", text] => {
                    self.apis.extend(version(text).map(|it| (controller.to_owned(), it)));
                }
                ["kubelet", name, text] => {
                    self.kubelets.extend(version(text).map(|it| (name.to_owned(), it)));
                }
                ["etcd", text] => self.etcd = self.etcd.take().max(Some(text.to_owned())),
                ["deprecated", removed, resource, version, ref group @ ..] => {
                    let Some(removed) = removed.strip_prefix("1.").and_then(|it| it.parse().ok())
                    else {
                        continue;
                    };
                    let version = match group {
                        [group] => format!("{group}/{version}"),
                        _ => version.to_owned(),
                    };
                    let found = Deprecated { removed, resource: resource.to_owned(), version };
                    if !self.deprecated.contains(&found) {
                        self.deprecated.push(found);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Asks every controller. All of them must answer: an upgrade needs a lab that is well.
///
/// # Errors
/// If a controller cannot be reached or its API server does not answer.
pub async fn ask(cluster: &Cluster, run: &Run) -> Result<Answers, Stop> {
    let controllers: Vec<&Node> = cluster.with_role(Role::Controller).collect();
    let connections = connect(cluster, &controllers, run).await;
    connected_must_be_ours(cluster, &connections, run).await?;
    let mut answers = Answers::default();
    for node in controllers {
        let said = told(&connections, &node.name, cluster.api.server_port).await;
        match said {
            Ok(said) => answers.hear(&node.name, &said),
            Err(why) => {
                let what = format!("the control plane of {} is not well: {why}", node.name);
                return Err(Stop::failed(what)
                    .help("an upgrade begins with a lab that is well; see `labctl smoke`"));
            }
        }
    }
    Ok(answers)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controllers_say_is_put_together() {
        let mut answers = Answers::default();
        let said = "api 1.31.0\netcd 3.5.21\nkubelet worker-0 v1.30.14\nkubelet worker-1 v1.31.0\n\
            deprecated 1.32 flowschemas v1beta3 flowcontrol.apiserver.k8s.io\n";
        answers.hear("controller-0", said);
        answers.hear("controller-1", "api 1.30.14\nnoise\ndeprecated never x y z\n");
        assert_eq!(answers.apis["controller-1"].to_string(), "1.30.14");
        assert_eq!(answers.kubelets["worker-0"].to_string(), "1.30.14");
        assert_eq!(answers.etcd.as_deref(), Some("3.5.21"));
        let version = "flowcontrol.apiserver.k8s.io/v1beta3".to_owned();
        let resource = "flowschemas".to_owned();
        assert_eq!(answers.deprecated, [Deprecated { removed: 32, resource, version }]);
    }
}
