//! labctl: declarative provisioning of real Kubernetes labs. (Architecture to be drawn here.)
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod engine;
pub mod event;
pub mod inventory;
pub mod lab;
pub mod local;
pub mod module;
pub mod pki;
pub mod plan;
pub mod playbook;
pub mod render;
pub mod report;
pub mod smoke;
pub mod transport;
