//! What an inventory's `addons` name on the workstation: manifests, and archives of images beside
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_yaml::{Deserializer, Value};

use super::exit::Stop;
use crate::bundle::{BundleFile, saved};
use crate::cluster::{Cluster, MANIFESTS, Manifests};
use crate::render::context::OwnAddon;
use crate::secret::Secret;

/// The largest add-on in bytes. The definitions of a large operator are four megabytes.
const LONGEST: usize = 8 << 20;
/// How the names of archives of images end.
const ARCHIVES: [&str; 3] = [".tar", ".tar.gz", ".tgz"];

/// Reads all add-ons of the lab's own, in order.
///
/// # Errors
/// If one cannot be read, or has something that is no object of Kubernetes.
pub fn read(cluster: &Cluster) -> Result<Vec<OwnAddon>, Stop> {
    cluster.manifests.iter().map(read_one).collect()
}

/// Reads which images the archives in the directories of add-ons have, as files of a bundle.
///
/// # Errors
/// If one cannot be read, or is no archive of images.
pub fn images(cluster: &Cluster) -> Result<BTreeMap<String, BundleFile>, Stop> {
    let mut images = BTreeMap::new();
    for addon in &cluster.manifests {
        images.extend(images_beside(addon)?);
    }
    Ok(images)
}

fn images_beside(addon: &Manifests) -> Result<BTreeMap<String, BundleFile>, Stop> {
    let mut images = BTreeMap::new();
    if !addon.path.is_dir() {
        return Ok(images);
    }
    for file in files_in(addon)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if ARCHIVES.iter().any(|end| name.ends_with(end)) {
            images.extend(saved::images(&file).map_err(|why| refused(addon, &file, &why))?);
        }
    }
    Ok(images)
}

/// A file of an add-on that is not as it should be.
fn refused(addon: &Manifests, path: &Path, why: &str) -> Stop {
    Stop::bad(format!("{}: {why}", path.display()))
        .help(format!("`addons` of the inventory names it, as `{}`", addon.name))
}

fn read_one(addon: &Manifests) -> Result<OwnAddon, Stop> {
    let refused = |path: &Path, why: &str| refused(addon, path, why);
    let files = if addon.path.is_dir() { files_of(addon)? } else { vec![addon.path.clone()] };
    let (mut manifest, mut images) = (String::new(), BTreeSet::new());
    for file in &files {
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| refused(file, &format!("cannot be read: {error}")))?;
        for object in objects(&text).map_err(|why| refused(file, &why))? {
            images_of(&object, &mut images);
        }
        if !manifest.is_empty() {
            manifest += "---\n";
        }
        manifest += text.trim_end();
        manifest.push('\n');
    }
    if manifest.len() > LONGEST {
        return Err(refused(&addon.path, "is larger than 8 MiB"));
    }
    let manifest = Secret::from(manifest.into_bytes());
    Ok(OwnAddon { name: addon.name.clone(), manifest, images: images.into_iter().collect() })
}

/// All files of an add-on's directory.
fn files_in(addon: &Manifests) -> Result<Vec<PathBuf>, Stop> {
    let listed = fs::read_dir(&addon.path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed
        .map_err(|error| Stop::bad(format!("cannot read {}: {error}", addon.path.display())))?;
    Ok(listed.iter().map(fs::DirEntry::path).filter(|file| !file.is_dir()).collect())
}

/// The manifests of a directory, in the order of their names.
fn files_of(addon: &Manifests) -> Result<Vec<PathBuf>, Stop> {
    let folder = addon.path.display();
    let mut files = files_in(addon)?;
    if files.iter().any(|file| file.file_stem().is_some_and(|it| it == "kustomization")) {
        return Err(Stop::bad(format!("{folder} is for kustomize, which labctl does not run"))
            .help(format!("render it: kubectl kustomize {folder} > {}.yaml", addon.name)));
    }
    let is_manifest = |file: &PathBuf| {
        let extension = file.extension().and_then(|it| it.to_str());
        extension.is_some_and(|it| MANIFESTS.contains(&it)) && file.is_file()
    };
    files.retain(is_manifest);
    files.sort();
    if files.is_empty() {
        return Err(Stop::bad(format!("{folder} has no manifests"))
            .help("put files there that end in .yaml, .yml or .json"));
    }
    Ok(files)
}

/// The objects in a text, each checked for what every object has.
fn objects(text: &str) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for document in Deserializer::from_str(text) {
        match Value::deserialize(document).map_err(|error| error.to_string())? {
            Value::Null => {}
            object => objects.push(object),
        }
    }
    for (index, object) in objects.iter().enumerate() {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let lacks = |what| Err(format!("object {} has no `{what}`", index + 1));
        let Some(kind) = text(object.get("kind")) else { return lacks("kind") };
        if text(object.get("apiVersion")).is_none() {
            return lacks("apiVersion");
        }
        let name = object.get("metadata").and_then(|it| it.get("name"));
        if text(name).is_none() && !kind.ends_with("List") {
            return lacks("metadata.name");
        }
    }
    if objects.is_empty() { Err("has no objects".to_owned()) } else { Ok(objects) }
}

/// Collects every `image` of an object's containers.
fn images_of(value: &Value, images: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                match (key.as_str(), value.as_str()) {
                    (Some("image"), Some(image)) => drop(images.insert(image.to_owned())),
                    _ => images_of(value, images),
                }
            }
        }
        Value::Sequence(values) => values.iter().for_each(|value| images_of(value, images)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec:\n  containers:\n\
                       \x20 - { name: web, image: registry.k8s.io/pause:3.10 }\n";
    const CRLF: &str = "apiVersion: v1\r\nkind: Namespace\r\nmetadata:\r\n  name: own\r\n";

    fn told(stop: Stop) -> String {
        stop.error.expect("an error").to_string()
    }

    fn addon(path: &Path) -> Result<OwnAddon, String> {
        read_one(&Manifests { name: "own".to_owned(), path: path.to_owned() }).map_err(told)
    }

    #[test]
    fn a_directory_is_all_of_its_manifests_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
        };
        assert!(addon(folder.path()).expect_err("empty").ends_with("has no manifests"));
        file("20-web.yml", WEB);
        file("10-own.yaml", CRLF);
        file("README.md", "not: [a manifest");
        let own = addon(folder.path()).expect("an add-on");
        let text = own.manifest.expose_text().expect("a text");
        assert_eq!(text, format!("{}\n---\n{WEB}", CRLF.trim_end()));
        assert_eq!(own.images, ["registry.k8s.io/pause:3.10"]);

        file("kustomization.yaml", "resources: []\n");
        assert!(addon(folder.path()).expect_err("kustomize").contains("is for kustomize"));
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_it_lacks() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("own.yaml");
        assert!(addon(&file).expect_err("absent").contains("cannot be read"));
        let cases = [
            ("", "has no objects"),
            ("---\n---\n# nothing\n", "has no objects"),
            ("kind: Pod\n", "object 1 has no `apiVersion`"),
            (&format!("{WEB}---\napiVersion: v1\n"), "object 2 has no `kind`"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {}\n", "object 1 has no `metadata.name`"),
            ("just a text\n", "object 1 has no `kind`"),
            ("a: [\n", "did not find expected"),
        ];
        for (text, why) in cases {
            fs::write(&file, text).expect("a file");
            let told = addon(&file).expect_err(text);
            assert!(told.starts_with(&file.display().to_string()), "{told}");
            assert!(told.contains(why), "{told}");
        }
        fs::write(&file, "apiVersion: v1\nkind: PodList\nitems: []\n").expect("a file");
        assert_eq!(addon(&file).expect("a list").images, [""; 0]);
    }

    #[test]
    fn archives_beside_manifests_are_their_images() {
        let folder = tempfile::tempdir().expect("a directory");
        fs::write(folder.path().join("web.yaml"), WEB).expect("a file");
        let addon = Manifests { name: "own".to_owned(), path: folder.path().to_owned() };
        let images = || images_beside(&addon).map_err(told);
        assert!(images().expect("none").is_empty());

        let archive = folder.path().join("web.tar");
        let mut tar = tar::Builder::new(Vec::new());
        let saved = br#"[{"RepoTags": ["registry.k8s.io/pause:3.10"]}]"#;
        let mut header = tar::Header::new_gnu();
        header.set_size(saved.len() as u64);
        tar.append_data(&mut header, "manifest.json", &saved[..]).expect("an entry");
        fs::write(&archive, tar.into_inner().expect("an archive")).expect("a file");
        let found = images().expect("an image");
        let found: Vec<_> = found.into_values().filter_map(|file| file.image).collect();
        assert_eq!(found, ["registry.k8s.io/pause:3.10"]);

        fs::write(&archive, "no archive").expect("a file");
        let wrong = images().expect_err("no archive");
        assert!(wrong.starts_with(&archive.display().to_string()), "{wrong}");
    }
}
