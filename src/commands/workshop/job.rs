//! What a cluster is asked for, to work on a workshop in slices: an Indexed Job, and Secrets with
//! what each slice takes along.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

/// The name of the Job, and of the container in its pods.
pub const NAME: &str = "labctl";
/// The label of a namespace that says which workshop is worked on in it.
pub const WORKSHOP: &str = "labctl/workshop";
/// Where pods find what the slices take along: `INDEX.tar.gz`.
pub const SLICES: &str = "/slices";
/// The variable in which a pod finds the number of its slice, from 0.
pub const INDEX: &str = "JOB_COMPLETION_INDEX";
/// The annotation and label of a pod that has it.
pub const INDEX_LABEL: &str = "batch.kubernetes.io/job-completion-index";
/// How many seconds a machine may be silent before its slice begins again on another.
const LOST: u32 = 20;
/// How many times pods of a Job may fail for each slice, before the Job does.
const RETRIES: usize = 4;
/// How many seconds a pod has to end a run in order.
const GRACE: u32 = 60;
/// How much of a workshop's name is in a namespace's.
const LONGEST: usize = 40;
/// What a Secret can hold in bytes.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>
const LARGEST: usize = 1 << 20;

/// A workshop cut into slices, as it is asked for.
pub struct Submission<'a> {
    /// The workshop's name: the first cluster's.
    pub workshop: &'a str,
    /// The image of labctl.
    pub image: &'a str,
    /// What pods are started with.
    pub arguments: Vec<String>,
    /// Variables that the inventory takes from the environment.
    pub variables: &'a BTreeMap<String, String>,
    /// Variables that labctl itself takes from there.
    pub environment: BTreeMap<&'static str, String>,
    /// What each slice takes along.
    pub parcels: &'a [Secret],
    /// How many slices to work on at once.
    pub at_once: u16,
}

/// The clusters of each slice, in order.
pub fn slices<T>(clusters: &[T], size: u16) -> impl Iterator<Item = &[T]> {
    clusters.chunks(usize::from(size).max(1))
}

/// The number of the first slice that is larger than a Secret can be.
pub fn too_large(parcels: &[Secret]) -> Option<usize> {
    // Base64 makes three bytes four.
    parcels.iter().position(|parcel| parcel.len() / 3 * 4 + 1024 > LARGEST)
}

impl Submission<'_> {
    /// The namespace, which is the same for the same submission: it is found again by whoever was
    /// interrupted.
    pub fn namespace(&self) -> String {
        let mut hash = Sha256::new();
        for parcel in self.parcels {
            hash.update(parcel.expose());
        }
        for word in [self.image].into_iter().chain(self.arguments.iter().map(String::as_str)) {
            hash.update(word);
            hash.update([0]);
        }
        for (name, value) in self.variables {
            hash.update(format!("{name}={value}\0"));
        }
        let digest = hex::encode(hash.finalize());
        // A label of DNS has at most 63 characters.
        let workshop = self.workshop.get(..LONGEST).unwrap_or(self.workshop);
        format!("{NAME}-{workshop}-{}", digest.get(..8).unwrap_or_default())
    }

    /// Everything that the cluster is asked for, in order.
    pub fn objects(&self) -> Value {
        let namespace = self.namespace();
        let named = |name: String| json!({ "name": name, "namespace": namespace });
        let mut items = vec![json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": namespace, "labels": { WORKSHOP: self.workshop } },
        })];
        for (index, parcel) in self.parcels.iter().enumerate() {
            items.push(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": named(secret(index)),
                "data": { file(index): STANDARD.encode(parcel.expose()) },
            }));
        }
        items.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": named("variables".to_owned()),
            "stringData": self.variables,
        }));
        items.push(json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": named(NAME.to_owned()),
            "spec": self.job(),
        }));
        json!({ "apiVersion": "v1", "kind": "List", "items": items })
    }

    fn job(&self) -> Value {
        let all = self.parcels.len();
        let sources = (0..all).map(|index| {
            json!({ "secret": {
                "name": secret(index), "items": [{ "key": file(index), "path": file(index) }],
            } })
        });
        let environment =
            self.environment.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        let lost = |condition: &str| {
            json!({
                "key": format!("node.kubernetes.io/{condition}"), "operator": "Exists",
                "effect": "NoExecute", "tolerationSeconds": LOST,
            })
        };
        json!({
            "completionMode": "Indexed",
            "completions": all,
            "parallelism": usize::from(self.at_once).min(all),
            "backoffLimit": all * RETRIES,
            "template": {
                "metadata": { "labels": { "app": NAME } },
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": GRACE,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "tolerations": [lost("not-ready"), lost("unreachable")],
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": { "matchLabels": { "app": NAME } },
                    }],
                    "containers": [{
                        "name": NAME,
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": self.arguments,
                        "env": environment.collect::<Vec<_>>(),
                        "envFrom": [{ "secretRef": { "name": "variables" } }],
                        "volumeMounts": [
                            { "name": "slices", "mountPath": SLICES, "readOnly": true },
                        ],
                    }],
                    "volumes": [{
                        "name": "slices",
                        "projected": {
                            "defaultMode": 0o400, "sources": sources.collect::<Vec<_>>(),
                        },
                    }],
                },
            },
        })
    }
}

fn secret(index: usize) -> String {
    format!("slice-{index}")
}

/// The file in which a slice finds what it takes along.
pub fn file(index: usize) -> String {
    format!("{index}.tar.gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission<'a>(
        parcels: &'a [Secret],
        variables: &'a BTreeMap<String, String>,
    ) -> Submission<'a> {
        Submission {
            workshop: "class-1",
            image: "labctl:1",
            arguments: vec!["workshop".to_owned(), "slice".to_owned()],
            variables,
            environment: BTreeMap::from([("HOME", "/home/ann".to_owned())]),
            parcels,
            at_once: 8,
        }
    }

    #[test]
    fn slices_have_every_cluster_once() {
        for clusters in 1..40 {
            for size in 1..45 {
                let numbers: Vec<u16> = (1..=clusters).collect();
                let all: Vec<u16> = slices(&numbers, size).flatten().copied().collect();
                assert_eq!(all, numbers, "{clusters} in {size}");
            }
        }
        let eleven: Vec<u16> = (1..=11).collect();
        assert_eq!(slices(&eleven, u16::MAX).nth(usize::from(u16::MAX)), None);
        assert_eq!(slices(&eleven, 3).nth(3), Some(&[10, 11][..]));
    }

    #[test]
    fn the_same_submission_has_the_same_name_and_any_other_has_another() {
        let (parcels, none) = ([Secret::from("a"), Secret::from("b")], BTreeMap::new());
        let name = submission(&parcels, &none).namespace();
        assert_eq!(name, submission(&parcels, &none).namespace());
        assert!(name.starts_with("labctl-class-1-") && name.len() == 23, "{name}");
        let some = BTreeMap::from([("REGION".to_owned(), "west".to_owned())]);
        assert_ne!(name, submission(&parcels, &some).namespace());
        assert_ne!(name, submission(&parcels[..1], &none).namespace());
        let other = Submission { image: "labctl:2", ..submission(&parcels, &none) };
        assert_ne!(name, other.namespace());
        let long = "a".repeat(63);
        let other = Submission { workshop: &long, ..submission(&parcels, &none) };
        assert!(other.namespace().len() <= 63);
    }

    #[test]
    fn each_slice_is_an_index_and_a_secret() {
        let (parcels, none) = ([Secret::from("a"), Secret::from("b")], BTreeMap::new());
        let objects = submission(&parcels, &none).objects();
        let items = objects["items"].as_array().expect("a list");
        let kinds: Vec<_> = items.iter().filter_map(|item| item["kind"].as_str()).collect();
        assert_eq!(kinds, ["Namespace", "Secret", "Secret", "Secret", "Job"]);
        assert_eq!(items[2]["data"]["1.tar.gz"], STANDARD.encode("b"));
        let job = &items[4]["spec"];
        assert_eq!((&job["completions"], &job["parallelism"]), (&json!(2), &json!(2)));
        let pod = &job["template"]["spec"];
        assert_eq!(pod["volumes"][0]["projected"]["sources"][1]["secret"]["name"], "slice-1");
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["containers"][0]["env"][0]["value"], "/home/ann");
    }

    #[test]
    fn a_slice_that_no_secret_can_hold_is_found() {
        let large = Secret::from(vec![0; LARGEST / 4 * 3]);
        assert_eq!(too_large(&[Secret::from("a"), large]), Some(1));
        assert_eq!(too_large(&[Secret::from("a")]), None);
    }
}
