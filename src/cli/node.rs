//! `labctl node`: nodes that come and go.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};

use super::{Lab, Sources};

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// Add a node to the inventory, and bring it up
    #[command(long_about = "\
Add a node to the inventory, and bring it up.

The inventory keeps its comments, order and style. What the other nodes need to know of the new one is changed on them, \
and nothing else: a controller joins the etcd that is there.")]
    #[command(after_help = "\
Examples:
  labctl node add worker-2 --address 10.240.0.22 --role worker
  labctl node add prod.yaml worker-7 --address 192.0.2.27 --role worker --label disk=ssd")]
    Add(NodeAdd),
    /// Take a node out of the lab and out of the inventory
    #[command(long_about = "\
Take a node out of the lab and out of the inventory.

A worker is drained first, a controller leaves etcd first; then its Node object is deleted, the machine is emptied as \
`down` does it, or removed when labctl made it, and the other nodes forget it. Stopped at any moment, the same command \
finishes it.")]
    #[command(after_help = "\
Examples:
  labctl node remove worker-2
  labctl node remove controller-0 --gone     the machine is lost: nothing is asked of it")]
    Remove(NodeRemove),
}

/// The lab and one of its nodes.
#[derive(Debug, Args)]
pub struct LabAndNode {
    /// The node, after the inventory when that is not ./inventory.yaml
    #[arg(value_names = ["INVENTORY", "NODE"], num_args = 1..=2, required = true)]
    target: Vec<String>,

    /// The inventory, when it is not given before the node
    #[arg(long = "inventory", value_name = "INVENTORY", default_value = "inventory.yaml", hide = true)]
    #[arg(env = "LABCTL_INVENTORY", hide_env_values = true)]
    default_inventory: PathBuf,
}

impl LabAndNode {
    /// The node.
    pub fn node(&self) -> &str {
        self.target.last().map_or("", String::as_str)
    }

    /// The lab that it belongs to. The inventory stands before the node and may be left out all the same.
    pub fn lab(&self) -> Lab {
        let inventory = match self.target.as_slice() {
            [inventory, _node] => inventory.into(),
            _ => self.default_inventory.clone(),
        };
        Lab { inventory }
    }
}

/// `node add`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl node add [OPTIONS] [INVENTORY] <NODE> --address <ADDRESS> --role <ROLE>")]
pub struct NodeAdd {
    /// The lab and the new node's name.
    #[command(flatten)]
    pub target: LabAndNode,
    /// The address that the other nodes reach it at
    #[arg(long, value_name = "ADDRESS")]
    pub address: Ipv4Addr,
    /// What it is for: controller, worker, loadbalancer, client; more than one with a comma or said again
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',', required = true)]
    pub roles: Vec<String>,
    /// A label for its Node object
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: Sources,
}

/// `node remove`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl node remove [OPTIONS] [INVENTORY] <NODE>")]
pub struct NodeRemove {
    /// The lab and the node.
    #[command(flatten)]
    pub target: LabAndNode,
    /// The machine is lost: ask nothing of it
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub gone: bool,
    /// Remove it also when its pods do not end, or etcd loses its majority with it
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub force: bool,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: Sources,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "a label is KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}
