//! `certs`: lists certificates, renews them, and replaces the CAs.

pub mod list;
pub mod renew;
pub mod rotate_ca;
