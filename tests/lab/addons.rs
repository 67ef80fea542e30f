//! Add-ons of the lab's own: manifests and images that come, change and leave with the inventory.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::lab::Lab;
use crate::{goes_without_a_trace, is_settled};

/// An image that no registry has.
const IMAGE: &str = "example.test/own/pause:1";

const BASE: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: own }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.example.test }
spec:
  group: example.test
  scope: Namespaced
  names: { kind: Thing, plural: things, singular: thing }
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true }
---
apiVersion: example.test/v1
kind: Thing
metadata: { name: first, namespace: own }
";

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: own }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - { name: web, image: 'example.test/own/pause:1' }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: own }
data: { colour: blue }
";

/// The image of pause, under a name of our own.
fn save_image(bundle: &Path, to: &Path) {
    let mut archive =
        tar::Archive::new(File::open(bundle.join("images/pause.tar")).expect("pause"));
    let mut own = tar::Builder::new(File::create(to).expect("a file"));
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut header = entry.header().clone();
        let path = entry.path().expect("a path").into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        if path.ends_with("manifest.json") {
            let mut saved: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            saved[0]["RepoTags"][0] = IMAGE.into();
            bytes = saved.to_string().into_bytes();
        }
        header.set_size(bytes.len() as u64);
        own.append_data(&mut header, &path, &*bytes).expect("an entry");
    }
    own.finish().expect("an archive");
}

fn exists(lab: &Lab, what: &str) -> bool {
    lab.kubectl(&format!("get {what}")).status.success()
}

fn asked_for(lab: &Lab, addons: &str) {
    let path = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&path).expect("an inventory");
    let others = text.lines().filter(|line| !line.starts_with("addons:"));
    let text: String = others.map(|line| format!("{line}\n")).collect();
    fs::write(&path, text + addons).expect("an inventory");
}

fn why(lab: &Lab) -> String {
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    plan.story()
}

#[test]
fn add_ons_of_ones_own_come_change_and_leave() {
    let lab = Lab::new("single");
    lab.must(&["up"]);

    // Images first: no registry has them.
    let own = tempfile::tempdir().expect("a directory");
    let archive = own.path().join("own.tar");
    save_image(Path::new("bundle"), &archive);
    let archive = archive.display().to_string();
    assert_eq!(lab.run(&["image", "load", &archive, "node-1"]).code, Some(2), "no such node");
    let loaded = lab.must(&["image", "load", &archive]);
    assert!(loaded.changed() > 0, "{}", loaded.story());
    assert!(lab.on("node-0", "ctr -n k8s.io images ls -q").lines().any(|it| it == IMAGE));
    assert_eq!(lab.must(&["image", "load", &archive, "node-0"]).changed(), 0, "it is there");

    // A directory and a file. Objects wait for the kinds and namespaces that come with them.
    let (base, web) = (own.path().join("base"), own.path().join("web.yaml"));
    fs::create_dir(&base).expect("a directory");
    fs::write(base.join("all.yaml"), BASE).expect("a manifest");
    fs::write(&web, WEB).expect("a manifest");
    asked_for(&lab, &format!("addons: [{}, {}]\n", base.display(), web.display()));
    let plan = why(&lab);
    assert!(plan.contains("base is not there yet; web is not there yet"), "{plan}");
    lab.must(&["up"]);
    assert!(exists(&lab, "thing/first -n own"));
    let ready = lab.kubectl("get deployment web -n own -o jsonpath={.status.readyReplicas}");
    assert_eq!(String::from_utf8_lossy(&ready.stdout), "1", "`up` waits for what it applies");
    is_settled(&lab);

    // What somebody deletes is missed, and what leaves a manifest leaves the cluster.
    assert!(lab.kubectl("delete configmap settings -n own").status.success());
    let plan = why(&lab);
    assert!(plan.contains("web misses objects in the cluster"), "{plan}");
    lab.must(&["up"]);
    assert!(exists(&lab, "configmap/settings -n own"));
    let without = WEB.split("---").next().expect("the Deployment");
    fs::write(&web, without).expect("a manifest");
    lab.must(&["up"]);
    assert!(!exists(&lab, "configmap/settings -n own"));
    assert!(exists(&lab, "deployment/web -n own"));
    is_settled(&lab);

    // A mistake is refused before anything is touched, and what cannot run is named.
    fs::write(&web, "kind: Deployment\n").expect("a manifest");
    let refused = lab.run(&["up"]);
    assert_eq!(refused.code, Some(2), "{}", refused.story());
    assert!(refused.stderr.contains("object 1 has no `apiVersion`"), "{}", refused.stderr);
    fs::write(&web, without.replace("name: web, namespace", "name: w_b, namespace"))
        .expect("a manifest");
    let failed = lab.run(&["up"]);
    assert_eq!(failed.code, Some(1), "{}", failed.story());
    assert!(failed.story().contains("w_b"), "{}", failed.story());
    fs::write(&web, without).expect("a manifest");

    // One leaves the list, then all of them.
    asked_for(&lab, &format!("addons: [{}]\n", base.display()));
    let plan = why(&lab);
    assert!(plan.contains("web.yaml is left over"), "{plan}");
    lab.must(&["up"]);
    assert!(!exists(&lab, "deployment/web -n own"));
    assert!(exists(&lab, "thing/first -n own"));
    asked_for(&lab, "");
    lab.must(&["up"]);
    assert!(!exists(&lab, "crd/things.example.test"));
    assert!(!exists(&lab, "namespace/own"));
    assert_eq!(lab.on("node-0", "ls /etc/kubernetes/addons/lab"), "");
    is_settled(&lab);

    goes_without_a_trace(&lab);
}
