//! Sets: what a task needs for many nodes at once, computed once and shared by all of them.
//!
//! A lab of a thousand nodes has a thousand names and routes on each of them. With one task per
//! element that would be millions of tasks; as a set it is one list that every node's task shares,
//! minus the node's own element.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use super::file::Content;
use super::{Each, Site};

/// Elements that nodes share, in order; each is a line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Set<T> {
    all: Arc<Lines<T>>,
    /// The element that this node omits.
    own: Option<usize>,
}

#[derive(Debug, PartialEq)]
struct Lines<T> {
    elements: Vec<T>,
    /// Each element as a line, in the same order.
    lines: Vec<String>,
    text: Arc<[u8]>,
    /// SHA-256 of the text, which all nodes of a large lab ask for.
    digest: String,
}

impl<T: Display> Set<T> {
    /// Returns a set of these elements.
    pub fn new(elements: Vec<T>) -> Self {
        let lines: Vec<String> = elements.iter().map(ToString::to_string).collect();
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let text: Arc<[u8]> = text.into_bytes().into();
        let digest = Content::inline(Arc::clone(&text)).sha256().to_owned();
        Self { all: Arc::new(Lines { elements, lines, text, digest }), own: None }
    }

    /// The set for `each`, worked out by the first node that asks and shared by the others, without
    /// the element that is the node's own. `element` names what may be in the set only once.
    pub(super) fn worked_out(
        site: &dyn Site,
        each: Option<Each>,
        element: impl Fn(&dyn Site) -> Result<(String, T), String>,
    ) -> Result<Self, String>
    where
        T: 'static,
    {
        let own = site.own_element(each);
        let shared = &site.shared().set;
        let known = || shared.get().and_then(|set| set.downcast_ref::<Self>());
        if let Some(set) = known() {
            return Ok(set.without(own));
        }
        let (mut seen, mut elements) = (BTreeSet::new(), Vec::new());
        for site in site.elements(each) {
            let (key, element) = element(&*site)?;
            if let Some(key) = seen.replace(key) {
                return Err(format!("{key} is in this set twice"));
            }
            elements.push(element);
        }
        let set = Self::new(elements);
        let own_set = set.without(own);
        let _ = shared.set(Box::new(set));
        Ok(own_set)
    }

    /// Returns the same set without one of its elements.
    #[must_use]
    pub fn without(&self, own: Option<usize>) -> Self {
        Self { all: Arc::clone(&self.all), own }
    }

    /// Iterates over the elements.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.others(&self.all.elements)
    }

    /// Iterates over the elements as lines: worked out once for all nodes.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.others(&self.all.lines).map(String::as_str)
    }

    fn others<'a, I>(&self, all: &'a [I]) -> impl Iterator<Item = &'a I> + use<'a, I, T> {
        let own = self.own;
        let other = move |(index, element)| (Some(index) != own).then_some(element);
        all.iter().enumerate().filter_map(other)
    }

    /// Returns all elements as lines, including the one that this node omits: the same bytes on
    /// every node.
    pub fn text(&self) -> Arc<[u8]> {
        Arc::clone(&self.all.text)
    }

    /// Returns an id of this set: two tasks on a node must not have different sets in one place.
    pub fn id(&self) -> String {
        self.all.digest.clone() + &self.own()
    }

    /// Returns the line that this node omits; empty if it omits none.
    pub fn own(&self) -> String {
        let own = self.own.and_then(|own| self.all.lines.get(own));
        own.cloned().unwrap_or_default()
    }
}

/// A value of an element, of this kind.
pub(super) fn parsed<T: FromStr>(text: &str, kind: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not {kind}"))
}
