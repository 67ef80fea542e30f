//! `kubeconfig`: prints the administrator's kubeconfig.

use super::session::{lab_of, open, print};
use super::{Exit, Stop};
use crate::cli::Kubeconfig;
use crate::report::Reporter;

/// Prints the administrator's kubeconfig.
pub fn kubeconfig(args: &Kubeconfig, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let path = lab_of(&cluster).admin_conf();
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Stop::failed(format!("lab {} has no kubeconfig yet: there is no {}", cluster.name, path.display()))
                .help(format!("`labctl up {}` makes the lab, and it", args.lab.inventory.display()))
        }
        _ => Stop::failed(format!("cannot read {}: {error}", path.display()))
            .help("run labctl as the user who brought the lab up"),
    })?;
    print(reporter, &text)
}
