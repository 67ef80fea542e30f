//! Which flags a program of a bundle knows: it is asked itself, on the workstation.
//!
//! `PROGRAM --help` lists them, and the answer is kept in the cache under the program's checksum. A
//! program hides some flags from that list, so the last word has `PROGRAM --FLAG=VALUE --help`,
//! which reads the flag and does nothing. A program is hashed before it runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::BundleFile;
use super::verify::sha256_of;

/// How long a program may take to answer; it takes less than a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Directory in the cache.
const CACHED: &str = "flags";
/// What kube-proxy says of a flag that has no effect in a lab.
const IGNORED: &str = "is ignored if a config file is specified";

/// The flags that a program lists, without hyphens, each with whether it has an effect beside a
/// configuration file.
pub type ListedFlags = BTreeMap<String, bool>;

/// Returns the flags that the program `file` lists.
///
/// # Errors
/// If it cannot be run or does not answer; the text completes "cannot be asked: ".
pub async fn listed(file: &BundleFile, cache: &Path) -> Result<ListedFlags, String> {
    let cached = cache.join(CACHED).join(&file.sha256);
    if let Ok(text) = std::fs::read_to_string(&cached) {
        return Ok(text.lines().filter_map(read_line).collect());
    }
    let (_, help) = ask(file, &[]).await?;
    let listed = flags_in(&help);
    if listed.is_empty() {
        return Err("`--help` lists no flags".to_owned());
    }
    keep(&cached, &listed);
    Ok(listed)
}

/// Asks the program `file` whether it takes `arguments`. Returns what it says against them, if it
/// does not.
///
/// # Errors
/// As [`listed`].
pub async fn objection(file: &BundleFile, arguments: &[String]) -> Result<Option<String>, String> {
    let (ok, said) = ask(file, arguments).await?;
    let about = |line: &&str| {
        ["unknown flag", "invalid argument", "invalid value", "not defined"]
            .iter()
            .any(|words| line.contains(words))
    };
    let last = || said.lines().rev().find(|line| !line.trim().is_empty());
    Ok((!ok).then(|| said.lines().find(about).or_else(last).unwrap_or("it refuses").to_owned()))
}

/// Runs `PROGRAM ARGUMENTS --help`. Returns whether it succeeded, and what it said.
async fn ask(file: &BundleFile, arguments: &[String]) -> Result<(bool, String), String> {
    let (path, expected) = (file.path.clone(), file.sha256.clone());
    let hashing = tokio::task::spawn_blocking(move || sha256_of(&path, |_| ()));
    let found = hashing.await.map_err(|error| error.to_string())?;
    if found.map_err(|error| error.to_string())? != expected {
        return Err("its checksum differs from bundle.lock".to_owned());
    }
    let mut command = Command::new(&file.path);
    command.args(arguments).arg("--help").env_clear().current_dir("/");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(output) => output.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// Returns the flags of a help text. Cobra writes `-v, --v Level`, the flags of containerd are
/// `--config value, -c value`, those of etcd `--name 'default'`.
fn flags_in(help: &str) -> ListedFlags {
    let mut flags = ListedFlags::new();
    let mut last: Option<String> = None;
    for line in help.lines() {
        if let Some(name) = flag_of(line) {
            flags.insert(name.to_owned(), true);
            last = Some(name.to_owned());
        }
        if line.contains(IGNORED)
            && let Some(effective) = last.as_ref().and_then(|last| flags.get_mut(last))
        {
            *effective = false;
        }
    }
    flags
}

fn flag_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let long = match line.strip_prefix("--") {
        Some(long) => long,
        // A short form before it.
        None => line.strip_prefix('-')?.split_once(", --")?.1,
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let end = long.bytes().position(|byte| !letter(byte)).unwrap_or(long.len());
    Some(&long[..end]).filter(|name| !name.is_empty())
}

fn read_line(line: &str) -> Option<(String, bool)> {
    let (name, effective) = line.split_once(' ')?;
    Some((name.to_owned(), effective == "effective"))
}

/// Keeps an answer. Without it the program is asked again.
fn keep(cached: &Path, listed: &ListedFlags) {
    let word = |effective: bool| if effective { "effective" } else { "ignored" };
    let text: String =
        listed.iter().map(|(name, effective)| format!("{name} {}\n", word(*effective))).collect();
    let Some(folder) = cached.parent() else { return };
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let file = tempfile::NamedTempFile::new_in(folder)?;
        std::fs::write(file.path(), &text)?;
        file.persist(cached)?;
        Ok(())
    };
    let _ = write();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const COBRA: &str = "\
The proxy.

Usage:
  kube-proxy [flags]

Flags:
      --bind-address ip   Its IP address. This parameter is ignored if a config file is specified
      --audit-policy-file string    Path. See --audit-log-path.
                                    --not-a-column
  -v, --v Level           number for the log level verbosity
";

    #[test]
    fn flags_are_found_in_every_form_of_help() {
        let flags = flags_in(COBRA);
        assert_eq!(flags.get("v"), Some(&true));
        assert_eq!(flags.get("audit-policy-file"), Some(&true));
        assert_eq!(flags.get("bind-address"), Some(&false), "{flags:?}");
        assert!(!flags.contains_key("audit-log-path"), "{flags:?}");
        let containerd = flags_in("   --config value, -c value  Path\n   --help, -h   Show help\n");
        assert_eq!(containerd.keys().collect::<Vec<_>>(), ["config", "help"]);
        let etcd = flags_in("Member:\n  --name 'default'\n    Human-readable name.\n");
        assert_eq!(etcd.keys().collect::<Vec<_>>(), ["name"]);
    }

    fn program(folder: &Path, text: &str) -> BundleFile {
        let path = folder.join("program");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        let sha256 = sha256_of(&path, |_| ()).expect("a file");
        let size = text.len() as u64;
        BundleFile { version: "1".to_owned(), path, size, sha256, image: None }
    }

    #[tokio::test]
    async fn a_program_is_asked_once_and_never_if_it_is_not_the_one_of_the_lock() {
        let folder = tempfile::tempdir().expect("a directory");
        let (cache, count) = (folder.path().join("cache"), folder.path().join("count"));
        let script = format!(
            "#!/bin/sh\necho x >> {}\necho '  --a int  A.'\n[ $# = 1 ] || {{ echo 'Error: unknown \
             flag: --b' >&2; exit 1; }}\n",
            count.display()
        );
        let mut file = program(folder.path(), &script);
        for _ in 0..2 {
            let known = listed(&file, &cache).await.expect("an answer");
            assert_eq!(known.keys().collect::<Vec<_>>(), ["a"]);
        }
        assert_eq!(fs::read_to_string(&count).expect("a count"), "x\n");
        let objection = objection(&file, &["--b=1".to_owned()]).await.expect("an answer");
        assert_eq!(objection.as_deref(), Some("Error: unknown flag: --b"));
        file.sha256 = "0".repeat(64);
        let refused = listed(&file, &cache).await.expect_err("another file");
        assert!(refused.contains("checksum"), "{refused}");
        assert_eq!(fs::read_to_string(&count).expect("a count"), "x\nx\n");
    }

    #[tokio::test]
    async fn a_program_of_another_machine_cannot_be_asked() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = program(folder.path(), "\u{7f}ELF and nothing else");
        let error = listed(&file, &folder.path().join("cache")).await.expect_err("no program");
        assert!(error.contains("xec") || error.contains("ormat"), "{error}");
    }
}
