//! The operations, one file per verb: what labctl does once it is known what was typed. They take
//! types of their own, so that they can be called from anywhere, and wire the rooms together; what
//! several of them need is in `session`, `inputs`, `prepared`, `converge` and `bring_up`.

mod ask;
mod bring_up;
pub mod bundle;
pub mod certs;
mod components;
mod converge;
pub mod down;
pub mod etcd;
pub mod exec;
mod exit;
pub mod explain;
mod files;
pub mod image;
pub mod init;
mod inputs;
pub mod kubeconfig;
pub mod kubectl;
pub mod logs;
mod machines;
mod manifests;
mod named;
pub mod next;
pub mod node;
mod options;
mod ownership;
pub mod picture;
pub mod plan;
pub mod play;
pub mod playbook;
mod prepared;
pub mod recover;
mod registries;
pub mod render;
mod roster;
mod run;
mod runbook;
mod session;
pub mod smoke;
pub mod ssh;
pub mod status;
pub mod step;
mod stop;
pub mod support;
mod tarball;
pub mod timeline;
pub mod up;
pub mod upgrade;
pub mod validate;
pub mod workshop;

pub use exit::{Exit, Stop, failed};
pub use named::missing;
pub use options::Options;
pub use run::{print, run};
