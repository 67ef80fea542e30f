//! Arguments of `node add`, `node remove`, `node stop` and `node start`.

use std::net::IpAddr;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};

use super::lab::SourceArgs;
use super::target::{LabAndNode, LabAndNodes};

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// Add a node to the inventory, and bring it up
    #[command(long_about = "\
Add a node to the inventory, and bring it up.

The inventory keeps its comments, order and style. The other nodes change only where they have to \
        know the new one; a \
controller joins the existing etcd.")]
    #[command(after_help = "\
Examples:
  labctl node add worker-2 --role worker
  labctl node add prod.yaml worker-7 --address 192.0.2.27 --role worker --label disk=ssd")]
    Add(NodeAddArgs),
    /// Remove a node from the lab and from the inventory
    #[command(long_about = "\
Remove a node from the lab and from the inventory.

A worker is drained first, a controller leaves etcd first. Then its Node object is deleted, the \
        machine is emptied as by \
`down`, or removed when labctl made it, and the other nodes drop it. When interrupted, the same \
        command finishes it.")]
    #[command(after_help = "\
Examples:
  labctl node remove worker-2
  labctl node remove controller-0 --gone     the machine is lost: labctl does not contact it")]
    Remove(NodeRemoveArgs),
    /// Stop local nodes as a power failure does; their data stays
    #[command(
        long_about = "\
Stop local nodes as a power failure does: nothing on them has time to end. Their data stays, and \
            `labctl node start` or the next `labctl up` starts them again. Watch how the lab meets \
            it: `labctl status --watch`.",
        after_help = "\
Examples:
  labctl node stop worker-0
  labctl node stop prod.yaml 'controller-*'"
    )]
    Stop(NodePowerArgs),
    /// Start local nodes that do not run
    #[command(after_help = "\
Examples:
  labctl node start worker-0
  labctl node start all")]
    Start(NodePowerArgs),
}

/// `node stop` and `node start`.
#[derive(Debug, Args)]
pub struct NodePowerArgs {
    /// The lab and the nodes.
    #[command(flatten)]
    pub target: LabAndNodes,
}

/// `node add`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl node add [OPTIONS] [INVENTORY] <NODE> --role <ROLE>")]
pub struct NodeAddArgs {
    /// The lab and the new node's name.
    #[command(flatten)]
    pub target: LabAndNode,
    /// The address that the other nodes reach it at; one of each IP family, separated by a comma,
    /// where the lab has both; for a local node, the next one that is free when left out
    #[arg(long = "address", value_name = "ADDRESS", value_delimiter = ',')]
    pub addresses: Vec<IpAddr>,
    /// Its role: controller, worker, loadbalancer, client; separate several with commas, or repeat
    /// the option
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',', required = true)]
    pub roles: Vec<String>,
    /// A label for its Node object
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// `node remove`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl node remove [OPTIONS] [INVENTORY] <NODE>")]
pub struct NodeRemoveArgs {
    /// The lab and the node.
    #[command(flatten)]
    pub target: LabAndNode,
    /// The machine is lost: do not contact it
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub gone: bool,
    /// Remove it even when its pods do not stop, or etcd loses its majority
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub force: bool,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}
