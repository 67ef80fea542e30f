//! Changes the nodes in the text of an inventory and nothing else: comments, order and style are
//! preserved.
//!
//! From text to text, without I/O. [`positions`](super::positions) locates the entries. A change
//! consists of whole lines if each node has its own lines, and of a piece of a line if the list is
//! in brackets. The result is parsed again and compared with what was requested before it is
//! returned, so that anchors, odd indentation and the like lead to an error, not to a broken file.

use std::path::Path as FilePath;

use super::entry::{labels, list, nodes_of, scalar, tree_of};
use super::load::{parse, read_yaml};
use super::positions::{Path, Positions};
use super::range::Range;
use super::scan::{byte_of, closed, is_blank_or_comment};
use super::tree::Tree;
use super::{Inventory, NodeEntry};

pub use super::entry::NewNode;

/// An inventory that cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditError(String);

/// Returns `text` with one more node, in the style of its neighbour: after the last node with the
/// same roles, else after the last that has one of its roles, else at the end.
///
/// # Errors
/// If the text has no list of nodes, or one that cannot be edited.
pub fn add(text: &str, node: &NewNode) -> Result<String, EditError> {
    let file = Text::read(text)?;
    let after = file.neighbour(node);
    let edited = match file.layout(after)? {
        ListStyle::Lines => file.add_lines(after, node),
        ListStyle::Brackets => file.add_piece(after, node),
    };
    file.checked(edited, &node.name, |nodes| nodes.insert(after + 1, tree_of(node)))
}

/// Returns `text` without the node called `name`, including comments inside its entry. The first
/// and the last of a range shorten it. If there is no such node, returns it unchanged.
///
/// # Errors
/// If the text cannot be edited.
pub fn remove(text: &str, name: &str) -> Result<String, EditError> {
    let file = Text::read(text)?;
    let is_it = |node: &&NodeEntry| node.name.as_ref().is_some_and(|it| it.value == name);
    let Some(node) = file.all.iter().find(is_it) else { return Ok(text.to_owned()) };
    let index = node.index;
    if let Some(range) = &node.range
        && let Some(edited) = file.shorter(index, range, name)?
    {
        return Ok(edited);
    }
    let edited = match file.layout(index)? {
        ListStyle::Lines => file.remove_lines(index),
        ListStyle::Brackets => file.remove_piece(index),
    };
    file.checked(edited, name, |nodes| {
        nodes.remove(index);
    })
}

/// Returns `text` with another version of Kubernetes.
///
/// # Errors
/// If the text cannot be edited.
pub fn set_version(text: &str, version: &str) -> Result<String, EditError> {
    let file = Text::read(text)?;
    let unusual = || by_hand("its version is written in an unusual way");
    let at = file.positions.value(&Path::default().key("kubernetes"));
    let number = at.line.checked_sub(1).ok_or_else(unusual)?;
    let line = file.lines.get(number).ok_or_else(unusual)?;
    let byte = byte_of(line, at.column);
    let (before, value) = line.split_at(byte);
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'v' | '"' | '\'');
    let end = value.find(|c| !plain(c)).unwrap_or(value.len());
    let mut lines: Vec<String> = file.lines.iter().map(|line| (*line).to_owned()).collect();
    lines[number] = format!("{before}\"{version}\"{}", &value[end..]);
    let edited = lines.join("\n");
    let mut wanted = read_yaml(file.text).map_err(|_| unusual())?;
    let Tree::Map(entries) = &mut wanted else { return Err(unusual()) };
    let is_it = |(key, _): &&mut (Tree, Tree)| *key == Tree::Text("kubernetes".to_owned());
    let entry = entries.iter_mut().find(is_it).ok_or_else(unusual)?;
    entry.1 = Tree::Text(version.to_owned());
    let found = read_yaml(&edited).map_err(|_| unusual())?;
    if found == wanted { Ok(format!("{}{edited}", file.mark)) } else { Err(unusual()) }
}

/// The style of the list of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListStyle {
    /// `- ` before each, on separate lines.
    Lines,
    /// `[a, b]`.
    Brackets,
}

/// A text with the positions of its nodes.
struct Text<'t> {
    /// Without a byte order mark.
    text: &'t str,
    mark: &'t str,
    lines: Vec<&'t str>,
    positions: Positions,
    /// The entries of the list; of a range, its first node.
    nodes: Vec<NodeEntry>,
    /// Every node.
    all: Vec<NodeEntry>,
}

impl<'t> Text<'t> {
    fn read(whole: &'t str) -> Result<Self, EditError> {
        let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
        let inventory =
            read(text).ok_or_else(|| by_hand("it is not an inventory that can be read"))?;
        let positions = Positions::of(text).map_err(|error| EditError(error.what))?;
        let all = inventory.nodes.map(|nodes| nodes.value).unwrap_or_default();
        if all.is_empty() {
            return Err(by_hand("it has no list of nodes"));
        }
        let mut nodes = all.clone();
        nodes.dedup_by_key(|node| node.index);
        let mark = &whole[..whole.len() - text.len()];
        Ok(Self { text, mark, lines: text.split('\n').collect(), positions, nodes, all })
    }

    /// Returns the text with a range that has lost its node `name`; `None` if that was all of it.
    fn shorter(&self, index: usize, range: &str, name: &str) -> Result<Option<String>, EditError> {
        let unusual = || by_hand(&format!("the range `{range}` is written in an unusual way"));
        let Some(Ok(numbers)) = Range::of(range) else { return Err(unusual()) };
        let (first, last) = (numbers.first, numbers.last);
        let first_node = self.nodes.get(index).ok_or_else(unusual)?;
        let second = self.all.iter().filter(|node| node.index == index).nth(1);
        let (shorter, begins) = match second {
            None => return Ok(None),
            Some(_) if numbers.at(last) == name => (numbers.written(first, last - 1), first_node),
            Some(second) if numbers.at(first) == name && second.ssh.host.is_none() => {
                (numbers.written(first + 1, last), second)
            }
            Some(_) => {
                return Err(by_hand(&format!(
                    "`{name}` is inside of the range `{range}`, which would have to become two"
                )));
            }
        };
        let mut lines: Vec<String> = self.lines.iter().map(|line| (*line).to_owned()).collect();
        // Back to front: the addresses may be in the name's line.
        let at_name = self.positions.value(&Self::path(index).key("name"));
        let mut changes = vec![(at_name, range, shorter.as_str())];
        for (was, is) in first_node.address.iter().zip(&begins.address) {
            changes.push((was.at, was.value.as_str(), is.value.as_str()));
        }
        changes.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        for (at, was, is) in changes {
            let line = at.line.checked_sub(1).and_then(|line| lines.get_mut(line));
            let line = line.ok_or_else(unusual)?;
            let (before, value) = line.split_at(byte_of(line, at.column));
            let value = value.replacen(was, is, 1);
            *line = format!("{before}{value}");
        }
        let edited = self.checked(lines.join("\n"), name, |nodes| {
            if let Some(Tree::Map(entries)) = nodes.get_mut(index) {
                for (key, value) in entries {
                    match key {
                        Tree::Text(key) if key == "name" => *value = Tree::Text(shorter.clone()),
                        Tree::Text(key) if key == "address" => match value {
                            Tree::List(all) => {
                                let texts = begins.address.iter();
                                *all = texts.map(|it| Tree::Text(it.value.clone())).collect();
                            }
                            one => {
                                let text = begins.address.first().map(|it| it.value.clone());
                                *one = Tree::Text(text.unwrap_or_default());
                            }
                        },
                        _ => {}
                    }
                }
            }
        });
        edited.map(Some)
    }

    /// Returns `edited` if parsing it gives the original content with its nodes changed by
    /// `change`.
    fn checked(
        &self,
        edited: String,
        name: &str,
        change: impl FnOnce(&mut Vec<Tree>),
    ) -> Result<String, EditError> {
        let unusual = || {
            by_hand(&format!("the entry of `{name}` uses anchors, or is written in an unusual way"))
        };
        let mut wanted = read_yaml(self.text).map_err(|_| unusual())?;
        nodes_of(&mut wanted).map(change).ok_or_else(unusual)?;
        let found = read_yaml(&edited).map_err(|_| unusual())?;
        if found == wanted { Ok(format!("{}{edited}", self.mark)) } else { Err(unusual()) }
    }

    /// Returns the index of the node after which to insert a new one.
    fn neighbour(&self, node: &NewNode) -> usize {
        let roles = |entry: &NodeEntry| -> Vec<String> {
            entry
                .roles
                .iter()
                .flat_map(|roles| &roles.value)
                .map(|role| role.value.clone())
                .collect()
        };
        let last = |wanted: &dyn Fn(&[String]) -> bool| {
            self.nodes.iter().rposition(|entry| wanted(&roles(entry)))
        };
        let same = |found: &[String]| {
            found.len() == node.roles.len() && found.iter().all(|it| node.roles.contains(it))
        };
        let shared = |found: &[String]| found.iter().any(|it| node.roles.contains(it));
        last(&same).or_else(|| last(&shared)).unwrap_or(self.nodes.len() - 1)
    }

    fn path(index: usize) -> Path {
        Path::default().key("nodes").index(index)
    }

    /// Returns where the node begins, after its dash: the line from 0, and the byte in it.
    fn start(&self, index: usize) -> (usize, usize) {
        let at = self.positions.value(&Self::path(index));
        let line = at.line.saturating_sub(1);
        (line, byte_of(self.lines.get(line).copied().unwrap_or_default(), at.column))
    }

    /// Returns the line with the node's dash, and the dash's indentation.
    fn dash(&self, index: usize) -> Option<(usize, usize)> {
        let (line, byte) = self.start(index);
        let before = self.lines[line][..byte].trim_end();
        let dash_in = |before: &str| (before.trim_start() == "-").then(|| before.len() - 1);
        if let Some(indentation) = dash_in(before) {
            return Some((line, indentation));
        }
        // A dash on a line of its own, possibly with a comment.
        let above = (0..line).rev().find(|above| !is_blank_or_comment(self.lines[*above]))?;
        let text = self.lines[above].split(" #").next().unwrap_or_default().trim_end();
        dash_in(text).filter(|_| before.trim().is_empty()).map(|indentation| (above, indentation))
    }

    fn layout(&self, index: usize) -> Result<ListStyle, EditError> {
        if self.dash(index).is_some() {
            return Ok(ListStyle::Lines);
        }
        let (line, byte) = self.start(index);
        match self.lines[line][byte..].starts_with('{') {
            true => Ok(ListStyle::Brackets),
            false => Err(by_hand("its nodes are not written as a list of `- ` entries")),
        }
    }

    /// Returns the lines of a node, from its dash on. Comments that are indented more than the dash
    /// belong to the node.
    fn span(&self, index: usize) -> (usize, usize) {
        let Some((first, indentation)) = self.dash(index) else { return (0, 0) };
        let mut end = first + 1;
        for (number, line) in self.lines.iter().enumerate().skip(first + 1) {
            let text = line.trim();
            if text.is_empty() {
                continue;
            }
            if line.len() - line.trim_start().len() <= indentation {
                break;
            }
            end = number + 1;
        }
        (first, end)
    }

    fn is_blank(&self, line: usize) -> bool {
        self.lines.get(line).is_none_or(|line| line.trim().is_empty())
    }

    fn add_lines(&self, after: usize, node: &NewNode) -> String {
        let (first, end) = self.span(after);
        let mut new = self.entry_lines(after, node);
        // If entries are separated by blank lines, keep it that way.
        let apart = match after.checked_sub(1) {
            Some(before) => self.is_blank(self.span(before).1) && self.span(before).1 < first,
            None => self.nodes.len() > 1 && self.is_blank(end),
        };
        if apart {
            new.insert(0, String::new());
        }
        let returns = if self.text.contains("\r\n") { "\r" } else { "" };
        let mut lines: Vec<String> = self.lines.iter().map(|line| (*line).to_owned()).collect();
        if end == lines.len() {
            // The file does not end with a line break; keep it that way.
            lines[end - 1].push_str(returns);
            let last = new.len() - 1;
            new[..last].iter_mut().for_each(|line| line.push_str(returns));
        } else {
            new.iter_mut().for_each(|line| line.push_str(returns));
        }
        lines.splice(end..end, new);
        lines.join("\n")
    }

    fn remove_lines(&self, index: usize) -> String {
        let (mut first, mut end) = self.span(index);
        if first > 0 && self.is_blank(first - 1) && self.is_blank(end) {
            // Blank lines before it.
            while first > 0 && self.is_blank(first - 1) {
                first -= 1;
            }
        } else if index == 0 && self.is_blank(end) {
            while end + 1 < self.lines.len() && self.is_blank(end) {
                end += 1;
            }
        }
        let mut lines = self.lines.clone();
        let at_end = end == lines.len();
        lines.drain(first..end);
        let mut text = lines.join("\n");
        if at_end && text.ends_with('\r') {
            text.pop();
        }
        text
    }

    /// Returns the lines of a new entry, in the style of the one at `like`.
    fn entry_lines(&self, like: usize, node: &NewNode) -> Vec<String> {
        let (line, byte) = self.start(like);
        let (dash, indentation) = self.dash(like).unwrap_or((line, 0));
        let before = match dash == line {
            true => self.lines[line][..byte].to_owned(),
            false => format!("{}- ", " ".repeat(indentation)),
        };
        if self.lines[line][byte..].starts_with('{') {
            return vec![format!("{before}{}", self.braces(like, node, before.chars().count()))];
        }
        let indented = " ".repeat(before.chars().count());
        let mut lines = vec![
            format!("{before}name: {}", scalar(&node.name)),
            format!("{indented}address: {}", node.address()),
            format!("{indented}roles: {}", list(&node.roles)),
        ];
        if !node.labels.is_empty() {
            lines.push(format!("{indented}labels: {}", labels(&node.labels)));
        }
        lines
    }

    /// Returns a new entry in braces that begins at `column`, with its keys aligned to those of the
    /// entry at `like` where they fit.
    fn braces(&self, like: usize, node: &NewNode, column: usize) -> String {
        let (line, byte) = self.start(like);
        let open = if self.lines[line][byte..].starts_with("{ ") { "{ " } else { "{" };
        let close = if open == "{ " { " }" } else { "}" };
        // The column, from 0, of a key in the neighbour.
        let key = |key: &str| {
            let at = self.positions.key(&Self::path(like).key(key));
            (at.line == line + 1).then_some(at.column - 1)
        };
        let mut text = format!("{open}name: {}", scalar(&node.name));
        for (name, value) in [("address", node.address()), ("roles", list(&node.roles))] {
            text.push_str(", ");
            let now = column + text.chars().count();
            if let Some(wanted) = key(name).filter(|wanted| *wanted > now && *wanted < now + 40) {
                text.push_str(&" ".repeat(wanted - now));
            }
            text.push_str(&format!("{name}: {value}"));
        }
        if !node.labels.is_empty() {
            text.push_str(&format!(", labels: {}", labels(&node.labels)));
        }
        text + close
    }

    /// Returns the range of bytes of the node's braces.
    fn piece(&self, index: usize) -> (usize, usize) {
        let (line, byte) = self.start(index);
        let start = self.lines[..line].iter().map(|line| line.len() + 1).sum::<usize>() + byte;
        (start, start + closed(&self.text[start..]))
    }

    fn add_piece(&self, after: usize, node: &NewNode) -> String {
        let (start, end) = self.piece(after);
        let between = match after.checked_sub(1) {
            Some(before) => &self.text[self.piece(before).1..start],
            None => ", ",
        };
        let between = if between.trim() == "," { between } else { ", " };
        let column = self.text[..start].chars().rev().take_while(|c| *c != '\n').count();
        // Align columns only if the entry begins a line.
        let column = if between.contains('\n') { column } else { usize::MAX / 2 };
        format!(
            "{}{between}{}{}",
            &self.text[..end],
            self.braces(after, node, column),
            &self.text[end..]
        )
    }

    fn remove_piece(&self, index: usize) -> String {
        let (start, end) = self.piece(index);
        let (from, to) = match index.checked_sub(1) {
            Some(before) => (self.piece(before).1, end),
            None if self.nodes.len() > 1 => (start, self.piece(1).0),
            None => (start, end),
        };
        format!("{}{}", &self.text[..from], &self.text[to..])
    }
}

fn by_hand(why: &str) -> EditError {
    EditError(format!("labctl cannot change this inventory: {why}"))
}

fn read(text: &str) -> Option<Inventory> {
    parse(FilePath::new(""), text.as_bytes()).ok()
}

#[cfg(test)]
mod tests;
