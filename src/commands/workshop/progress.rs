//! How far the slices of a workshop are, as the cluster that works on them says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::job::INDEX_LABEL;

/// How a slice is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SliceState {
    /// No pod has been seen yet.
    #[default]
    Queued,
    /// Its pod does not run, and why.
    Waiting(String),
    /// Its pod runs on this machine.
    Running(String),
    /// The machine of its pod is gone, or the pod has failed; another pod will begin again.
    Lost(String),
    /// It has ended; the log of this pod has the outcome.
    Ended(String),
}

impl SliceState {
    /// Whether its pod cannot start for a reason that does not pass by itself.
    pub fn is_stuck(&self) -> bool {
        matches!(self, Self::Waiting(why) if [
            "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
            "CreateContainerConfigError", "Unschedulable",
        ].iter().any(|reason| why.starts_with(reason)))
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// What has become of a slice between two looks: a pod that ran was lost if another has its
    /// place already.
    pub fn lost_by(&self, next: &Self) -> Option<Self> {
        match (self, next) {
            (_, Self::Ended(_) | Self::Lost(_)) => None,
            (Self::Running(there), next) if next != self => Some(Self::Lost(there.clone())),
            _ => None,
        }
    }

    /// What counts most, where a slice has several pods.
    fn rank(&self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Lost(_) => 1,
            Self::Waiting(_) => 2,
            Self::Running(_) => 3,
            Self::Ended(_) => 4,
        }
    }
}

/// What a cluster says of the slices.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// How each is that a pod has been made for.
    pub slices: BTreeMap<usize, SliceState>,
    /// Why the whole Job has failed, if it has.
    pub failed: Option<String>,
}

impl JobProgress {
    /// Reads a list of the namespace's Job and pods.
    pub fn of(list: &Value) -> Self {
        let mut progress = Self::default();
        for item in list["items"].as_array().into_iter().flatten() {
            match item["kind"].as_str() {
                Some("Job") => progress.failed = failure(item),
                Some("Pod") => {
                    let Some(index) = index(item) else { continue };
                    let (state, known) = (state(item), progress.slices.entry(index).or_default());
                    if state.rank() > known.rank() {
                        *known = state;
                    }
                }
                _ => {}
            }
        }
        progress
    }
}

fn index(pod: &Value) -> Option<usize> {
    pod["metadata"]["annotations"][INDEX_LABEL].as_str()?.parse().ok()
}

fn failure(job: &Value) -> Option<String> {
    let conditions = job["status"]["conditions"].as_array()?;
    let holds = |it: &&Value| it["type"] == "Failed" && it["status"] == "True";
    let failed = conditions.iter().find(holds)?;
    let text = |key: &str| failed[key].as_str().unwrap_or_default();
    Some(format!("{}: {}", text("reason"), text("message")))
}

fn state(pod: &Value) -> SliceState {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, node) = (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
    match pod["status"]["phase"].as_str() {
        Some("Succeeded") => SliceState::Ended(name),
        Some("Failed") => SliceState::Lost(node),
        // Of a machine that is gone, pods are deleted and stay.
        _ if !pod["metadata"]["deletionTimestamp"].is_null() => SliceState::Lost(node),
        Some("Running") => SliceState::Running(node),
        _ => SliceState::Waiting(waiting(pod)),
    }
}

/// Why a pod does not run yet.
fn waiting(pod: &Value) -> String {
    let status = &pod["status"];
    let container = &status["containerStatuses"][0]["state"]["waiting"];
    let unscheduled = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|it| it["type"] == "PodScheduled" && it["status"] == "False");
    let why = unscheduled.unwrap_or(container);
    let text = |key: &str| why[key].as_str().unwrap_or_default();
    match (text("reason"), text("message")) {
        ("", _) => "its pod is being made".to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, index: &str, node: &str, status: Value) -> Value {
        json!({
            "kind": "Pod",
            "metadata": { "name": name, "annotations": { INDEX_LABEL: index } },
            "spec": { "nodeName": node }, "status": status,
        })
    }

    #[test]
    fn each_slice_is_as_its_best_pod() {
        let mut gone = pod("a", "0", "worker-0", json!({ "phase": "Running" }));
        gone["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        let image = json!({ "phase": "Pending", "containerStatuses": [{ "state": { "waiting": {
            "reason": "ImagePullBackOff", "message": "Back-off pulling image" } } }] });
        let full = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/2 nodes" }] });
        let list = json!({ "items": [
            { "kind": "Job", "status": {} },
            gone,
            pod("b", "0", "worker-1", json!({ "phase": "Running" })),
            pod("c", "1", "worker-0", json!({ "phase": "Failed" })),
            pod("d", "2", "worker-1", image),
            pod("e", "3", "", full),
            pod("f", "4", "worker-1", json!({ "phase": "Succeeded" })),
            pod("g", "5", "worker-1", json!({ "phase": "Pending" })),
        ] });
        let JobProgress { slices, failed } = JobProgress::of(&list);
        assert_eq!(failed, None);
        let states: Vec<_> = slices.into_values().collect();
        let stuck: Vec<bool> = states.iter().map(SliceState::is_stuck).collect();
        assert_eq!(stuck, [false, false, true, true, false, false]);
        assert_eq!(
            states,
            [
                SliceState::Running("worker-1".into()),
                SliceState::Lost("worker-0".into()),
                SliceState::Waiting("ImagePullBackOff: Back-off pulling image".into()),
                SliceState::Waiting("Unschedulable: 0/2 nodes".into()),
                SliceState::Ended("f".into()),
                SliceState::Waiting("its pod is being made".into()),
            ]
        );
    }

    #[test]
    fn a_pod_is_lost_when_another_has_its_place() {
        let running = |machine: &str| SliceState::Running(machine.to_owned());
        let lost = Some(SliceState::Lost("a".to_owned()));
        assert_eq!(running("a").lost_by(&running("b")), lost);
        assert_eq!(running("a").lost_by(&SliceState::Waiting("its pod".to_owned())), lost);
        for next in [running("a"), SliceState::Ended("pod".to_owned()), lost.clone().expect("it")] {
            assert_eq!(running("a").lost_by(&next), None);
        }
        assert_eq!(SliceState::Queued.lost_by(&running("a")), None);
    }

    #[test]
    fn a_job_that_has_failed_says_why() {
        let list = json!({ "items": [{ "kind": "Job", "status": { "conditions": [
            { "type": "FailureTarget", "status": "True" },
            { "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
              "message": "too many" },
        ] } }] });
        assert_eq!(
            JobProgress::of(&list).failed.as_deref(),
            Some("BackoffLimitExceeded: too many")
        );
        assert_eq!(JobProgress::of(&json!({})), JobProgress::default());
    }
}
