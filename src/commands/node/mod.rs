//! `node add` and `node remove`: change the nodes of a lab, in the inventory and on the machines.

pub mod add;
pub mod remove;
pub(super) mod text;
