//! What a look at a node came to.

/// A reason not to start, or to be careful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The node concerned.
    pub node: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

/// Everything that was found, on all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Reasons not to start on a node.
    pub obstacles: Vec<Obstacle>,
    /// What a person should know; it changes nothing.
    pub warnings: Vec<Obstacle>,
}
