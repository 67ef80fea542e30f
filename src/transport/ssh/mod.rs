//! An SSH connection to one node: how it is opened, and what it refuses.
//!
//! The only code that names russh. First the way to the node is worked out ([`route`](LoginRoute)),
//! from what the inventory says and what OpenSSH's configuration says (`config`). Each step of it
//! (`hop`) is made in three parts, each with its own errors: reach the machine, check its host key
//! (`host_key`), log in (`login`). After that a [`Session`] runs commands, each in a channel of its
//! own (`exec`), as root (`privilege`).

mod agent;
mod answers;
mod client;
mod config;
mod dial;
mod exec;
mod hop;
mod host_key;
mod keyring;
mod keys;
pub mod known_hosts;
mod line;
mod login;
mod privilege;
mod refusal;
mod route;
mod run;
mod session;
mod target;
mod tunnel;
mod words;

pub use dial::Dialler;
pub use keyring::{Ask, Keyring};
pub use keys::TemporaryKey;
pub use route::{Keys, LoginRoute, RouteHost};
pub use session::Session;
pub use target::Target;
