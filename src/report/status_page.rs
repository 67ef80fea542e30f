//! How a lab is, as one self-contained HTML file.

use super::page::escape;
use super::status::{COLUMNS, cells, whole};
use super::text::{clean, count};
use crate::status::{Finding, LabStatus, NodeStatus};

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --faint: #8a93a3; --line: \
    #e4e7ec; --good: #2f9e5b; --bad: #d6455d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --paper: #14181f; --faint: #8a93a3; \
    --line: #2a313c; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: \
    2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.2rem; } .good { color: var(--good); } .bad { color: var(--bad); }
p, th, dt { color: var(--faint); font-weight: normal; } li { margin: .8rem 0; }
code { background: var(--line); border-radius: 3px; padding: .1rem .3rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem 1rem .2rem 0; \
    border-bottom: 1px solid var(--line); }
dl { display: grid; grid-template-columns: 4rem auto; } dd { margin: 0; }";

/// The whole page.
pub(super) fn page(status: &LabStatus) -> String {
    let (class, verdict) = match status.findings.len() {
        0 => ("good", "well".to_owned()),
        number => ("bad", format!("{} wrong", count(number, "thing"))),
    };
    let lab = escape(&status.lab);
    let findings: String = status.findings.iter().map(item).collect();
    let list = if findings.is_empty() { findings } else { format!("<ol>\n{findings}</ol>\n") };
    let head: String = COLUMNS.iter().map(|column| format!("<th>{column}</th>")).collect();
    let rows: String = status.nodes.iter().map(row).collect();
    let facts: String = whole(status)
        .iter()
        .map(|(label, text)| format!("<dt>{label}</dt><dd>{}</dd>\n", escape(text)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <title>{lab}: {verdict}</title>\n<style>\n{STYLE}\n</style>\n\
         <h1>{lab}: <span class=\"{class}\">{verdict}</span></h1>\n\
         <p>Kubernetes {}, {}</p>\n{list}\
         <table>\n<tr>{head}</tr>\n{rows}</table>\n<dl>\n{facts}</dl>\n</html>\n",
        escape(&status.kubernetes),
        escape(&status.api_url),
    )
}

fn item(finding: &Finding) -> String {
    let node = finding.node.as_deref().map(|node| format!("{node}: ")).unwrap_or_default();
    let hint = finding.hint.as_deref().map(clean).unwrap_or_default();
    format!(
        "<li>{}{}<br><code>{}</code><br><small>{}</small></li>\n",
        escape(&node),
        escape(&clean(&finding.what)),
        escape(&clean(&finding.mend)),
        escape(&hint),
    )
}

fn row(node: &NodeStatus) -> String {
    let class = if node.reached && node.findings == 0 { "good" } else { "bad" };
    let mut cells = cells(node).into_iter();
    let name = escape(&cells.next().unwrap_or_default());
    let rest: String = cells.map(|cell| format!("<td>{}</td>", escape(&cell))).collect();
    format!("<tr><td class=\"{class}\">{name}</td>{rest}</tr>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::status::tests::ill;

    #[test]
    fn the_page_has_the_same_and_nothing_from_elsewhere() {
        let page = page(&ill());
        assert!(page.contains("web-5d9c7b-&lt;x&gt;"), "what nodes say is text:\n{page}");
        for word in ["<script", "http-equiv", "src=", "href=", "@import"] {
            assert!(!page.contains(word), "{word} in:\n{page}");
        }
        insta::assert_snapshot!("status_page", page);
    }
}
