//! `node add` and `node remove`: nodes that come and go, in the inventory and in the lab.

pub mod add;
pub mod remove;
mod text;
