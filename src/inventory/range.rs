//! Ranges: `worker-[0-4]` is five nodes, whose addresses count on from the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::problem::Problems;
use super::{Located, NodeEntry};

/// Maximum number of nodes in one entry.
const MOST: u32 = 4096;

/// A text with a range of numbers in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    before: String,
    /// The first number.
    pub(super) first: u32,
    /// The last number, at least the first.
    pub(super) last: u32,
    /// Digits of each number, with zeros in front; 0 for as many as it takes.
    width: usize,
    after: String,
}

impl Range {
    /// Returns the range in `text`; `None` if it has no bracket.
    ///
    /// # Errors
    /// If it has one and is no range: what is wrong, and what would be right.
    pub(super) fn of(text: &str) -> Option<Result<Self, (String, String)>> {
        text.contains(['[', ']']).then(|| Self::parse(text))
    }

    fn parse(text: &str) -> Result<Self, (String, String)> {
        let malformed = || {
            (
                format!("`{text}` is not a range"),
                "a range is `[first-last]` with whole numbers, once, such as `worker-[0-4]`"
                    .to_owned(),
            )
        };
        let (before, rest) = text.split_once('[').ok_or_else(malformed)?;
        let (numbers, after) = rest.split_once(']').ok_or_else(malformed)?;
        let (from, to) = numbers.split_once('-').ok_or_else(malformed)?;
        let number = |digits: &str| -> Option<u32> {
            digits.chars().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let (Some(first), Some(last)) = (number(from), number(to)) else { return Err(malformed()) };
        if before.contains(']') || after.contains(['[', ']']) {
            return Err(malformed());
        }
        if first > last {
            let what = format!("the range `{text}` counts down");
            return Err((what, format!("write `{before}[{to}-{from}]{after}`")));
        }
        if last - first >= MOST {
            let what = format!("the range `{text}` has more than {MOST} nodes");
            return Err((what, "write a smaller one".to_owned()));
        }
        let width = if from.len() > 1 && from.starts_with('0') { from.len() } else { 0 };
        Ok(Self { before: before.to_owned(), first, last, width, after: after.to_owned() })
    }

    /// Returns the text for one number.
    pub(super) fn at(&self, number: u32) -> String {
        format!("{}{number:0width$}{}", self.before, self.after, width = self.width)
    }

    /// Returns the range from `first` to `last` as it is written, or one name.
    pub(super) fn written(&self, first: u32, last: u32) -> String {
        if first == last {
            return self.at(first);
        }
        let Self { before, width, after, .. } = self;
        format!("{before}[{first:0width$}-{last:0width$}]{after}", width = *width)
    }

    fn count(&self) -> u32 {
        self.last - self.first + 1
    }
}

/// Returns the nodes of an entry: itself, or as many as the range in its name has.
pub(super) fn expand(entry: NodeEntry, problems: &mut Problems) -> Vec<NodeEntry> {
    let Some(name) = entry.name.clone() else { return vec![entry] };
    let range = match Range::of(&name.value) {
        None => return vec![entry],
        Some(Err((what, help))) => {
            problems.error(name.at, what, help);
            return vec![NodeEntry { name: None, ..entry }];
        }
        Some(Ok(range)) => range,
    };
    if let Some(part) = entry.pod_cidr.first() {
        problems.error(
            part.at,
            format!(
                "`pod_cidr` of the range `{}`: all of its nodes would have the same",
                name.value
            ),
            "leave it out, or write each node by itself",
        );
    }
    let mut counted = |text: &Located<String>, must| counted_on(text, &range, must, problems);
    let addresses: Vec<_> = entry.address.iter().map(|it| counted(it, false)).collect();
    let hosts = entry.ssh.host.as_ref().map(|it| counted(it, true));
    let nth = |all: &Vec<Located<String>>, index: usize| all.get(index).cloned();
    (range.first..=range.last)
        .enumerate()
        .map(|(index, number)| {
            let mut node = NodeEntry { pod_cidr: Vec::new(), ..entry.clone() };
            node.name = Some(Located::new(range.at(number), name.at));
            node.address = addresses.iter().filter_map(|all| nth(all, index)).collect();
            node.ssh.host = hosts.as_ref().and_then(|all| nth(all, index));
            node.range = Some(name.value.clone());
            node
        })
        .collect()
}

/// Returns an address for each node of a range: what is an address counts on, a range is as long,
/// and anything else stays, or is refused if it `must` differ.
fn counted_on(
    text: &Located<String>,
    range: &Range,
    must: bool,
    problems: &mut Problems,
) -> Vec<Located<String>> {
    let count = range.count();
    let located = |text: String, at| Located::new(text, at);
    if let Ok(first) = text.value.parse::<IpAddr>() {
        let all = (0..count).map(|n| count_on(first, n).map(|it| located(it.to_string(), text.at)));
        let Some(all) = all.collect() else {
            let what = format!("{count} addresses from {first} on: there are not as many");
            problems.error(text.at, what, "begin with a smaller address");
            return Vec::new();
        };
        return all;
    }
    match Range::of(&text.value) {
        Some(Ok(own)) if own.count() == count => {
            (own.first..=own.last).map(|number| located(own.at(number), text.at)).collect()
        }
        Some(Ok(own)) => {
            let what = format!(
                "`{}` is {} addresses, and the name {count} nodes",
                text.value,
                own.count()
            );
            problems.error(text.at, what, "give both ranges the same length");
            Vec::new()
        }
        Some(Err((what, help))) => {
            problems.error(text.at, what, help);
            Vec::new()
        }
        None if must => {
            let what =
                format!("all {count} nodes of the range would be reached at `{}`", text.value);
            let help = "write a range, such as `lab-[0-4].example.org`, or the first address";
            problems.error(text.at, what, help);
            Vec::new()
        }
        // It is reported as no address.
        None => vec![text.clone(); count as usize],
    }
}

/// Returns the names that a range stands for; `None` if `text` is not a range.
pub fn names_in(text: &str) -> Option<Vec<String>> {
    let range = Range::of(text)?.ok()?;
    Some((range.first..=range.last).map(|number| range.at(number)).collect())
}

/// Returns the address that is `n` after `first`; `None` if there is none.
pub fn count_on(first: IpAddr, n: u32) -> Option<IpAddr> {
    match first {
        IpAddr::V4(first) => u32::from(first).checked_add(n).map(|it| Ipv4Addr::from(it).into()),
        IpAddr::V6(first) => {
            u128::from(first).checked_add(n.into()).map(|it| Ipv6Addr::from(it).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let range = Range::of(text).expect("a bracket").map_err(|(what, _)| what)?;
        Ok((range.first..=range.last).map(|number| range.at(number)).collect())
    }

    #[test]
    fn a_range_is_every_number_in_it() {
        assert_eq!(names("w-[0-2]"), Ok(vec!["w-0".into(), "w-1".into(), "w-2".into()]));
        assert_eq!(names("[08-10].x"), Ok(vec!["08.x".into(), "09.x".into(), "10.x".into()]));
        assert_eq!(names("w-[7-7]"), Ok(vec!["w-7".into()]));
        assert_eq!(Range::of("worker-0"), None);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let malformed =
            ["w-[]", "w-[1]", "w-[a-b]", "w-[1-2", "w-1-2]", "w-[1-2]-[3-4]", "w-[-1-2]", "]1-2["];
        for text in malformed {
            assert_eq!(names(text), Err(format!("`{text}` is not a range")), "{text}");
        }
        assert_eq!(names("w-[4-0]"), Err("the range `w-[4-0]` counts down".to_owned()));
        let much = "w-[0-4294967295]";
        assert_eq!(names(much), Err(format!("the range `{much}` has more than 4096 nodes")));
    }
}
