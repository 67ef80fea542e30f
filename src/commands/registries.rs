//! What an inventory's `registries` name on the workstation: certificates of CAs, and credentials.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::exit::Stop;
use crate::cluster::Cluster;
use crate::render::context::RegistryAccess;
use crate::secret::Secret;

/// Reads the files of all registries; the keys are their hosts.
///
/// # Errors
/// If a file cannot be read or is not what it should be, or if others may read credentials.
pub fn read(cluster: &Cluster) -> Result<BTreeMap<String, RegistryAccess>, Stop> {
    let mut all = BTreeMap::new();
    for registry in &cluster.registries {
        let mut access = RegistryAccess::default();
        if let Some(file) = &registry.ca {
            let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
            if !text.contains("-----BEGIN CERTIFICATE-----") {
                let what = format!("{} has no certificate in PEM form", file.display());
                return Err(Stop::bad(what).help(
                    "the CA of the registry, as `openssl x509` \
                    writes it",
                ));
            }
            access.ca = Some(text);
        }
        if let Some(file) = &registry.credentials {
            let (user, password) = credentials(file)?;
            (access.user, access.password) = (user, password);
        }
        all.insert(registry.host.clone(), access);
    }
    Ok(all)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Stop {
    Stop::bad(format!("cannot read {}: {error}", file.display()))
        .help("`registries` of the inventory names it")
}

/// Returns the name and the password in the first line of a file that nobody else may read.
fn credentials(file: &Path) -> Result<(String, Secret), Stop> {
    let metadata = fs::metadata(file).map_err(|error| unreadable(file, &error))?;
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        let name = file.display();
        let what = format!("others may read the password in {name} (mode {:03o})", mode & 0o777);
        return Err(Stop::bad(what).help(format!("chmod 600 {name}")));
    }
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let line = text.lines().next().unwrap_or_default();
    match line.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), Secret::from(password)))
        }
        _ => Err(Stop::bad(format!("{} has no credentials", file.display()))
            .help("its first line is `user:password`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_one_line_that_nobody_else_may_read() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("registry");
        let with = |text: &str, mode: u32| {
            fs::write(&file, text).expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its mode");
            credentials(&file).map_err(|stop| stop.error.expect("an error").to_string())
        };
        let (user, password) = with("ann:a:b \nmore", 0o600).expect("credentials");
        assert_eq!((user.as_str(), password.expose_text()), ("ann", Some("a:b ")));
        assert!(with("ann:x", 0o644).expect_err("readable").contains("(mode 644)"));
        for none in ["", "ann", ":x", "ann:"] {
            assert!(with(none, 0o600).expect_err(none).contains("has no credentials"), "{none}");
        }
    }
}
