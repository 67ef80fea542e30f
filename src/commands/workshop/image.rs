//! `workshop image`: an image in which labctl runs in a container, made of this very program, the
//! libraries that it has loaded, and the bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::NamedTempFile;

use super::seat::{Seat, seats};
use crate::bundle;
use crate::bundle::lock::FILE_NAME;
use crate::bundle::pull::host_architecture;
use crate::bundle::verify::sha256_of;
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::Options;
use crate::inventory::called;
use crate::lab::cache_directory;
use crate::report::Reporter;

/// Where the program is in the image.
const PROGRAM: &str = "/usr/local/bin/labctl";
/// How much of a program has the name of what loads it.
const HEAD: u64 = 4096;

/// Writes the image to `to`, as `docker save` does. It is called `name`, or after what is in it.
pub fn image(
    to: &Path,
    name: Option<&str>,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let seats = seats(options, reporter)?;
    let mut files = own_files().map_err(|error| {
        Stop::failed(format!("cannot read which libraries labctl has loaded: {error}"))
    })?;
    let libraries = folders(&files);
    for seat in &seats {
        files.extend(files_of_bundle(seat, options)?);
    }
    let cannot = |error: io::Error| {
        Stop::failed(format!("cannot write the image {}: {error}", to.display()))
            .help("the directory has to exist, with room for the bundle and as much again")
    };
    let folder = to.parent().filter(|it| *it != Path::new("")).unwrap_or_else(|| Path::new("."));
    let mut layer = NamedTempFile::new_in(folder).map_err(cannot)?;
    let digest = write_layer(&files, &mut layer).map_err(cannot)?;
    let version = env!("CARGO_PKG_VERSION");
    let own = || format!("labctl:{version}-{}", digest.get(..12).unwrap_or_default());
    let name = name.map_or_else(own, str::to_owned);
    let mut image = NamedTempFile::new_in(folder).map_err(cannot)?;
    let files = (layer.as_file_mut(), image.as_file_mut());
    let size = write_image(&name, &digest, &libraries, files).map_err(cannot)?;
    image.persist(to).map_err(|error| cannot(error.error))?;
    let (file, inventory) = (to.display(), called(&options.inventory));
    reporter.note(&format!(
        "the image {name} is in {file} ({} MB): labctl, and what {inventory} is built from",
        size / 1_000_000
    ));
    reporter.note(&format!(
        "put it where the cluster finds it, such as `labctl image load {file} CLUSTER.yaml`; then \
        `labctl workshop submit {inventory} --image {name}`"
    ));
    Ok(Exit::Done)
}

/// The program, the libraries that it has loaded, and what loads them: in the image, and here.
fn own_files() -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let program = std::env::current_exe()?;
    let mut head = Vec::new();
    File::open(&program)?.take(HEAD).read_to_end(&mut head)?;
    let mut files: BTreeMap<PathBuf, PathBuf> = libraries(&fs::read_to_string("/proc/self/maps")?)
        .into_iter()
        .map(|path| (path.clone(), path))
        .collect();
    if let Some(loader) = loader(&head) {
        files.insert(loader.clone(), loader);
    }
    files.insert(PROGRAM.into(), program);
    Ok(files)
}

/// The shared libraries in a process's list of what is mapped.
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    paths
        .filter(|path| path.rsplit('/').next().is_some_and(|name| name.contains(".so")))
        .map(PathBuf::from)
        .collect()
}

/// What a program wants to be loaded by, from its first bytes; a static program has none.
fn loader(head: &[u8]) -> Option<PathBuf> {
    let starts = (0..head.len()).filter_map(|at| head.get(at..)?.strip_prefix(b"/lib").map(|_| at));
    let words = starts.filter_map(|at| head.get(at..)?.split(|byte| *byte == 0).next());
    let mut words = words.filter_map(|word| std::str::from_utf8(word).ok());
    words.find(|word| word.contains("/ld-")).map(PathBuf::from)
}

/// The directories that these files are in.
fn folders(files: &BTreeMap<PathBuf, PathBuf>) -> Vec<String> {
    let folders = files.keys().filter_map(|path| path.parent());
    let folders: BTreeSet<_> = folders.map(|folder| folder.display().to_string()).collect();
    folders.into_iter().collect()
}

/// The bundle of a cluster, under the paths that the inventory leads to.
fn files_of_bundle(seat: &Seat, options: &Options) -> Result<BTreeMap<PathBuf, PathBuf>, Stop> {
    let (bundle, there) =
        bundle::outlook(&seat.cluster, &cache_directory()).map_err(Stop::failed)?;
    if !there {
        let what = format!("there is no bundle yet in {}", bundle.folder.display());
        let help = format!("`labctl bundle pull {}` downloads it", called(&options.inventory));
        return Err(Stop::failed(what).help(help));
    }
    let files = bundle.files.into_values().map(|file| file.path);
    let all = files.chain([bundle.folder.join(FILE_NAME)]);
    Ok(all.map(|path| (path.clone(), path)).collect())
}

/// Writes the files as a layer, the same bytes for the same files. Returns its SHA-256.
fn write_layer(files: &BTreeMap<PathBuf, PathBuf>, to: &mut NamedTempFile) -> io::Result<String> {
    let mut layer = tar::Builder::new(BufWriter::new(to.as_file_mut()));
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_mode(0o1777);
    folder.set_size(0);
    layer.append_data(&mut folder, "tmp", io::empty())?;
    for (path, source) in files {
        let file = File::open(source)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata()?.len());
        header.set_mode(0o755);
        layer.append_data(&mut header, path.strip_prefix("/").unwrap_or(path), file)?;
    }
    layer.into_inner()?.flush()?;
    sha256_of(to.path(), |_| {})
}

/// Writes an archive of one image of one layer. Returns its size in bytes.
fn write_image(
    name: &str,
    digest: &str,
    libraries: &[String],
    (layer, to): (&mut File, &mut File),
) -> io::Result<u64> {
    let config = json!({
        "architecture": host_architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [PROGRAM],
            "Env": [
                "PATH=/usr/local/bin",
                format!("LD_LIBRARY_PATH={}", libraries.join(":")),
            ],
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "labctl workshop image" }],
    });
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut image = tar::Builder::new(BufWriter::new(&mut *to));
    for (path, content) in [("config.json", config), ("manifest.json", manifest)] {
        let text = content.to_string();
        image.append_data(&mut header(text.len() as u64), path, text.as_bytes())?;
    }
    layer.rewind()?;
    let size = layer.metadata()?.len();
    image.append_data(&mut header(size), "layer.tar", layer)?;
    image.into_inner()?.flush()?;
    Ok(to.metadata()?.len())
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_loads_it() {
        let head = b"\x7fELF\x02\0/lib\0/lib64/ld-linux-x86-64.so.2\0GNU\0";
        assert_eq!(loader(head), Some("/lib64/ld-linux-x86-64.so.2".into()));
        assert_eq!(loader(b"\x7fELF\x02\0/library/ld\0"), None);
        assert_eq!(loader(b"\x7fELF, static"), None);
    }

    #[test]
    fn the_libraries_are_those_that_are_mapped() {
        let maps = "\
            5580-5590 r-xp 00000000 fe:00 12 /usr/bin/labctl\n\
            7f00-7f10 r--p 00000000 fe:00 13 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f10-7f20 r-xp 00001000 fe:00 13 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f20-7f30 rw-p 00000000 00:00 0 [heap]\n\
            7f30-7f40 r--p 00000000 fe:00 14 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n";
        let found: Vec<_> = libraries(maps).into_iter().collect();
        let folder = Path::new("/usr/lib/x86_64-linux-gnu");
        assert_eq!(found, [folder.join("ld-linux-x86-64.so.2"), folder.join("libc.so.6")]);
    }

    #[test]
    fn the_same_files_are_the_same_layer() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("file");
        fs::write(&file, "content").expect("a file");
        let files = BTreeMap::from([(PathBuf::from("/a/b"), file.clone())]);
        let digest = || {
            let mut layer = NamedTempFile::new().expect("a file");
            write_layer(&files, &mut layer).expect("a layer")
        };
        let first = digest();
        fs::write(&file, "content").expect("a later file");
        assert_eq!(digest(), first);
        fs::write(&file, "another").expect("a file");
        assert_ne!(digest(), first);
    }
}
