//! Files that go from one machine to another under the paths that they have here: what a slice of a
//! workshop needs, in an archive that is the same bytes for the same files.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;

use crate::cluster::{Cluster, PasswordSource};
use crate::commands::exit::Stop;
use crate::commands::files;
use crate::commands::session::lab_of;
use crate::commands::tarball::packed;
use crate::secret::Secret;

/// What unpacked files may have in bytes, all together: far more than a Secret holds.
const LARGEST: u64 = 64 << 20;

/// Returns all that a run on `clusters` reads on the workstation: files and directories, absolute.
/// Bundles are in the image.
///
/// # Errors
/// If a node's login needs something that is no file, or something that is named does not exist.
pub fn belongings(inventory: &Path, clusters: &[&Cluster]) -> Result<Vec<PathBuf>, Stop> {
    let mut named = vec![inventory.to_owned()];
    let mut kept = Vec::new();
    if let Some(home) = std::env::var_os("HOME") {
        kept.push(Path::new(&home).join(".ssh/known_hosts"));
    }
    for cluster in clusters {
        refuse_logins_without_files(cluster)?;
        named.extend(files::named(cluster));
        let lab = lab_of(cluster);
        kept.extend([lab.pki(), lab.admin_conf(), lab.identity(), lab.known_hosts()]);
        kept.extend([lab.roster(), lab.facts()]);
    }
    if let Some(missing) = named.iter().find(|path| !path.exists()) {
        let help = format!("{} names it; correct the path there", inventory.display());
        return Err(Stop::bad(format!("there is no {}", missing.display())).help(help));
    }
    // What a lab keeps may not be there yet.
    kept.retain(|path| path.exists());
    named.extend(kept);
    named.sort();
    named.dedup();
    Ok(named)
}

/// Refuses logins that need something that is no file.
fn refuse_logins_without_files(cluster: &Cluster) -> Result<(), Stop> {
    for node in &cluster.nodes {
        let who = format!("{} of {}", node.name, cluster.name);
        must_be_named(&who, node.ssh.identity.as_ref())?;
        for jump in node.ssh.jump.iter().flatten() {
            let identity = jump.identity.as_ref().or(node.ssh.identity.as_ref());
            must_be_named(&format!("the jump host {}", jump.host), identity)?;
        }
        if let PasswordSource::Command(_) = &node.ssh.escalation.password {
            let what = format!("the password of {} comes from a command", node.name);
            return Err(Stop::bad(what)
                .help("it would run in a pod: `become_password_file` names a file instead"));
        }
    }
    Ok(())
}

/// Refuses a login without the file of a private key.
fn must_be_named(who: &str, identity: Option<&PathBuf>) -> Result<(), Stop> {
    identity.map(drop).ok_or_else(|| {
        Stop::bad(format!("no `identity` is named for {who}")).help(
            "neither an agent nor ~/.ssh is at hand in a cluster: name the file of a private key \
            without a passphrase",
        )
    })
}

/// Packs files and directories, with everything in these.
///
/// # Errors
/// If one cannot be read.
pub fn pack(paths: &[PathBuf]) -> Result<Secret, Stop> {
    let mut files = Vec::new();
    for path in paths {
        walk(path, &mut files)?;
    }
    files.sort();
    files.dedup();
    let mut contents = Vec::new();
    for path in &files {
        contents.push(content(path).map_err(|error| unreadable(path, &error))?);
    }
    let relative = files.iter().map(|path| path.strip_prefix("/").unwrap_or(path));
    let entries = relative.zip(&contents);
    packed(entries.map(|(path, (mode, content))| (path, *mode, content.expose())))
        .map(Secret::from)
        .map_err(Stop::failed)
}

fn unreadable(path: &Path, error: &io::Error) -> Stop {
    Stop::failed(format!("cannot read {}: {error}", path.display()))
}

/// Adds every file at or below `path`, by the path that it was reached by.
fn walk(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Stop> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        walk(&entry.map_err(|error| unreadable(path, &error))?.path(), files)?;
    }
    Ok(())
}

/// A file's mode and content.
fn content(path: &Path) -> io::Result<(u32, Secret)> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode, Secret::from(fs::read(path)?)))
}

/// Writes the files of a parcel below `root`, with their modes.
///
/// # Errors
/// If it is not a parcel, or a file cannot be written.
pub fn unpack(parcel: &[u8], root: &Path) -> io::Result<()> {
    for (path, mode, bytes) in read(parcel)? {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Reads the files of a parcel: their relative paths, modes and contents.
///
/// # Errors
/// If it is not a parcel, is larger than any, or names a place outside.
pub fn read(parcel: &[u8]) -> io::Result<Vec<(PathBuf, u32, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut left = LARGEST;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    for entry in tar::Archive::new(GzDecoder::new(parcel).take(2 * LARGEST)).entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        if !path.components().all(|it| matches!(it, Component::Normal(_))) {
            return Err(wrong("a file would be written outside"));
        }
        left = left.checked_sub(entry.size()).ok_or_else(|| wrong("it is too large"))?;
        let (mode, size) = (entry.header().mode()? & 0o777, entry.size());
        let mut bytes = Vec::new();
        entry.take(size).read_to_end(&mut bytes)?;
        files.push((path, mode, bytes));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder};

    use super::*;

    #[test]
    fn a_parcel_is_the_same_bytes_and_arrives_as_it_was() {
        let from = tempfile::tempdir().expect("a directory");
        let (key, nested) = (from.path().join("key"), from.path().join("templates/a/b.tera"));
        fs::create_dir_all(nested.parent().expect("a parent")).expect("directories");
        fs::write(&key, "secret").expect("a file");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(&nested, "text").expect("a file");
        let paths = [key.clone(), from.path().join("templates")];
        let parcel = pack(&paths).expect("a parcel");
        assert_eq!(parcel.expose(), pack(&paths).expect("a parcel").expose());

        let to = tempfile::tempdir().expect("a directory");
        unpack(parcel.expose(), to.path()).expect("it is whole");
        let there = |path: &Path| to.path().join(path.strip_prefix("/").expect("absolute"));
        assert_eq!(fs::read_to_string(there(&nested)).expect("a file"), "text");
        let mode = fs::metadata(there(&key)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_parcel_or_would_lie_outside_is_refused() {
        let to = tempfile::tempdir().expect("a directory");
        assert!(unpack(b"neither gzip nor tar", to.path()).is_err());
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        // What a library would refuse to write.
        header.as_gnu_mut().expect("a header").name[..7].copy_from_slice(b"../evil");
        header.set_cksum();
        archive.append(&header, &b"x"[..]).expect("an entry");
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::fast());
        gzip.write_all(&archive.into_inner().expect("an archive")).expect("memory");
        let error = read(&gzip.finish().expect("memory")).expect_err("it leads outside");
        assert!(error.to_string().contains("outside"), "{error}");
    }
}
