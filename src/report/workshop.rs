//! What is reported of a workshop: how each cluster's run ended, and the cards of the attendees.

use std::io;
use std::time::Duration;

use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};
use serde_json::json;

use super::page::escape;
use super::text::{clean, count, took};
use super::{Reporter, say};

/// How the run of one cluster of a workshop ended.
#[derive(Debug)]
pub struct ClusterRun<'a> {
    /// The cluster's number.
    pub number: u16,
    /// Its lab.
    pub lab: &'a str,
    /// What was done with it.
    pub verb: &'a str,
    /// The exit code; none if it was killed or could not be started.
    pub exit: Option<i32>,
    /// How long that took.
    pub took: Duration,
    /// The URL of its API, if it has one now.
    pub api: Option<&'a str>,
    /// What it said of failures.
    pub why: &'a [String],
    /// The command that tries again.
    pub again: &'a str,
}

/// What has become of a slice of a workshop that another cluster works on.
#[derive(Debug)]
pub struct SliceChange<'a> {
    /// Its number, from 0.
    pub slice: usize,
    /// The first and the last of its clusters.
    pub clusters: (u16, u16),
    /// `waits`, `runs`, `lost` or `ended`.
    pub what: &'a str,
    /// Why, on which machine, or in which pod.
    pub detail: &'a str,
}

/// What one attendee has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The cluster's number.
    pub number: u16,
    /// Its lab.
    pub lab: String,
    /// The URL of its API.
    pub api: String,
    /// Each node, and the command that logs in there.
    pub nodes: Vec<(String, String)>,
    /// The command that asks the cluster for its nodes.
    pub kubectl: String,
}

impl Reporter {
    /// Reports what has become of a slice.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn slice(&self, change: &SliceChange<'_>) -> io::Result<()> {
        let SliceChange { slice, clusters: (first, last), what, detail } = change;
        if self.is_json() {
            let event = json!({
                "event": "slice", "slice": slice, "clusters": [first, last], "what": what,
                "detail": detail,
            });
            return self.print(&format!("{event}\n"));
        }
        let text = match *what {
            "runs" => format!("runs on {detail}"),
            "lost" => format!("was lost with {detail}; it begins again elsewhere"),
            "waits" => format!("waits: {detail}"),
            _ => format!("has ended, in {detail}"),
        };
        self.note(&format!("slice {slice}, clusters {first} to {last}: {}", clean(&text)));
        Ok(())
    }

    /// Reports how the run of one cluster ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn cluster(&self, run: &ClusterRun<'_>) -> io::Result<()> {
        let ClusterRun { number, lab, verb, .. } = run;
        if self.is_json() {
            let ended = json!({
                "event": "cluster_ended", "cluster": number, "lab": lab, "verb": verb,
                "exit": run.exit, "ms": run.took.as_millis(), "api": run.api, "why": run.why,
            });
            return self.print(&format!("{ended}\n"));
        }
        let time = took(run.took);
        if run.exit == Some(0) {
            let api = run.api.map(|api| format!("  {api}")).unwrap_or_default();
            return self.print(&format!("cluster {number:>3}  {lab}  {verb} in {time}{api}\n"));
        }
        let (bad, what) = match run.exit {
            Some(130) => (self.err.paint.warn("stopped:"), "was stopped".to_owned()),
            Some(code) => (self.err.paint.bad("error:"), format!("failed with exit code {code}")),
            None => (self.err.paint.bad("error:"), "ended without an exit code".to_owned()),
        };
        let mut lines = vec![format!("{bad} cluster {number}, {lab}: {verb} {what} after {time}")];
        lines.extend(run.why.iter().map(|why| self.detail(&clean(why))));
        lines.push(self.detail(&format!("help: {}", run.again)));
        say(&self.err, &lines);
        Ok(())
    }
}

/// Returns all cards as text.
pub fn text(cards: &[Card]) -> String {
    let rule = "-".repeat(72);
    let card = |card: &Card| {
        let lines: String = lines(card, usize::MAX)
            .iter()
            .map(|(name, what)| format!("{name:<12}{what}\n"))
            .collect();
        format!("{}\n\n{lines}{rule}\n", title(card))
    };
    format!("{rule}\n{}", cards.iter().map(card).collect::<String>())
}

fn title(card: &Card) -> String {
    format!("Cluster {}: {}", card.number, card.lab)
}

/// The lines of a card; nodes beyond `most` are only counted.
fn lines(card: &Card, most: usize) -> Vec<(String, String)> {
    let mut lines = vec![("API".to_owned(), card.api.clone())];
    lines.extend(card.nodes.iter().take(most).cloned());
    let more = card.nodes.len().saturating_sub(most);
    if more > 0 {
        lines.push((String::new(), format!("and {}: see cards.txt", count(more, "more node"))));
    }
    lines.push(("kubectl".to_owned(), card.kubectl.clone()));
    lines
}

const STYLE: &str = "\
body { font: 10pt/1.4 system-ui, sans-serif; margin: 1cm; display: grid; gap: 5mm; \
    grid-template-columns: repeat(auto-fill, minmax(85mm, 1fr)); }
section { border: 1px dashed #888; padding: 4mm; break-inside: avoid; }
h1 { font-size: 12pt; margin: 0 0 2mm; } dl { margin: 0; } dt { color: #666; }
dd { margin: 0 0 1mm; } code { font-size: 8.5pt; overflow-wrap: anywhere; }
@page { size: A4; margin: 0; }";

/// Returns all cards as a page to look at and to print.
pub fn page(cards: &[Card]) -> String {
    let line = |(name, what): &(String, String)| {
        format!("<dt>{}</dt><dd><code>{}</code></dd>\n", escape(name), escape(what))
    };
    let card = |card: &Card| {
        let lines: String = lines(card, usize::MAX).iter().map(line).collect();
        format!("<section>\n<h1>{}</h1>\n<dl>\n{lines}</dl>\n</section>\n", escape(&title(card)))
    };
    let cards: String = cards.iter().map(card).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Cards</title>\n\
         <style>\n{STYLE}\n</style>\n{cards}</html>\n"
    )
}

/// A sheet of A4 in points, and the cards on it.
const SHEET: (f32, f32) = (595.0, 842.0);
const ON_A_SHEET: usize = 8;
const CARD: (f32, f32) = (258.0, 185.0);
const MARGIN: f32 = 28.0;
const GAP: f32 = 23.0;
/// The sizes of the title and of all other text, and how many characters of the latter fit.
const TITLE: f32 = 12.0;
const SMALL: f32 = 7.5;
const FITS: usize = 53;
/// How many nodes a card of that size has room for.
const NODES: usize = 4;

/// Returns all cards as a PDF, to be printed and cut.
pub fn pdf(cards: &[Card]) -> Vec<u8> {
    let mut pdf = Pdf::new();
    let [catalog, tree, bold, fixed] = [1, 2, 3, 4].map(Ref::new);
    let mut next = 5;
    let mut reference = || {
        next += 1;
        Ref::new(next)
    };
    let sheets: Vec<_> =
        cards.chunks(ON_A_SHEET).map(|cards| (cards, reference(), reference())).collect();
    pdf.catalog(catalog).pages(tree);
    let count = i32::try_from(sheets.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(sheets.iter().map(|(_, page, _)| *page)).count(count);
    for (cards, page, content) in &sheets {
        let mut sheet = pdf.page(*page);
        sheet.media_box(Rect::new(0.0, 0.0, SHEET.0, SHEET.1)).parent(tree).contents(*content);
        sheet.resources().fonts().pair(Name(b"B"), bold).pair(Name(b"C"), fixed);
        sheet.finish();
        let mut drawn = Content::new();
        for (place, card) in (0_u8..).zip(*cards) {
            let (column, row) = (f32::from(place % 2), f32::from(place / 2));
            let left = MARGIN + column * (CARD.0 + GAP);
            let top = SHEET.1 - MARGIN - row * (CARD.1 + GAP / 2.0);
            draw(&mut drawn, card, left, top);
        }
        pdf.stream(*content, &drawn.finish());
    }
    // Every reader has these fonts, so none is embedded.
    pdf.type1_font(bold).base_font(Name(b"Helvetica-Bold"));
    pdf.type1_font(fixed).base_font(Name(b"Courier"));
    pdf.finish()
}

/// Draws a card, with its upper left corner there.
fn draw(on: &mut Content, card: &Card, left: f32, top: f32) {
    on.rect(left, top - CARD.1, CARD.0, CARD.1).set_dash_pattern([3.0], 0.0).stroke();
    let mut at = top - 20.0;
    let mut say = |font: &[u8], size: f32, text: &str| {
        on.begin_text().set_font(Name(font), size).next_line(left + 10.0, at);
        on.show(Str(text.as_bytes())).end_text();
        at -= size * 1.35;
    };
    say(b"B", TITLE, &title(card));
    for (name, what) in lines(card, NODES) {
        say(b"B", SMALL, &name);
        let letters: Vec<char> = what.chars().collect();
        for part in letters.chunks(FITS) {
            say(b"C", SMALL, &part.iter().collect::<String>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(number: u16, nodes: usize) -> Card {
        let node = |index| (format!("node-{index}"), format!("ssh root@172.30.{number}.{index}"));
        Card {
            number,
            lab: format!("class-{number}"),
            api: format!("https://172.30.{number}.10:6443"),
            nodes: (0..nodes).map(node).collect(),
            kubectl: format!("kubectl --kubeconfig class-{number}.conf get nodes"),
        }
    }

    #[test]
    fn a_card_has_the_address_each_login_and_the_kubeconfig() {
        let cards = [card(1, 1), card(2, 6)];
        for whole in [text(&cards), page(&cards)] {
            for part in
                ["Cluster 1: class-1", "172.30.2.10:6443", "ssh root@172.30.2.5", "class-2.conf"]
            {
                assert!(whole.contains(part), "{part}: {whole}");
            }
        }
        assert_eq!(lines(&cards[1], 4).len(), 7, "API, four nodes, how many more, kubectl");
    }

    #[test]
    fn eight_cards_are_on_a_sheet() {
        let cards: Vec<Card> = (1..=9).map(|number| card(number, 1)).collect();
        let pdf = pdf(&cards);
        let text = String::from_utf8_lossy(&pdf);
        assert!(text.starts_with("%PDF-") && text.trim_end().ends_with("%%EOF"), "{text}");
        assert!(text.contains("/Count 2"), "two sheets");
        assert_eq!(text.matches("(Cluster ").count(), 9);
    }
}
