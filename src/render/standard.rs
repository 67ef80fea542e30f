//! The standard templates, compiled in.

/// Name and text of every file in `templates/`: `etcd/etcd.service` is
/// `templates/etcd/etcd.service.tera`.
pub const TEMPLATES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));
