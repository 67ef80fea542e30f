//! How a lab is, on the whole terminal, for as long as somebody watches.

use std::io;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::status::{Tone, Toned, toned};
use crate::status::LabStatus;

/// The whole terminal; it is given back when this is dropped.
pub struct Watch {
    terminal: DefaultTerminal,
    scrolled: u16,
    shown: Option<LabStatus>,
    footer: String,
}

/// What somebody wants who has pressed a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPress {
    /// To stop watching.
    Stop,
    /// A look now.
    Look,
    /// Nothing.
    Nothing,
}

impl Watch {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be switched to the whole screen.
    pub(super) fn begin() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal, scrolled: 0, shown: None, footer: String::new() })
    }

    /// Shows a status; `footer` says when that was.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn show(&mut self, status: LabStatus, footer: String) -> io::Result<()> {
        self.shown = Some(status);
        self.footer = footer;
        self.draw()
    }

    /// Waits for a key for as long as `patience`; scrolls by itself.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn wait(&mut self, patience: Duration) -> io::Result<KeyPress> {
        if !event::poll(patience)? {
            return Ok(KeyPress::Nothing);
        }
        let wish = match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Release => KeyPress::Nothing,
            Event::Key(key) => self.pressed(key.code, key.modifiers),
            _ => KeyPress::Nothing,
        };
        self.draw()?;
        Ok(wish)
    }

    fn pressed(&mut self, key: KeyCode, with: KeyModifiers) -> KeyPress {
        let by = match key {
            KeyCode::Char('c') if with.contains(KeyModifiers::CONTROL) => return KeyPress::Stop,
            KeyCode::Char('q') | KeyCode::Esc => return KeyPress::Stop,
            KeyCode::Char('r') | KeyCode::Enter => return KeyPress::Look,
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::PageUp => -10,
            KeyCode::PageDown => 10,
            _ => 0,
        };
        self.scrolled = self.scrolled.saturating_add_signed(by);
        KeyPress::Nothing
    }

    fn draw(&mut self) -> io::Result<()> {
        let Self { terminal, scrolled, shown, footer } = self;
        terminal.draw(|frame| draw(frame, shown.as_ref(), footer, scrolled))?;
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws a status on a whole frame. One that is longer scrolls, and not past its end.
fn draw(frame: &mut Frame<'_>, status: Option<&LabStatus>, footer: &str, scrolled: &mut u16) {
    let rows = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]);
    let [body, foot] = rows.areas(frame.area());
    let lines: Vec<Line<'_>> = match status {
        Some(status) => toned(status, body.width.into()).into_iter().map(line).collect(),
        None => vec![Line::from("asking the nodes")],
    };
    let length = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    *scrolled = (*scrolled).min(length.saturating_sub(body.height));
    frame.render_widget(Paragraph::new(lines).scroll((*scrolled, 0)), body);
    let keys = "q quit  r look now  \u{2191}\u{2193} scroll";
    frame.render_widget(Line::from(format!("{keys}  {footer}")).dim(), foot);
}

fn line(parts: Toned) -> Line<'static> {
    parts.into_iter().map(|(tone, text)| Span::styled(text, style(tone))).collect()
}

fn style(tone: Tone) -> Style {
    let style = Style::new();
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return style;
    }
    match tone {
        Tone::Plain => style,
        Tone::Good => style.fg(Color::Green),
        Tone::Bad => style.fg(Color::Red).bold(),
        Tone::Warn => style.fg(Color::Yellow).bold(),
        Tone::Active => style.fg(Color::Cyan),
        Tone::Strong => style.bold(),
        Tone::Faint => style.dim(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::report::status::tests::{ill, well};

    fn drawn(status: Option<&LabStatus>, width: u16, height: u16, scrolled: &mut u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let footer = "12:00:05, every 2 s";
        terminal.draw(|frame| draw(frame, status, footer, scrolled)).expect("it is drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn the_whole_terminal_shows_a_status() {
        for width in [120, 80] {
            let well = drawn(Some(&well()), width, 16, &mut 0);
            insta::assert_snapshot!(format!("watch_well_{width}"), well);
            let ill = drawn(Some(&ill()), width, 24, &mut 0);
            insta::assert_snapshot!(format!("watch_ill_{width}"), ill);
        }
        let first = drawn(None, 80, 3, &mut 0);
        assert!(first.contains("asking the nodes") && first.contains("q quit"), "{first}");
    }

    #[test]
    fn a_long_status_scrolls_to_its_end_and_no_further() {
        let mut scrolled = 500;
        let end = drawn(Some(&ill()), 80, 6, &mut scrolled);
        assert!(end.contains("drift"), "{end}");
        assert!(scrolled > 0 && scrolled < 40, "{scrolled}");
        assert!(!drawn(Some(&ill()), 80, 6, &mut 0).contains("drift"));
    }
}
