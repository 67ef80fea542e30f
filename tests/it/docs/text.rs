//! What the pages are read with: commands, code, links and headings in Markdown.

use super::*;

/// What is typed for `program` in a page: lines of code blocks, and code in the text, that begin
/// with it.
pub(super) fn command_lines(text: &str, program: &str) -> Vec<String> {
    let begins = format!("{program} ");
    let mut found: Vec<String> =
        inline_code(text).into_iter().filter(|quoted| quoted.starts_with(&begins)).collect();
    let mut open = false;
    for line in text.lines() {
        if line.starts_with("```") {
            open = !open;
        } else if open || line.starts_with("    ") {
            let typed = line.trim_start().trim_start_matches("$ ");
            if typed.starts_with(&begins) {
                let end = typed.find([';', '#', '&', '|']).unwrap_or(typed.len());
                found.push(typed[..end].trim().to_owned());
            }
        }
    }
    found
}

/// Code in the text, outside of blocks.
pub(super) fn inline_code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.starts_with("```") {
            open = !open;
        } else if !open && !line.starts_with("    ") {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The contents of fenced blocks of one language.
pub(super) fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|after| after.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// Targets of relative links.
pub(super) fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1).filter_map(|after| after.split(')').next());
    after.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// A heading as a link names it.
pub(super) fn heading(line: &str) -> Option<String> {
    let text = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}

/// A playbook around a list of tasks; a whole one as it is.
pub(super) fn as_playbook(block: &str) -> String {
    match block.strip_prefix("tasks:\n") {
        Some(tasks) => {
            let tasks: String = tasks.lines().map(|line| format!("  {line}\n")).collect();
            format!("name: x\nplays:\n- name: x\n  on: all\n  tasks:\n{tasks}")
        }
        None => block.to_owned(),
    }
}

pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = row(&head.map(str::to_owned));
    let _ = writeln!(text, "|{}", "---|".repeat(N));
    for cells in rows {
        text.push_str(&row(&cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "))));
    }
    text
}

pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// README, changelog and every page below `docs/`, with their text.
pub(super) fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = files_below(&root().join("docs"));
    pages.retain(|path| path.extension().is_some_and(|it| it == "md"));
    pages.extend([root().join("README.md"), root().join("CHANGELOG.md")]);
    pages
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("a page can be read")))
        .collect()
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
