//! The base image: a small Debian tree, built once and cached, that is the lower layer of every
//! local node's overlay root.

mod recipe;
mod source;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use super::error::{LocalError, tail};
use super::{mounts, names, program};
use crate::event::{Event, Events};
use source::Source;

/// The name of this step in events.
const STEP: &str = "base image";
/// Increase this when the same recipe should produce a different image.
const REVISION: &[u8] = b"1";
/// Approximate number of lines that debootstrap prints for these packages; progress is measured
/// against it.
const LINES: u64 = 728;
/// Number of output lines of a failed debootstrap that an error quotes.
const QUOTED_LINES: usize = 20;

/// Returns the base image in `cache` that has `more` packages as well, building it first if it is
/// missing. Blocks; concurrent runs build it only once.
pub(super) fn ensure(
    cache: &Path,
    more: &[String],
    events: &Events,
) -> Result<PathBuf, LocalError> {
    let source = source::of_host();
    let folder = cache.join("base");
    let name = image_name(&source, more);
    let image = folder.join(&name);
    if image.is_dir() {
        return Ok(image);
    }
    fs::create_dir_all(&folder).map_err(LocalError::io("make", &folder))?;
    let _lock = lock(&folder, events)?;
    if image.is_dir() {
        return Ok(image);
    }
    let started = Instant::now();
    events.emit(Event::StepStarted { step: STEP.into() });
    // Only a finished image has the final name. We hold the lock, so leftovers of a killed run are
    // ours to remove. They may still have /proc mounted.
    let building = folder.join(format!(".{name}.building"));
    mounts::remove_folder(&building)?;
    let built = bootstrap(&source, more, &building, events).and_then(|()| furnish(&building));
    if let Err(error) = built {
        mounts::remove_folder(&building)?;
        return Err(error);
    }
    mounts::unmount_below(&building)?;
    fs::rename(&building, &image).map_err(LocalError::io("rename the base image to", &image))?;
    let packages = recipe::PACKAGES.len() + more.len();
    let detail = format!("{} with {packages} packages and what they need", source.suite);
    events.emit(Event::StepEnded {
        step: STEP.into(),
        detail,
        changed: true,
        took: started.elapsed(),
    });
    Ok(image)
}

/// Returns a name derived from everything that goes into the image, so that a changed recipe makes
/// a new image and running nodes keep theirs.
fn image_name(source: &Source, more: &[String]) -> String {
    let mut recipe = format!(
        "{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
        recipe::PACKAGES,
        recipe::FILES,
        recipe::LINKS,
        recipe::MASKED,
        recipe::REMOVED,
        recipe::SYSCTL_FOLDERS,
        source.components,
    );
    if !more.is_empty() {
        recipe.push_str(&format!("{more:?}"));
    }
    let digest = names::digest(&[REVISION, std::env::consts::ARCH.as_bytes(), recipe.as_bytes()]);
    format!("{}-{}", source.suite, &digest[..12])
}

fn lock(folder: &Path, events: &Events) -> Result<File, LocalError> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(LocalError::io("open", &path))?;
    if file.try_lock().is_err() {
        events.emit(Event::Warning {
            node: None,
            message: "another run is building the base image; waiting for it".into(),
        });
        file.lock().map_err(LocalError::io("lock", &path))?;
    }
    Ok(file)
}

/// Runs debootstrap into `target` and reports its progress.
fn bootstrap(
    source: &Source,
    more: &[String],
    target: &Path,
    events: &Events,
) -> Result<(), LocalError> {
    let failed = |how: String, output: String| LocalError::Program {
        doing: format!("build the base image ({})", source.suite),
        program: "debootstrap".into(),
        how,
        output,
    };
    // The image must not inherit a umask that hides files from its users.
    let mut command = program::command("sh");
    command.args(["-c", "umask 022; exec \"$@\" 2>&1", "sh"]);
    command.arg(program::find("debootstrap").unwrap_or_else(|| "debootstrap".into()));
    command.arg("--variant=minbase");
    let packages: Vec<&str> =
        recipe::PACKAGES.iter().copied().chain(more.iter().map(String::as_str)).collect();
    command.arg(format!("--include={}", packages.join(",")));
    command.arg(format!("--components={}", source.components.join(",")));
    command.args(source.keyring.iter().map(|keyring| format!("--keyring={}", keyring.display())));
    command.arg(&source.suite).arg(target).args(&source.mirror);
    let mut child = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}"), String::new()))?;
    let mut output = String::new();
    if let Some(pipe) = child.stdout.take() {
        for (done, line) in (1..).zip(BufReader::new(pipe).lines().map_while(Result::ok)) {
            let detail = line.strip_prefix("I: ").unwrap_or(&line).to_owned();
            let (step, done) = (STEP.to_owned(), LINES.min(done));
            events.emit(Event::StepProgress { step, done, total: LINES, detail });
            output.push_str(&line);
            output.push('\n');
        }
    }
    let status =
        child.wait().map_err(|error| failed(format!("was lost: {error}"), String::new()))?;
    if status.success() {
        return Ok(());
    }
    // Errors of dpkg and of downloads appear only in debootstrap's own log.
    let log = fs::read_to_string(target.join("debootstrap/debootstrap.log")).unwrap_or_default();
    let output = format!("{}\n{}", tail(&output, QUOTED_LINES), tail(&log, QUOTED_LINES));
    Err(failed(
        format!("failed with {status}; check that this machine reaches its apt mirror"),
        output,
    ))
}

/// Turns a fresh tree into the image that nodes boot.
fn furnish(image: &Path) -> Result<(), LocalError> {
    for path in recipe::REMOVED {
        remove(&image.join(path))?;
    }
    for (path, content) in recipe::FILES {
        let path = image.join(path);
        make_parent(&path)?;
        // It may be a symbolic link that leads to the host.
        remove(&path)?;
        fs::write(&path, content).map_err(LocalError::io("write", &path))?;
        set_mode(&path, 0o644)?;
    }
    for (path, target) in recipe::LINKS {
        link(target, &image.join(path))?;
    }
    for unit in recipe::MASKED {
        link("/dev/null", &image.join("etc/systemd/system").join(unit))?;
    }
    for folder in recipe::SYSCTL_FOLDERS {
        for entry in fs::read_dir(image.join(folder)).into_iter().flatten().flatten() {
            // `99-sysctl.conf` is /etc/sysctl.conf: the administrator's, and empty.
            if entry.file_name() != "99-sysctl.conf" {
                link("/dev/null", &image.join("etc/sysctl.d").join(entry.file_name()))?;
            }
        }
    }
    for folder in [
        "var/lib/containerd",
        "var/lib/kubelet",
        "var/cache/apt/archives/partial",
        "var/lib/apt/lists/partial",
    ] {
        let folder = image.join(folder);
        fs::create_dir_all(&folder).map_err(LocalError::io("make", &folder))?;
    }
    set_mode(image, 0o755)
}

fn link(target: &str, path: &Path) -> Result<(), LocalError> {
    make_parent(path)?;
    remove(path)?;
    symlink(target, path).map_err(LocalError::io("link", path))
}

fn make_parent(path: &Path) -> Result<(), LocalError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(LocalError::io("make", parent))?;
    set_mode(parent, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), LocalError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(LocalError::io("set the mode of", path))
}

fn remove(path: &Path) -> Result<(), LocalError> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn furnishing_a_tree_twice_changes_nothing() {
        let tree = tempfile::tempdir().expect("a temporary directory");
        let image = tree.path();
        fs::create_dir_all(image.join("usr/lib/sysctl.d")).expect("a directory");
        fs::create_dir_all(image.join("etc")).expect("a directory");
        fs::write(image.join("usr/lib/sysctl.d/50-default.conf"), "kernel.sysrq = 1\n")
            .expect("a file");
        let outside = tempfile::NamedTempFile::new().expect("a file of the host");
        symlink(outside.path(), image.join("etc/resolv.conf")).expect("a link to it");
        for _ in 0..2 {
            furnish(image).expect("furnishing a tree");
        }
        let null = Path::new("/dev/null");
        assert_eq!(
            fs::read_link(image.join("etc/sysctl.d/50-default.conf")).expect("a link"),
            null
        );
        assert_eq!(
            fs::read_link(image.join("etc/systemd/system/getty@.service")).expect("a link"),
            null
        );
        assert!(fs::symlink_metadata(image.join("etc/resolv.conf")).expect("a file").is_file());
        assert!(image.join("etc/ssh/sshd_config.d/labctl.conf").is_file());
    }

    #[test]
    fn the_name_follows_the_suite_and_the_packages() {
        let source = |suite: &str| Source {
            mirror: None,
            suite: suite.into(),
            components: vec![],
            keyring: None,
        };
        let name = |suite: &str, more: &[String]| image_name(&source(suite), more);
        assert!(name("bookworm", &[]).starts_with("bookworm-"));
        assert_eq!(name("a", &[]), name("a", &[]));
        assert_ne!(name("a", &[]), name("a", &["keepalived".to_owned()]));
    }
}
