//! The smoke test: what one would try on a fresh cluster. Each check has a name, a duration, and a
//! reason if it fails.
//!
//! The checks are data ([`checks`]): a sentence and the shell script that proves it, which runs on
//! the first controller with its kubectl and etcdctl. They use their own namespace, which is
//! removed afterwards.

pub mod run;

use std::time::Duration;

use crate::cluster::{Cluster, Role, network};
use crate::module::quote;
use crate::node::SMOKE;

/// The namespace of all checks.
pub const NAMESPACE: &str = "labctl-smoke";

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked, as a sentence.
    pub name: String,
    /// Shell script for the first controller; exit code 0 means passed.
    pub script: String,
    /// Time limit.
    pub timeout: Duration,
    /// Whether a failure makes all later checks pointless.
    pub essential: bool,
}

/// Number of pods per worker of the test's Deployment; the template `smoke.yaml` requests the same.
const PODS_PER_WORKER: usize = 2;

/// Returns the shell text that calls `what` of `smoke.sh`.
fn call(what: &str) -> String {
    format!("ns={NAMESPACE}\n{SMOKE}\n{what}\n")
}

/// Starts the removal of the checked objects without waiting for it.
///
/// The cluster waits five seconds before it processes a deleted namespace; meanwhile its pods can
/// terminate.
pub fn begin_clean_up() -> String {
    call("begin_clean_up")
}

/// Removes everything that a smoke test has left behind.
pub fn clean_up() -> String {
    call("clean_up")
}

/// Creates the objects that the checks use. `manifest` is the rendered template `smoke/smoke.yaml`.
pub fn set_up(manifest: &str) -> String {
    call(&format!("set_up <<'LABCTL_EOF'\n{manifest}\nLABCTL_EOF"))
}

/// Returns every check for this lab, in order.
pub fn checks(cluster: &Cluster) -> Vec<Check> {
    let workers: Vec<_> = cluster.with_role(Role::Worker).collect();
    let names: Vec<&str> = workers.iter().map(|node| node.name.as_str()).collect();
    let addresses: Vec<String> = workers.iter().map(|node| node.address.to_string()).collect();
    let second = workers.iter().filter_map(|node| node.second_address);
    let second: Vec<String> = second.map(|address| address.to_string()).collect();
    let check = |name: &str, what: &str| Check {
        name: name.to_owned(),
        script: call(what),
        timeout: Duration::from_secs(60),
        essential: false,
    };
    let pods = format!("list_pods {}", workers.len() * PODS_PER_WORKER);
    let of_pods = |name: &str, what: &str| check(name, &format!("{pods}\n{what}"));
    let of_workers = |what: &str| format!("workers='{}'\n{what}", names.join(" "));
    let (domain, service) = (&cluster.domain, cluster.network.kubernetes_service);
    let of_every_lab = vec![
        check("every worker is Ready", &of_workers("ready")),
        check("a Secret is encrypted in etcd", "secret_encrypted"),
        Check {
            timeout: Duration::from_secs(180),
            essential: true,
            ..check(
                "a Deployment spreads over the workers",
                &format!("rollout\n{pods}\nspread {}", workers.len()),
            )
        },
        of_pods("every pod reaches every pod", "all_pods"),
        of_pods("a ClusterIP answers", "cluster_ip"),
        of_pods(
            "a NodePort answers on every worker",
            &format!("nodes='{}'\nnode_port", addresses.join(" ")),
        ),
        of_pods(
            "DNS resolves kubernetes from a pod",
            &format!("name=kubernetes.default.svc.{domain} service={service}\ndns"),
        ),
        of_pods("kubectl logs shows a pod's output", "logs"),
        of_pods("kubectl exec runs a command in a pod", "exec_in_pods"),
        of_pods("kubectl port-forward reaches a pod", "port_forward"),
    ];
    let family = cluster.network.second.map(|it| network::family(it.pods));
    let of_second = family.map(|family| {
        let again = |what: &str| format!("second=yes\n{pods}\n{what}");
        [
            check(&format!("every pod reaches every pod by {family}"), &again("all_pods")),
            check(&format!("a ClusterIP answers by {family}"), &again("cluster_ip")),
            check(
                &format!("a NodePort answers on every worker by {family}"),
                &again(&format!("nodes='{}'\nnode_port", second.join(" "))),
            ),
        ]
    });
    let wanted = OF_ADDONS.iter().filter(|(addon, ..)| cluster.addons.iter().any(|it| it == addon));
    let of_addons = wanted.map(|(_, name, what)| check(name, &of_workers(what)));
    let of_second = of_second.into_iter().flatten();
    of_every_lab.into_iter().chain(of_second).chain(of_addons).collect()
}

/// What is checked where the inventory asks for an add-on: its name, the sentence, and the function
/// of `smoke.sh`, which can use `$workers`.
const OF_ADDONS: &[(&str, &str, &str)] =
    &[("metrics-server", "kubectl top knows every worker", "top_nodes")];

/// The parts of the last check: the API stays up through the load balancer when a controller stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// What is checked, as a sentence.
    pub name: String,
    /// The controller whose control plane is stopped temporarily.
    pub victim: String,
    /// Script for the victim: stops the control plane.
    pub stop: String,
    /// Script for the first controller: the API must answer every request through the endpoint.
    pub watch: String,
    /// Script for the victim: starts the control plane and waits until it is healthy.
    pub start: String,
}

/// Returns the last check if there is a load balancer with more than one controller behind it.
pub fn failover(cluster: &Cluster) -> Option<Failover> {
    let controllers: Vec<_> = cluster.with_role(Role::Controller).collect();
    cluster.api.loadbalancer.as_ref()?;
    let victim = controllers.last().filter(|_| controllers.len() > 1)?;
    // With two members etcd tolerates no loss, so stop only the API server.
    let units = if controllers.len() > 2 { "kube-apiserver etcd" } else { "kube-apiserver" };
    Some(Failover {
        name: format!(
            "the API answers through the load balancer while {} is stopped",
            quote(&victim.name)
        ),
        victim: victim.name.clone(),
        stop: call(&format!("stop_control_plane {units}")),
        watch: call("watch_api"),
        start: call(&format!("start_control_plane {units}")),
    })
}
