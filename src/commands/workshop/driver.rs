//! The cluster that works on a workshop, through kubectl: with the kubeconfig, the plugins and the
//! proxies that its user has.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::job::{NAME, WORKSHOP};
use crate::commands::exit::Stop;
use crate::secret::Secret;

/// How long the cluster may take for an answer.
const TIMEOUT: &str = "--request-timeout=20s";

/// How often the cluster is asked how far it is.
pub const OFTEN: Duration = Duration::from_secs(2);
/// How long a namespace that is being removed is waited for.
const GOING: Duration = Duration::from_secs(120);

/// What there is of a workshop in the cluster.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing, or this very submission.
    Free,
    /// This submission, which is being removed.
    Going,
    /// Another submission, in this namespace.
    Another(String),
}

/// The cluster, and the namespace in it that has all of a submission.
pub struct Driver {
    /// kubectl.
    pub program: PathBuf,
    /// The kubeconfig; without, kubectl finds its own.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace.
    pub namespace: String,
}

impl Driver {
    /// Refuses a second submission of a workshop that is worked on: it would be in the way of the
    /// first. This very submission, interrupted earlier, is resumed; its removal is waited for.
    pub async fn refuse_another(&self, workshop: &str) -> Result<(), Stop> {
        let began = Instant::now();
        loop {
            let label = format!("{WORKSHOP}={workshop}");
            let list = self.run(&["get", "namespaces", "-l", &label, "-o", "json"], None).await?;
            match standing(&parsed(&list)?, &self.namespace) {
                Standing::Free => return Ok(()),
                Standing::Going if began.elapsed() < GOING => tokio::time::sleep(OFTEN).await,
                Standing::Going => {
                    let what = format!("the namespace {} does not go", self.namespace);
                    return Err(Stop::failed(what).help(format!(
                        "`kubectl get namespace {} -o yaml` says what holds it",
                        self.namespace
                    )));
                }
                Standing::Another(other) => {
                    let what = format!("{workshop} was submitted with other contents, as {other}");
                    return Err(Stop::failed(what).help(format!(
                        "`kubectl -n {other} get job,pods` shows how far it is; `kubectl delete \
                        namespace {other}` ends it"
                    )));
                }
            }
        }
    }

    /// Asks for everything in `objects`; what is there stays.
    pub async fn ask_for(&self, objects: &Value) -> Result<(), Stop> {
        let text = Secret::from(objects.to_string());
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.run(&apply, Some(&text)).await.map(drop)
    }

    /// Returns the Job and its pods.
    pub async fn look(&self) -> Result<Value, Stop> {
        parsed(&self.run(&["get", "jobs,pods", "-o", "json"], None).await?)
    }

    /// Returns the log of a pod.
    pub async fn log(&self, pod: &str) -> Result<String, Stop> {
        self.run(&["logs", pod, "-c", NAME], None).await
    }

    /// Removes everything, without waiting for it.
    pub async fn remove(&self) -> Result<(), Stop> {
        let words = ["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"];
        self.run(&words, None).await.map(drop)
    }

    /// What a person types to watch it.
    pub fn watching(&self) -> String {
        format!("kubectl -n {} get pods", self.namespace)
    }

    async fn run(&self, words: &[&str], input: Option<&Secret>) -> Result<String, Stop> {
        let mut command = Command::new(&self.program);
        if let Some(file) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(file);
        }
        command.args(["--namespace", &self.namespace, TIMEOUT]).args(words);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let cannot = |error: std::io::Error| {
            Stop::failed(format!("cannot start {}: {error}", self.program.display()))
                .help("install kubectl on this machine")
        };
        let mut child = command.spawn().map_err(cannot)?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // What kubectl has not read it says itself.
            let _ = stdin.write_all(input.expose()).await;
        }
        let output = child.wait_with_output().await.map_err(cannot)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let verb = words.first().copied().unwrap_or_default();
        Err(Stop::failed(format!("kubectl {verb}: {why}"))
            .help("--kubeconfig names the kubeconfig of the cluster that is to work"))
    }
}

fn parsed(answer: &str) -> Result<Value, Stop> {
    serde_json::from_str(answer)
        .map_err(|error| Stop::failed(format!("kubectl's answer cannot be understood: {error}")))
}

/// Reads a list of a workshop's namespaces; `own` is this submission's.
fn standing(namespaces: &Value, own: &str) -> Standing {
    let mut standing = Standing::Free;
    for namespace in namespaces["items"].as_array().into_iter().flatten() {
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        let going = namespace["status"]["phase"] == "Terminating";
        match (name == own, going) {
            (true, true) => standing = Standing::Going,
            (true, false) | (false, true) => {}
            (false, false) => return Standing::Another(name.to_owned()),
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_submission_of_a_workshop_at_a_time() {
        let list = |namespaces: &[(&str, &str)]| {
            let item = |(name, phase): &(&str, &str)| {
                let (metadata, status) = (json!({ "name": name }), json!({ "phase": phase }));
                json!({ "metadata": metadata, "status": status })
            };
            json!({ "items": namespaces.iter().map(item).collect::<Vec<_>>() })
        };
        let of = |namespaces: &[(&str, &str)]| standing(&list(namespaces), "own");
        assert_eq!(of(&[]), Standing::Free);
        assert_eq!(of(&[("own", "Active")]), Standing::Free);
        assert_eq!(of(&[("earlier", "Terminating")]), Standing::Free);
        assert_eq!(of(&[("own", "Terminating")]), Standing::Going);
        let both = [("own", "Terminating"), ("other", "Active")];
        assert_eq!(of(&both), Standing::Another("other".to_owned()));
    }
}
