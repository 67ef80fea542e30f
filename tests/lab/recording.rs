//! A recording of `labctl up` in a real terminal: what a person sees. With `RECORDING_WRITE=1`, as
//! `make recording` sets it, it goes into `docs/up.svg`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::goes_without_a_trace;
use crate::lab::Lab;

const COLUMNS: u16 = 100;
const ROWS: u16 = 40;
/// Seconds between two pictures, and how long the last one stays.
const STEP: f64 = 0.25;
const END: f64 = 4.0;
/// Pixels of a character.
const WIDTH: f64 = 8.43;
const HEIGHT: f64 = 18.0;

/// One picture of the terminal, from a moment on.
struct Picture {
    at: f64,
    screen: vt100::Screen,
}

/// Runs `labctl up` in a terminal of this size, and returns what it showed.
fn recorded(lab: &Lab) -> Vec<Picture> {
    let [typed, timing] = ["typed", "timing"].map(|name| lab.directory().join(name));
    fs::create_dir_all(lab.directory()).expect("a directory");
    let command = format!("stty cols {COLUMNS} rows {ROWS}; {} up", env!("CARGO_BIN_EXE_labctl"));
    // The program that every Linux has for this: it makes a terminal and notes what comes when.
    let status = std::process::Command::new("script")
        .args(["--quiet", "--return", "--flush", "--log-out"])
        .arg(&typed)
        .arg("--log-timing")
        .arg(&timing)
        .args(["--logging-format", "classic", "--command", &command])
        .current_dir(lab.folder())
        .envs([("TERM", "xterm-256color"), ("SHELL", "/bin/sh")])
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("script starts");
    assert!(status.success(), "{}", fs::read_to_string(&typed).unwrap_or_default());
    let bytes = fs::read(&typed).expect("what was shown");
    let timing_of = fs::read_to_string(&timing).expect("when");
    for file in [typed, timing] {
        fs::remove_file(file).expect("a file of ours");
    }
    // The first line is script's own.
    let begin = bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let mut parser = vt100::Parser::new(ROWS, COLUMNS, 0);
    let (mut at, mut offset, mut pictures) = (0.0, begin, Vec::<Picture>::new());
    for line in timing_of.lines() {
        let (delay, length) = line.split_once(' ').expect("a delay and a length");
        let delay: f64 = delay.parse().expect("seconds");
        let length: usize = length.parse().expect("bytes");
        let due = pictures.last().is_none_or(|last| at + delay >= last.at + STEP);
        if due && offset > begin {
            pictures.push(Picture { at, screen: parser.screen().clone() });
        }
        at += delay;
        parser.process(&bytes[offset..(offset + length).min(bytes.len())]);
        offset += length;
    }
    pictures.push(Picture { at, screen: parser.screen().clone() });
    pictures
}

/// The name of a colour's class; none for the terminal's own.
fn class(cell: &vt100::Cell) -> String {
    let mut classes = Vec::new();
    if let vt100::Color::Idx(index) = cell.fgcolor() {
        classes.push(format!("c{}", index % 8));
    }
    if cell.bold() {
        classes.push("b".to_owned());
    }
    if cell.dim() {
        classes.push("d".to_owned());
    }
    classes.join(" ")
}

/// A row as SVG: runs of characters of one look.
fn row(screen: &vt100::Screen, row: u16) -> String {
    let mut runs: Vec<(String, String)> = Vec::new();
    for column in 0..COLUMNS {
        let Some(cell) = screen.cell(row, column) else { continue };
        let text = if cell.has_contents() { cell.contents() } else { " " };
        match runs.last_mut() {
            Some((look, run)) if *look == class(cell) => run.push_str(text),
            _ => runs.push((class(cell), text.to_owned())),
        }
    }
    while let Some((_, run)) = runs.last_mut() {
        run.truncate(run.trim_end().len());
        if !run.is_empty() {
            break;
        }
        runs.pop();
    }
    // Spaces that no viewer takes together.
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace(' ', "\u{a0}");
    let run = |(look, text): &(String, String)| match look.as_str() {
        "" => escaped(text),
        look => format!("<tspan class=\"{look}\">{}</tspan>", escaped(text)),
    };
    runs.iter().map(run).collect()
}

/// The recording as a film: all pictures below one another, moved past a window.
fn film(pictures: &[Picture]) -> String {
    let rows_of = |picture: &Picture| (0..ROWS).map(|it| row(&picture.screen, it)).collect();
    let all: Vec<Vec<String>> = pictures.iter().map(rows_of).collect();
    let used = all.iter().filter_map(|rows| rows.iter().rposition(|it| !it.is_empty())).max();
    let used = used.map_or(1, |last| last + 1);
    let (width, height) = (f64::from(COLUMNS) * WIDTH + 32.0, used as f64 * HEIGHT + 24.0);
    let total = pictures.last().map_or(0.0, |last| last.at) + END;
    let mut frames = String::new();
    for (index, picture) in pictures.iter().enumerate() {
        let (percent, up) = (picture.at / total * 100.0, index as f64 * height);
        let _ = write!(frames, "{percent:.2}%{{transform:translateY(-{up}px)}}");
    }
    let mut reel = String::new();
    for (index, rows) in all.iter().enumerate() {
        for (line, text) in rows.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            let y = index as f64 * height + 24.0 + line as f64 * HEIGHT;
            let _ = writeln!(reel, "<text x=\"16\" y=\"{y}\">{text}</text>");
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">\n<style>\n\
         text{{font:14px ui-monospace,Menlo,Consolas,monospace;fill:#d1d9e0}}\n\
         .c1{{fill:#ff7b72}}.c2{{fill:#3fb950}}.c3{{fill:#d29922}}.c4{{fill:#58a6ff}}\
         .c5{{fill:#bc8cff}}.c6{{fill:#39c5cf}}.b{{font-weight:bold}}.d{{fill:#848d97}}\n\
         .reel{{animation:film {total:.1}s step-end infinite}}\n@keyframes film{{{frames}}}\n\
         </style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <g class=\"reel\">\n{reel}</g>\n</svg>\n"
    )
}

#[test]
fn up_is_recorded_in_a_terminal() {
    let lab = Lab::new("sandbox");
    let pictures = recorded(&lab);
    assert!(pictures.len() > 10, "{} pictures", pictures.len());
    let last = pictures.last().expect("a picture").screen.contents();
    for node in lab.nodes() {
        assert!(last.contains(&node), "{node} in the end:\n{last}");
        let during = |it: &Picture| it.screen.contents().contains(&node);
        assert!(pictures[..pictures.len() / 2].iter().any(during), "{node} has a line of its own");
    }
    assert!(last.contains("labctl smoke"), "what to do next:\n{last}");
    let film = film(&pictures);
    if std::env::var_os("RECORDING_WRITE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/up.svg");
        fs::write(path, film).expect("the recording");
    }
    goes_without_a_trace(&lab);
}
