//! The engine: probes nodes and executes a plan on them.
//!
//! A run has two halves. [`probe`] asks every node, in one round trip each, everything that all
//! plays need to know; the plan is then complete before anything changes. [`apply`] executes the
//! plan: each play on each node is one stream with one script, independent plays run in parallel,
//! and large files are sent from the start, whenever their play is due.
//!
//! The engine neither decides what is desired nor prints anything: it takes a plan and emits
//! events.

pub mod apply;
mod cause;
pub mod connect;
mod delivery;
pub mod everywhere;
pub mod fetch;
pub mod inbox;
pub mod lock;
pub mod logs;
mod pack;
pub mod probe;
pub mod push;
mod receive;
mod remedy;
mod run;
pub mod script;
pub mod spread;
pub mod survey;
pub mod versions;

pub use delivery::{Delivery, Peer, Spread};
pub use run::{Connections, Run};

pub use crate::transport::ssh::{Ask, Keyring};
