//! `node add` and `node remove`: change the nodes of a lab, in the inventory and on the machines;
//! `node stop` and `node start`: their power.

pub mod add;
pub mod power;
pub mod remove;
pub(super) mod text;
