//! The smoke test: what one would try on a fresh cluster. Each check has a name, a duration, and a
//! reason if it fails.
//!
//! The checks are data ([`checks`]): a sentence and the shell script that proves it, which runs on
//! the first controller with its kubectl and etcdctl. They use their own namespace, which is
//! removed afterwards.

pub mod run;

use std::time::Duration;

use crate::cluster::{Cluster, Role};
use crate::module::kubectl_apply::KUBECTL;
use crate::module::quote;

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

/// Shell functions and variables for the script of every check.
fn preamble() -> String {
    format!(
        r#"set -eu
export KUBECONFIG=/etc/kubernetes/admin.conf
PATH=/usr/local/bin:$PATH
ns={NAMESPACE}
k() {{ kubectl -n "$ns" "$@"; }}
fail() {{ echo "$*" >&2; exit 1; }}
fetch() {{ k exec "$1" -- wget -q -T 5 -O - "$2" </dev/null; }} # pod, URL
# A Service's rules follow its creation after a moment, and a first packet that came too early is not sent elsewhere
# later: so new connections are tried until one is answered.
answers() {{ # pod, URL
  for try in 1 2 3 4 5 6; do
    k exec "$1" -- wget -q -T 2 -O - "$2" >/dev/null 2>&1 </dev/null && return
    sleep 0.5
  done
  fetch "$1" "$2" >/dev/null || fail "no answer from $2 to $1"
}}
"#
    )
}

/// Returns shell text that sets `$list` to the Deployment's pods, one line per pod: name, address,
/// node. It fails unless all pods are listed, so that no loop over them passes because it has
/// nothing to do. Loops read `$list` from a here-document instead of a pipe, so that a failure in
/// them ends the check.
fn list_pods(workers: usize) -> String {
    format!(
        r#"list=$(k get pods -l app=web -o "jsonpath={{range .items[*]}}{{.metadata.name}} {{.status.podIP}} {{.spec.nodeName}}{{'\n'}}{{end}}")
found=$(printf '%s\n' "$list" | grep -c '^[^ ][^ ]* [^ ][^ ]* [^ ][^ ]*$' || :)
[ "$found" = {wanted} ] || fail "only $found of {wanted} pods have an address and a node: $list"
"#,
        wanted = workers * PODS_PER_WORKER
    )
}

/// Starts the removal of the checked objects without waiting for it.
///
/// The cluster waits five seconds before it processes a deleted namespace; meanwhile its pods can
/// terminate.
pub fn begin_clean_up() -> String {
    format!(
        "{}k delete deployment --all --wait=false >/dev/null 2>&1 || :\n\
         kubectl delete namespace \"$ns\" --ignore-not-found --wait=false >/dev/null\n",
        preamble()
    )
}

/// Removes everything that a smoke test has left behind.
pub fn clean_up() -> String {
    format!(
        "{}kubectl delete namespace \"$ns\" --ignore-not-found --wait=true --timeout=90s \
        >/dev/null\n",
        preamble()
    )
}

/// Creates the objects that the checks use. `manifest` is the rendered template `smoke/smoke.yaml`.
pub fn set_up(manifest: &str) -> String {
    format!("{}kubectl apply -f - <<'LABCTL_EOF' >/dev/null\n{manifest}\nLABCTL_EOF\n", preamble())
}

/// Returns every check for this lab, in order.
pub fn checks(cluster: &Cluster) -> Vec<Check> {
    let workers: Vec<_> = cluster.with_role(Role::Worker).collect();
    let names: Vec<&str> = workers.iter().map(|node| node.name.as_str()).collect();
    let addresses: Vec<String> = workers.iter().map(|node| node.address.to_string()).collect();
    let pods = list_pods(workers.len());
    let check = |name: &str, script: String| Check {
        name: name.to_owned(),
        script: preamble() + &script,
        timeout: Duration::from_secs(60),
        essential: false,
    };
    let of_pods = |name: &str, script: &str| check(name, format!("{pods}{script}"));
    let of_every_lab = vec![
        check("every worker is Ready", format!("workers='{}'\n{READY}", names.join(" "))),
        check("a Secret is encrypted in etcd", ETCD_SECRET.to_owned()),
        Check {
            timeout: Duration::from_secs(180),
            essential: true,
            ..check(
                "a Deployment spreads over the workers",
                format!("{ROLLOUT}{pods}{}", spread(workers.len())),
            )
        },
        of_pods("every pod reaches every pod", ALL_PODS),
        of_pods("a ClusterIP answers", CLUSTER_IP),
        of_pods(
            "a NodePort answers on every worker",
            &format!("nodes='{}'\n{NODE_PORT}", addresses.join(" ")),
        ),
        of_pods(
            "DNS resolves kubernetes from a pod",
            &format!(
                "name=kubernetes.default.svc.{} service={}\n{DNS}",
                cluster.domain, cluster.network.kubernetes_service
            ),
        ),
        of_pods("kubectl logs shows a pod's output", LOGS),
        of_pods("kubectl exec runs a command in a pod", EXEC),
        of_pods("kubectl port-forward reaches a pod", PORT_FORWARD),
    ];
    let wanted = OF_ADDONS.iter().filter(|(addon, ..)| cluster.addons.iter().any(|it| it == addon));
    let of_addons = wanted
        .map(|(_, name, script)| check(name, format!("workers='{}'\n{script}", names.join(" "))));
    of_every_lab.into_iter().chain(of_addons).collect()
}

/// What is checked where the inventory asks for an add-on: its name, the sentence, and shell text
/// that can use `$workers`.
const OF_ADDONS: &[(&str, &str, &str)] =
    &[("metrics-server", "kubectl top knows every worker", TOP)];

/// Checks by name: a node that is Ready but not in the lab does not make up for one that is not
/// Ready.
const READY: &str = r#"found=$(kubectl get nodes -o "jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=='Ready')].status}{'\n'}{end}")
for worker in $workers; do
  printf '%s\n' "$found" | grep -qxF "$worker True" || fail "$worker is not Ready: $(kubectl get nodes --no-headers)"
done
"#;

const TOP: &str = r#"found=$(kubectl top nodes --no-headers)
for worker in $workers; do
  printf '%s\n' "$found" | grep -q "^$worker  *[0-9]" || fail "there are no figures of $worker: $found"
done
"#;

const ROLLOUT: &str = r#"k rollout status deployment/web --timeout=150s >/dev/null || {
  k get pods -o wide >&2
  k get events --sort-by=.lastTimestamp | tail -n 5 >&2
  exit 1
}
"#;

fn spread(workers: usize) -> String {
    format!(
        r#"used=$(printf '%s\n' "$list" | cut -d' ' -f3 | sort -u | grep -c .)
[ "$used" = {workers} ] || fail "its pods run on $used of {workers} workers: $list"
"#
    )
}

const ETCD_SECRET: &str = r#"raw=$(etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
  --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt --key=/etc/kubernetes/pki/etcd/healthcheck-client.key \
  get "/registry/secrets/$ns/smoke" --print-value-only | tr -d '\0' | head -c 40)
case $raw in k8s:enc:*) ;; *) fail "the raw value in etcd does not begin with k8s:enc:" ;; esac
value=$(k get secret smoke -o 'jsonpath={.data.word}' | base64 -d)
[ "$value" = in-the-clear ] || fail "the API returns another value than was stored"
"#;

const ALL_PODS: &str = r#"while read -r from _; do while read -r to address node; do
  answer=$(fetch "$from" "http://$address:8080/") || fail "$from cannot reach $to ($address on $node)"
  [ "$answer" = "$to" ] || fail "$from sent a request to $to and $answer answered"
done <<TO
$list
TO
done <<FROM
$list
FROM
"#;

const CLUSTER_IP: &str = r#"address=$(k get service web -o 'jsonpath={.spec.clusterIP}')
[ -n "$address" ] || fail "the Service web has no ClusterIP"
while read -r pod _; do
  answers "$pod" "http://$address/"
  # Once its rules are there, every connection is answered, whichever pod it is sent to.
  for again in 1 2 3 4; do fetch "$pod" "http://$address/" >/dev/null || fail "no answer from $address to $pod"; done
done <<PODS
$list
PODS
"#;

const NODE_PORT: &str = r#"port=$(k get service web-nodeport -o 'jsonpath={.spec.ports[0].nodePort}')
[ -n "$port" ] || fail "the Service web-nodeport has no port"
while read -r pod _; do
  for node in $nodes; do answers "$pod" "http://$node:$port/"; done
done <<PODS
$list
PODS
"#;

const DNS: &str = r#"while read -r pod _; do
  answer=$(k exec "$pod" -- nslookup "$name" </dev/null 2>&1) || fail "$pod: $answer"
  case $answer in *"$service"*) ;; *) fail "$pod got the wrong answer: $answer" ;; esac
done <<PODS
$list
PODS
"#;

const LOGS: &str = r#"while read -r pod _; do
  said=$(k logs "$pod" </dev/null) || fail "there is no log of $pod"
  case $said in *"serving as $pod"*) ;; *) fail "the log of $pod lacks its output: $said" ;; esac
done <<PODS
$list
PODS
"#;

const EXEC: &str = r#"while read -r pod _; do
  name=$(k exec "$pod" -- hostname </dev/null) || fail "cannot run a command in $pod"
  [ "$name" = "$pod" ] || fail "hostname in $pod prints $name"
done <<PODS
$list
PODS
"#;

// bash only for its /dev/tcp, because a minimal node has no HTTP client.
const PORT_FORWARD: &str = r#"pod=${list%% *}
log=$(mktemp)
# Not `k`: what is ended below is kubectl itself and not a shell that waits for it.
kubectl -n "$ns" port-forward --address 127.0.0.1 "pod/$pod" :8080 > "$log" 2>&1 &
forward=$!
trap 'kill $forward 2>/dev/null; rm -f "$log"' EXIT
until grep -q '^Forwarding' "$log"; do kill -0 $forward 2>/dev/null || fail "$(cat "$log")"; sleep 0.1; done
port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log" | head -n 1)
answer=$(bash -c 'exec 3<>/dev/tcp/127.0.0.1/'"$port"'; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3' | tail -n 1)
[ "$answer" = "$pod" ] || fail "asked $pod and got: $answer"
"#;

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
        stop: format!("systemctl stop {units}"),
        watch: format!(
            "{}for try in 1 2 3 4 5 6 7 8 9 10; do\n  kubectl --request-timeout=10s get \
            --raw=/readyz >/dev/null || fail \"call $try of 10 failed\"\ndone\n",
            preamble()
        ),
        start: format!(
            "systemctl start {units} && timeout 100 sh -c {}",
            quote(&format!(
                "until {KUBECTL} get --raw=/readyz >/dev/null 2>&1; do sleep 0.2; done"
            ))
        ),
    })
}
