//! Checks whether this machine can run local nodes, and reports everything that is missing at once.

use super::error::LocalError;
use super::program;

/// Programs that local nodes need, with the Debian packages that contain them.
const PROGRAMS: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("ssh-keygen", "openssh-client"),
    ("setsid", "util-linux"),
    ("find", "findutils"),
];

/// Checks user, system and programs.
pub(super) fn check() -> Result<(), LocalError> {
    let problems =
        problems(rustix::process::geteuid().is_root(), cfg!(target_os = "linux"), &|name| {
            program::find(name).is_some()
        });
    if problems.is_empty() { Ok(()) } else { Err(LocalError::Unfit { problems }) }
}

fn problems(root: bool, linux: bool, has: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !linux {
        problems.push(
            "it does not run Linux; use other machines with addresses and SSH access instead"
                .into(),
        );
        return problems;
    }
    if !root {
        problems.push("only root can create nodes; run labctl with sudo".into());
    }
    let missing: Vec<_> = PROGRAMS.iter().filter(|(name, _)| !has(name)).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        problems.push(format!(
            "missing {}; run `apt-get install {}`",
            names.join(", "),
            packages.join(" ")
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_missing_is_reported_at_once() {
        let problems = problems(false, true, &|name| name != "ip" && name != "debootstrap");
        assert_eq!(
            problems,
            [
                "only root can create nodes; run labctl with sudo",
                "missing debootstrap, ip; run `apt-get install debootstrap iproute2`",
            ]
        );
    }

    #[test]
    fn a_suitable_machine_has_no_problems() {
        assert!(problems(true, true, &|_| true).is_empty());
    }
}
