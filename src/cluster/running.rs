//! What a lab runs before an upgrade, read from what its controllers print.

use std::collections::BTreeMap;

use super::skew::Running;
use super::{Cluster, Node, Role, Version};

/// What a lab runs, as its controllers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionsFound {
    /// The API server's version on each controller.
    pub apis: BTreeMap<String, Version>,
    /// The kubelet's version of each Node object.
    pub kubelets: BTreeMap<String, Version>,
    /// etcd's newest version.
    pub etcd: Option<String>,
    /// Objects that somebody asks for by a version of the API that a release removes.
    pub deprecated: Vec<DeprecatedApi>,
}

/// A version of an API that somebody uses, and that a release removes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeprecatedApi {
    /// The minor release without it.
    pub removed: u16,
    /// `flowschemas`.
    pub resource: String,
    /// `flowcontrol.apiserver.k8s.io/v1beta3`.
    pub version: String,
}

impl VersionsFound {
    /// What each node runs: the older one on a node that is both.
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
                    let found = DeprecatedApi { removed, resource: resource.to_owned(), version };
                    if !self.deprecated.contains(&found) {
                        self.deprecated.push(found);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controllers_say_is_put_together() {
        let mut answers = VersionsFound::default();
        let said = "api 1.31.0\netcd 3.5.21\nkubelet worker-0 v1.30.14\nkubelet worker-1 v1.31.0\n\
            deprecated 1.32 flowschemas v1beta3 flowcontrol.apiserver.k8s.io\n";
        answers.hear("controller-0", said);
        answers.hear("controller-1", "api 1.30.14\nnoise\ndeprecated never x y z\n");
        assert_eq!(answers.apis["controller-1"].to_string(), "1.30.14");
        assert_eq!(answers.kubelets["worker-0"].to_string(), "1.30.14");
        assert_eq!(answers.etcd.as_deref(), Some("3.5.21"));
        let version = "flowcontrol.apiserver.k8s.io/v1beta3".to_owned();
        let resource = "flowschemas".to_owned();
        assert_eq!(answers.deprecated, [DeprecatedApi { removed: 32, resource, version }]);
    }
}
