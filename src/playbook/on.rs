//! Selects the nodes that a play or a task is for.

use std::fmt;

use serde::de::{self, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::cluster::{Node, Role};

/// The nodes that a play or a task is for: `all`, a role, or a list of roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// Every node.
    All,
    /// Nodes that have any of these roles.
    Roles(Vec<Role>),
}

impl On {
    /// Whether `node` is selected.
    pub fn includes(&self, node: &Node) -> bool {
        match self {
            On::All => true,
            On::Roles(roles) => roles.iter().any(|role| node.has(*role)),
        }
    }

    /// Whether every node that this selects is also selected by `others`, in any lab.
    pub fn is_within(&self, others: &On) -> bool {
        match (self, others) {
            (_, On::All) => true,
            (On::All, On::Roles(_)) => false,
            (On::Roles(roles), On::Roles(others)) => roles.iter().all(|role| others.contains(role)),
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::All => f.write_str("all"),
            On::Roles(roles) => {
                f.write_str(&roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OnVisitor)
    }
}

struct OnVisitor;

impl<'de> Visitor<'de> for OnVisitor {
    type Value = On;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, a role, or a list of roles")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<On, E> {
        if name == "all" {
            return Ok(On::All);
        }
        Role::deserialize(name.into_deserializer()).map(|role| On::Roles(vec![role]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<On, A::Error> {
        let mut roles = Vec::new();
        while let Some(role) = names.next_element()? {
            roles.push(role);
        }
        if roles.is_empty() {
            Err(de::Error::custom("`on: []` selects no node; name a role, or leave it out"))
        } else {
            Ok(On::Roles(roles))
        }
    }
}
