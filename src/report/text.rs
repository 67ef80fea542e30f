//! Formats durations, sizes, counts and foreign text the same way in every display.

use std::time::{Duration, SystemTime};

/// Formats a duration: `40ms`, `4.2s`, `1m 12s`, `2h 05m`.
pub(super) fn took(duration: Duration) -> String {
    let millis = duration.as_millis();
    // Rounded before the unit is chosen, so that 59.96 s becomes a minute, not "60.0s".
    let tenths = (millis + 50) / 100;
    let seconds = (millis + 500) / 1000;
    if millis < 100 {
        format!("{millis}ms")
    } else if tenths < 600 {
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else if seconds < 3600 {
        format!("{}m {:02}s", seconds / 60, seconds % 60)
    } else {
        format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60)
    }
}

/// Formats a duration that is still growing, in whole seconds, because fast-changing digits are
/// distracting.
pub(super) fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { took(Duration::from_secs(seconds)) }
}

/// Returns the time between two moments; zero if the clock went backwards.
pub(super) fn between(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

/// Formats a number of bytes: `310 MB`.
pub(super) fn bytes(count: u64) -> String {
    let (value, unit) = scaled(count, count);
    format!("{value} {unit}")
}

/// Formats progress in bytes, in the unit of the whole: `120/310 MB`.
pub(super) fn bytes_of(done: u64, total: u64) -> String {
    let (all, unit) = scaled(total, total);
    let (part, _) = scaled(done, total);
    format!("{part}/{all} {unit}")
}

/// Formats `count` in the unit that suits `like`.
fn scaled(count: u64, like: u64) -> (String, &'static str) {
    const STEPS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match STEPS.iter().find(|(size, _)| like >= *size) {
        Some((1_000_000_000, unit)) => {
            let tenths = count / 100_000_000;
            (format!("{}.{}", tenths / 10, tenths % 10), unit)
        }
        Some((size, unit)) => ((count / size).to_string(), unit),
        None => (count.to_string(), "B"),
    }
}

/// Formats a count with its noun: `1 node`, `6 nodes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Makes text from a node safe for one line of a terminal: no escape sequences, no control
/// characters.
pub(super) fn clean(text: &str) -> String {
    console::strip_ansi_codes(text)
        .trim_end()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Truncates to `width` columns, with an ellipsis if something was cut.
pub(super) fn fit(line: &str, width: usize) -> String {
    console::truncate_str(line, width, "…").into_owned()
}

/// Breaks a line that is wider than `width` columns between words, but not within backticks: what
/// is to be typed can be copied. The rest is indented a little more than the line itself.
pub(super) fn wrapped(line: &str, width: usize) -> String {
    const TIED: &str = "\u{a0}";
    if console::measure_text_width(line) <= width {
        return line.to_owned();
    }
    let tie = |(index, part): (usize, &str)| match index % 2 {
        0 => part.to_owned(),
        _ => part.replace(' ', TIED),
    };
    let text: Vec<String> = line.split('`').enumerate().map(tie).collect();
    let indent = " ".repeat(line.len() - line.trim_start().len() + 2);
    let options = textwrap::Options::new(width)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .subsequent_indent(&indent)
        .break_words(false);
    textwrap::fill(&text.join("`"), options).replace(TIED, " ")
}

/// Pads with blanks to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(console::measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Pads with blanks on the left, for numbers.
pub(super) fn pad_left(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(console::measure_text_width(text));
    format!("{}{text}", " ".repeat(missing))
}

/// Returns the width of the widest of `texts`, in columns.
pub(super) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(console::measure_text_width).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        let written: Vec<String> =
            [0, 40, 99, 100, 4_249, 59_949, 59_950, 72_400, 3_599_499, 7_500_000]
                .map(Duration::from_millis)
                .map(took)
                .into();
        assert_eq!(
            written,
            [
                "0ms", "40ms", "99ms", "0.1s", "4.2s", "59.9s", "1m 00s", "1m 12s", "59m 59s",
                "2h 05m"
            ]
        );
        assert_eq!(elapsed(Duration::from_millis(14_900)), "14s");
    }

    #[test]
    fn bytes_keep_the_unit_of_the_whole() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(310_400_000), "310 MB");
        assert_eq!(bytes_of(120_000_000, 310_400_000), "120/310 MB");
        assert_eq!(bytes_of(120_000_000, 1_250_000_000), "0.1/1.2 GB");
    }

    #[test]
    fn foreign_text_cannot_control_the_terminal() {
        assert_eq!(clean("\u{1b}[2J\u{1b}[31mred\u{1b}[0m\ttab\r\n"), "red tab");
        assert_eq!(clean("bell\u{7}"), "bell ");
    }

    #[test]
    fn a_long_line_breaks_between_words_and_not_in_what_is_to_be_typed() {
        let line = "  help: the lab has no CA yet; `labctl up lab.yaml` makes one";
        assert_eq!(wrapped(line, 80), line);
        assert_eq!(
            wrapped(line, 40),
            "  help: the lab has no CA yet;\n    `labctl up lab.yaml` makes one"
        );
        assert_eq!(wrapped(&"/a/path".repeat(9), 40), "/a/path".repeat(9));
        let painted = console::Style::new().red().force_styling(true).apply_to("error:");
        let line = format!("{painted} no");
        assert_eq!(wrapped(&line, 9), line, "colours take no room");
    }

    #[test]
    fn a_truncated_line_ends_with_an_ellipsis() {
        assert_eq!(fit("kubernetes", 6), "kuber…");
        assert_eq!(fit("etcd", 6), "etcd");
    }
}
