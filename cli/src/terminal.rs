//! What people see: every text that may stem from a log comes through here before it is shown, but for JSON, which
//! [`cloudvigil_core::finding::write_json`] writes.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use cloudvigil_core::finding::Level;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, LineStyle, Table};
use indicatif::{ProgressBar, ProgressStyle};

/// How wide tables are where nobody looks at a terminal.
const WIDTH: u16 = 140;
/// Narrower than this, a table of many columns puts some of them into one.
const ROOMY: u16 = 110;
/// Narrower than this a table cannot be read: its lines are broken by the terminal instead.
const NARROWEST: u16 = 76;
/// The longest text on one line, in characters.
const LONGEST: usize = 4096;

/// A text as one line that is safe to show: control characters, and characters that are not seen or that turn the
/// reading around, are written out.
pub fn line(text: &str) -> String {
    cloudvigil_notify::visible::line(text, LONGEST)
}

/// [`line()`], cut to `limit` characters.
pub fn short(text: &str, limit: usize) -> String {
    let shown = line(text);
    match shown.char_indices().nth(limit) {
        None => shown,
        Some(_) => shown.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// An error and what it comes from. Some errors tell their cause themselves: no cause is told twice.
pub fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.ends_with(&cause) {
        true => told,
        false if told.is_empty() => cause,
        false => format!("{told}: {cause}"),
    })
}

/// One line for an error, on the standard error.
pub fn error(text: &str) {
    say("error", Color::Red, text);
}

/// One line for something that is not as it should be, and that does not stop anything.
pub fn warning(text: &str) {
    say("warning", Color::Yellow, text);
}

fn say(kind: &str, color: Color, text: &str) {
    let code = if color == Color::Red { 31 } else { 33 };
    // `anstream` leaves the colour out where nobody would see it. Nobody can be told that this cannot be told.
    let _ = writeln!(anstream::stderr(), "\u{1b}[1;{code}m{kind}:\u{1b}[0m {}", line(text));
}

/// The one line that always goes to the standard error.
pub fn summary(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A bar of so many things, such as `sources`, on the standard error, if it is a terminal.
pub fn progress(total: usize, things: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    let template = format!("{{spinner}} {{wide_bar}} {{pos}}/{{len}} {things} {{elapsed}}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Whether colours are wanted on the standard output: a terminal, and no `NO_COLOR`.
fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// How wide a table is, in characters.
fn width(shown: bool) -> u16 {
    // Some terminals do not know how wide they are.
    let known = if shown && std::io::stdout().is_terminal() { Table::new().width().unwrap_or_default() } else { 0 };
    if known == 0 { WIDTH } else { known.max(NARROWEST) }
}

/// Whether there is little room for columns. `shown`: on the standard output, not in a file.
pub fn is_narrow(shown: bool) -> bool {
    width(shown) < ROOMY
}

/// A table as wide as the terminal. Its cells must be safe to show.
pub struct Sheet {
    table: Table,
    colours: bool,
}

impl Sheet {
    /// A table with these headings. `shown`: it goes to the standard output, not to a file.
    pub fn new(headings: &[&str], shown: bool) -> Self {
        let mut table = Table::new();
        table
            .load_style(NOTHING.header_separator(LineStyle::none().fill('─').junction('─')))
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(headings.iter().map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
        table.set_width(width(shown));
        let colours = shown && colours();
        if colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        Self { table, colours }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.table.add_row(cells);
    }

    /// Keeps a column from being broken: it is as wide as its content.
    pub fn whole(&mut self, columns: &[usize]) {
        for column in columns {
            if let Some(column) = self.table.column_mut(*column) {
                column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
            }
        }
    }
}

impl std::fmt::Display for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.colours {
            return writeln!(f, "{}", self.table);
        }
        // Without styles nothing needs the padding at a line's end.
        for line in self.table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A level in its colour.
pub fn level(level: Level) -> Cell {
    let cell = Cell::new(level.as_str());
    match level {
        Level::Critical => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        Level::High => cell.fg(Color::Red),
        Level::Medium => cell.fg(Color::Yellow),
        Level::Low => cell.fg(Color::Cyan),
        Level::Informational => cell,
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_core::ports::{Failure, PortError};

    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        let hostile = "a\u{1b}]0;title\u{7}\u{9b}31m\u{202e}b\r\nc\u{7f}";
        let shown = line(hostile);
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
    }

    #[test]
    fn a_cause_is_told_once() {
        let port = PortError::new(Failure::Permanent, "open state file a", "it is none");
        assert_eq!(
            causes(&anyhow::Error::new(port).context("cannot begin")),
            "cannot begin: open state file a: it is none"
        );
        assert_eq!(causes(&anyhow::anyhow!("b").context("a")), "a: b");
    }

    #[test]
    fn short_text_says_that_it_was_cut() {
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde…");
    }
}
