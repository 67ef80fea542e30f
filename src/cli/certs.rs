//! Arguments of `certs` and `kubeconfig`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};

use super::lab::{LabArgs, SourceArgs};
use super::target::LabAndNodes;

/// `certs`.
#[derive(Debug, Subcommand)]
pub enum CertsVerb {
    /// List every certificate, on the nodes and in the lab directory, and when it expires
    #[command(after_help = "\
Exits with 3 when a certificate has expired or expires within --within.

Examples:
  labctl certs list
  labctl certs list prod.yaml controller-0
  labctl certs list --within 90d --output json")]
    List(CertsListArgs),
    /// Issue new certificates, put them on the nodes, and restart what uses them
    #[command(long_about = "\
Issue new certificates, put them on the nodes, and restart what uses them: one controller at a \
        time, each healthy \
before the next. The CAs stay; `labctl certs rotate-ca` replaces those.

With nodes, only the certificates that belong to them alone. It also revives a lab whose \
        certificates have all expired.")]
    #[command(after_help = "\
Examples:
  labctl certs renew
  labctl certs renew --only apiserver,kubelet
  labctl certs renew prod.yaml worker-1")]
    Renew(CertsRenewArgs),
    /// Replace the CAs and the service account key, and everything they signed
    #[command(name = "rotate-ca")]
    #[command(long_about = "\
Replace the CAs and the service account key, and everything they signed.

The API stays up, because nothing is used before everything trusts it: first the new CAs are \
        trusted beside the old \
ones everywhere, then certificates, kubeconfigs and tokens are reissued, then the old CAs are \
        dropped. It can be \
interrupted at any time; the same command resumes.")]
    RotateCa(RotateCaArgs),
}

/// `certs list`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl certs list [OPTIONS] [INVENTORY] [NODE]...")]
pub struct CertsListArgs {
    /// The lab and its nodes.
    #[command(flatten)]
    pub target: LabAndNodes,

    /// How soon counts as expiring: 30d, 12h, 45m
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span)]
    pub within: Duration,
}

/// `certs renew`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl certs renew [OPTIONS] [INVENTORY] [NODE]...")]
pub struct CertsRenewArgs {
    /// The lab and its nodes.
    #[command(flatten)]
    pub target: LabAndNodes,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Only these certificates: apiserver, kubelet, etcd/server, ...
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub only: Vec<String>,

    /// A shorter lifetime than the inventory's `leaf_days`, to try what happens when certificates
    /// expire: 10m, 30d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub life: Option<Duration>,
}

/// `certs rotate-ca`.
#[derive(Debug, Args)]
pub struct RotateCaArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// `kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,

    /// Issue a certificate for this user instead of printing the administrator's; it is not stored
    #[arg(long, value_name = "NAME", value_parser = user)]
    pub user: Option<String>,

    /// The user's group, for RBAC
    #[arg(long, value_name = "NAME", requires = "user", value_parser = subject)]
    pub group: Option<String>,

    /// Lifetime of the user's certificate in days
    #[arg(long, value_name = "N", requires = "user", default_value = "30")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,

    /// Add it to your own kubeconfig, or replace this lab's entries there; other entries stay as
    /// they are
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub merge: bool,

    /// The kubeconfig to merge into, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE", requires = "merge")]
    pub into: Option<PathBuf>,
}

/// Parses a duration: `30d`, `12h`, `45m`, `90s`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit: 30d, 12h, 45m or 90s".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    if number > 36_500 && unit == "d" {
        return Err("more than a hundred years, which certificates cannot express".to_owned());
    }
    Ok(Duration::from_secs(seconds * u64::from(number)))
}

/// Parses a name that can be the common name of a certificate.
fn subject(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.chars().count())
        && text.trim() == text
        && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 characters, without spaces around them".to_owned())
    }
}

fn user(text: &str) -> Result<String, String> {
    if text.starts_with("system:") {
        return Err("names that begin with `system:` are reserved for Kubernetes".to_owned());
    }
    subject(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(span("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "d", "30", "-1d", "1.5h", "30 d", "é", "999999d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn users_are_people() {
        assert!(user("jane").is_ok() && subject("system:masters").is_ok());
        for wrong in ["", "system:node:worker-0", " jane", "a\nb", &"x".repeat(65)] {
            assert!(user(wrong).is_err(), "{wrong}");
        }
    }
}
