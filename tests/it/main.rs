//! Everything that needs no lab, in one binary: it is linked once.
//!
//! A real lab takes the machine for itself and is in `tests/lab`, local nodes without a cluster are
//! in `tests/local_nodes.rs`, and a thousand connections, which would slow every test beside them,
//! in `tests/scale.rs`.

#![allow(missing_docs, reason = "a test binary has no readers of its documentation")]

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod bundle_pull;
mod certificates;
mod cli;
mod completions;
mod docs;
mod engine;
mod golden;
mod init;
mod inventory;
mod laws;
mod membership;
mod modules;
mod node_shell;
mod options;
mod plan;
mod pod_network;
mod resolvers;
mod shell;
mod size;
mod smoke;
mod spread;
mod ssh;
mod status;
mod stories;
mod surroundings;
mod teardown;
mod timeline;
mod turns;
mod units;
