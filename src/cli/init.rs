//! Arguments of `init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::commands::init::{Model, Shape, Wanted};

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Machines to log in to, as `[user@]host[:port]`; default: local nodes
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,

    /// Number of controllers: 1, or an odd number
    #[arg(long, value_name = "N")]
    controllers: Option<usize>,

    /// Number of workers; 0 has the controllers do their work
    #[arg(long, value_name = "N")]
    workers: Option<usize>,

    /// Begin with a lab that is shipped
    #[arg(long, value_enum, value_name = "LAB")]
    #[arg(conflicts_with_all = ["hosts", "controllers", "workers"])]
    like: Option<ShippedLab>,

    /// The lab's name; default: the directory's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The file to write; `-` prints it
    #[arg(long, value_name = "FILE", default_value = "inventory.yaml")]
    pub(super) to: PathBuf,

    /// The private key to log in to the machines with
    #[arg(long, value_name = "FILE", requires = "hosts")]
    identity: Option<PathBuf>,

    /// Trust machines whose host keys nobody knows, and record the keys for the lab
    #[arg(long, requires = "hosts")]
    accept_new_host_keys: bool,
}

/// A lab that is shipped and needs no other file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShippedLab {
    /// Two controllers, two workers, a load balancer, a client.
    Sandbox,
    /// Three controllers, three workers, a load balancer.
    Ha,
    /// One node with every role.
    Single,
    /// Three nodes, with plain routes between their pods.
    Multinode,
}

impl InitArgs {
    /// What is asked of `init`.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            hosts: self.hosts.clone(),
            shape: Shape { controllers: self.controllers, workers: self.workers },
            like: self.like.map(|lab| match lab {
                ShippedLab::Sandbox => Model::Sandbox,
                ShippedLab::Ha => Model::Ha,
                ShippedLab::Single => Model::Single,
                ShippedLab::Multinode => Model::Multinode,
            }),
            name: self.name.clone(),
            to: self.to.clone(),
            identity: self.identity.clone(),
            accept_new_host_keys: self.accept_new_host_keys,
        }
    }
}
