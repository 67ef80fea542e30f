//! Archives of images that somebody has saved: with `docker save`, `podman save` or
//! `ctr images export`, or in a build.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::BundleFile;
use super::verify::sha256_of;

/// The largest list of an archive's images in bytes.
const LONGEST: u64 = 4 << 20;
/// The beginning of a gzip file.
const GZIP: &[u8] = b"\x1f\x8b";
/// What an OCI archive calls an image: the whole reference, as containerd writes and reads it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Reads what is in an archive: one file of a bundle for each image, all of them the same archive.
///
/// # Errors
/// If the file cannot be read, is not an archive of images, or names none: what is wrong, after its
/// path.
pub fn images(path: &Path) -> Result<BTreeMap<String, BundleFile>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let path = std::path::absolute(path).map_err(cannot)?;
    let mut head = Vec::new();
    let file = File::open(&path).map_err(cannot)?;
    file.take(GZIP.len() as u64).read_to_end(&mut head).map_err(cannot)?;
    let file = BufReader::new(File::open(&path).map_err(cannot)?);
    let references =
        if head == GZIP { references(GzDecoder::new(file)) } else { references(file) }?;
    let sha256 = sha256_of(&path, |_| {}).map_err(cannot)?;
    let one = |reference: String| {
        let file = BundleFile {
            version: String::new(),
            path: path.clone(),
            size: metadata.len(),
            sha256: sha256.clone(),
            image: Some(reference.clone()),
        };
        (format!("image/{reference}"), file)
    };
    Ok(references.into_iter().map(one).collect())
}

/// `index.json` of an OCI image layout.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<NamedImage>,
}

#[derive(Deserialize)]
struct NamedImage {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// An image in `manifest.json` of a Docker archive.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
}

/// The whole references of the images in an archive, as containerd imports them: those of an OCI
/// layout where there is one.
fn references(archive: impl Read) -> Result<Vec<String>, String> {
    // What the error says of a file that is no tar quotes the file.
    let no_archive = |_| "is not an archive of images: it is not a whole tar file".to_owned();
    let (mut layout, mut docker) = (None, None);
    for entry in tar::Archive::new(archive).entries().map_err(no_archive)? {
        let entry = entry.map_err(no_archive)?;
        let name = entry.path().map_err(no_archive)?;
        match name.to_str().map(|name| name.trim_start_matches("./")) {
            Some("index.json") => layout = Some(json::<Index>(entry)?),
            Some("manifest.json") => docker = Some(json::<Vec<Saved>>(entry)?),
            _ => {}
        }
    }
    if layout.is_none() && docker.is_none() {
        return Err(
            "is not an archive of images: it has neither index.json nor manifest.json".into()
        );
    }
    let named = layout.into_iter().flat_map(|index| index.manifests);
    let mut found: Vec<String> =
        named.filter_map(|it| it.annotations.get(CONTAINERD_NAME).cloned()).collect();
    if found.is_empty() {
        let saved = docker.into_iter().flatten().filter_map(|image| image.tags).flatten();
        found.extend(saved.map(|tag| whole(&tag)));
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Err("names no image".to_owned()) } else { Ok(found) }
}

fn json<T: DeserializeOwned>(entry: impl Read) -> Result<T, String> {
    let read = serde_json::from_reader(entry.take(LONGEST));
    read.map_err(|error| format!("has a list of images that cannot be read: {error}"))
}

/// A reference with what Docker leaves out: its registry, the path of official images, the tag.
fn whole(tag: &str) -> String {
    let first = tag.split_once('/').map(|(first, _)| first);
    let has_registry = first.is_some_and(|it| it.contains(['.', ':']) || it == "localhost");
    let (registry, folder) = match (has_registry, first) {
        (true, _) => ("", ""),
        (false, Some(_)) => ("docker.io/", ""),
        (false, None) => ("docker.io/", "library/"),
    };
    let last = tag.rsplit('/').next().unwrap_or_default();
    let latest = if last.contains([':', '@']) { "" } else { ":latest" };
    format!("{registry}{folder}{tag}{latest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).expect("an entry");
        }
        tar.into_inner().expect("an archive")
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("images.tar");
        std::fs::write(&path, bytes).expect("a file");
        let found = images(&path)?;
        Ok(found.into_values().map(|file| file.image.expect("a reference")).collect())
    }

    const DOCKER: &str = r#"[{"RepoTags": ["app", "ghcr.io/a/b:1"]}, {"RepoTags": null}]"#;
    const OCI: &str = r#"{"manifests": [{"annotations": {
        "io.containerd.image.name": "localhost/app:2"}}, {}]}"#;

    #[test]
    fn an_archive_says_what_its_images_are_called() {
        let docker = ["docker.io/library/app:latest", "ghcr.io/a/b:1"];
        assert_eq!(read(&archive(&[("manifest.json", DOCKER)])).expect("images"), docker);
        // As Docker has written it since 25: both, and containerd reads the layout.
        let both = archive(&[("manifest.json", DOCKER), ("./index.json", OCI)]);
        assert_eq!(read(&both).expect("images"), ["localhost/app:2"]);

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &both).expect("written");
        assert_eq!(read(&gzip.finish().expect("gzip")).expect("images"), ["localhost/app:2"]);
    }

    #[test]
    fn what_is_no_archive_of_images_is_refused() {
        for (bytes, why) in [
            (archive(&[("etc/passwd", "root")]), "neither index.json nor manifest.json"),
            (archive(&[("manifest.json", "[{}]")]), "names no image"),
            (archive(&[("manifest.json", "[{")]), "a list of images that cannot be read"),
            (
                b"not a tar, but long enough to look at all of it".repeat(40),
                "is not an archive of images: it is not a whole tar",
            ),
        ] {
            let told = read(&bytes).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
        assert!(images(Path::new("/nonexistent")).expect_err("absent").starts_with("cannot"));
        assert!(images(Path::new("/etc")).expect_err("a directory").contains("not a file"));
    }

    #[test]
    fn dockers_short_names_become_whole_references() {
        for (short, long) in [
            ("app", "docker.io/library/app:latest"),
            ("app:1", "docker.io/library/app:1"),
            ("me/app", "docker.io/me/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("registry:5000/app", "registry:5000/app:latest"),
            ("quay.io/a/b:c", "quay.io/a/b:c"),
        ] {
            assert_eq!(whole(short), long);
        }
    }
}
