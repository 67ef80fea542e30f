//! The engine: probes nodes, and carries out a plan on them.
//!
//! A run has two halves. [`probe`] asks every node, in one round trip each, about everything that
//! all plays want to know; the plan is then complete before anything changes. [`apply`] goes
//! through the plan: each play on each node is one stream and one script, plays that do not depend
//! on each other run at the same time, and large files are on their way from the first moment,
//! whenever their play's turn may come.
//!
//! The engine decides nothing about what is desired and prints nothing: it takes a plan and emits
//! events.

pub mod apply;
mod cause;
pub mod connect;
mod delivery;
pub mod fetch;
pub mod inbox;
pub mod lock;
mod pack;
pub mod probe;
pub mod push;
mod receive;
mod run;
pub mod script;
pub mod spread;

pub use delivery::{Delivery, Peer, Spread};
pub use run::{Connections, Run};

pub use crate::transport::ssh::{Ask, Keyring};
