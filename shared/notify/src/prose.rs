//! A rule's own words (description, runbook), from the little Markdown that people write in YAML to blocks that the
//! templates show: headings, paragraphs, lists, indented or fenced code; `code` and **strong** within a line.
//! Everything else is text.

use crate::visible;

/// More of a runbook than this (in characters) is cut.
const LONGEST: usize = 12_000;

/// A piece of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Code,
    Strong,
}

impl Span {
    pub fn is_code(&self) -> bool {
        self.style == Style::Code
    }

    pub fn is_strong(&self) -> bool {
        self.style == Style::Strong
    }
}

/// One block of prose.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Heading(Vec<Span>),
    Paragraph(Vec<Span>),
    /// A numbered list begins with the number that its author gave it: lists broken by a blank line go on.
    List {
        start: Option<u32>,
        items: Vec<Vec<Span>>,
    },
    Code(String),
}

/// Takes prose apart. Never fails: what is not understood is a paragraph.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let text = visible::lines(text, LONGEST);
    let mut blocks = Vec::new();
    let mut open = Open::Nothing;
    for line in text.lines() {
        if let Open::Code(code) = &mut open {
            if line.trim_start().starts_with("```") {
                open.close(&mut blocks);
            } else {
                code.push_str(line);
                code.push('\n');
            }
            continue;
        }
        let trimmed = line.trim();
        if trimmed.is_empty() {
            open.close(&mut blocks);
        } else if trimmed.starts_with("```") {
            open.close(&mut blocks);
            open = Open::Code(String::new());
        } else if let Some(heading) = heading(trimmed) {
            open.close(&mut blocks);
            blocks.push(Block::Heading(spans(heading)));
        } else if let Some((number, item)) = list_item(trimmed) {
            if !matches!(&open, Open::List(start, _) if start.is_some() == number.is_some()) {
                open.close(&mut blocks);
                open = Open::List(number, Vec::new());
            }
            if let Open::List(_, items) = &mut open {
                items.push(item.to_owned());
            }
        } else {
            open.continue_with(trimmed, &mut blocks);
        }
    }
    open.close(&mut blocks);
    blocks
}

/// The block that is being read.
enum Open {
    Nothing,
    Paragraph(String),
    List(Option<u32>, Vec<String>),
    Code(String),
}

impl Open {
    fn continue_with(&mut self, line: &str, blocks: &mut Vec<Block>) {
        match self {
            Self::Paragraph(text) => {
                text.push(' ');
                text.push_str(line);
            }
            Self::List(_, items) => {
                if let Some(item) = items.last_mut() {
                    item.push(' ');
                    item.push_str(line);
                }
            }
            Self::Nothing | Self::Code(_) => {
                self.close(blocks);
                *self = Self::Paragraph(line.to_owned());
            }
        }
    }

    fn close(&mut self, blocks: &mut Vec<Block>) {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => {}
            Self::Paragraph(text) => blocks.push(Block::Paragraph(spans(&text))),
            Self::List(start, items) => {
                blocks.push(Block::List { start, items: items.iter().map(|item| spans(item)).collect() });
            }
            Self::Code(text) => blocks.push(Block::Code(text.trim_end().to_owned())),
        }
    }
}

fn heading(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix('#') {
        let rest = rest.trim_start_matches('#');
        return rest.starts_with(' ').then(|| rest.trim());
    }
    // A line that is strong as a whole is how people write headings in YAML.
    let inner = line.strip_prefix("**")?.strip_suffix("**")?;
    (!inner.is_empty() && !inner.contains("**")).then_some(inner)
}

/// The number of a numbered item, and its text.
fn list_item(line: &str) -> Option<(Option<u32>, &str)> {
    if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some((None, item.trim()));
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=2).contains(&digits) {
        return None;
    }
    let (number, rest) = line.split_at(digits);
    let item = rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") "))?;
    Some((number.parse().ok(), item.trim()))
}

/// One line's pieces. A mark without its partner is text.
pub(crate) fn spans(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let marked = [("`", Style::Code), ("**", Style::Strong)].into_iter().find_map(|(mark, style)| {
            let inner = rest.strip_prefix(mark)?;
            let end = inner.find(mark).filter(|end| *end > 0)?;
            Some((&inner[..end], &inner[end + mark.len()..], style))
        });
        if let Some((inner, after, style)) = marked {
            if !plain.is_empty() {
                spans.push(Span { text: std::mem::take(&mut plain), style: Style::Plain });
            }
            spans.push(Span { text: inner.to_owned(), style });
            rest = after;
        } else {
            let mut characters = rest.chars();
            plain.extend(characters.next());
            rest = characters.as_str();
        }
    }
    if !plain.is_empty() {
        spans.push(Span { text: plain, style: Style::Plain });
    }
    spans
}

/// Blocks as plain text, wrapped at 76 columns.
pub(crate) fn plain(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        if !text.is_empty() {
            text.push('\n');
        }
        match block {
            Block::Heading(spans) => {
                text.push_str(&joined(spans));
                text.push('\n');
            }
            Block::Paragraph(spans) => text.push_str(&wrapped(&joined(spans), "", "")),
            Block::List { start, items } => {
                for (at, item) in (start.unwrap_or(1)..).zip(items) {
                    let mark = if start.is_some() { format!("{at:>2}. ") } else { "  - ".to_owned() };
                    text.push_str(&wrapped(&joined(item), &mark, "    "));
                }
            }
            Block::Code(code) => {
                for line in code.lines() {
                    text.push_str("    ");
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    text
}

/// A line's pieces as text, without their marks.
pub(crate) fn joined(spans: &[Span]) -> String {
    spans.iter().map(|span| span.text.as_str()).collect()
}

/// Words in lines of at most 76 characters, longer words whole; ends with a line break.
pub(crate) fn wrapped(text: &str, first: &str, next: &str) -> String {
    const WIDTH: usize = 76;
    let mut lines = first.to_owned();
    let mut column = first.chars().count();
    let mut fresh = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !fresh && column + 1 + length > WIDTH {
            lines.push('\n');
            lines.push_str(next);
            column = next.chars().count();
            fresh = true;
        }
        if !fresh {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
        fresh = false;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runbook_becomes_headings_paragraphs_lists_and_code() {
        let text = "## What happened\nLogging was\nstopped.\n\n1. Ask **who**.\n2. Run `aws cloudtrail start-logging`\n   at once.\n\n```\naws sts\n```\n- last";
        let blocks = blocks(text);
        assert_eq!(blocks.len(), 5);
        assert_eq!(blocks[0], Block::Heading(spans("What happened")));
        assert_eq!(blocks[1], Block::Paragraph(spans("Logging was stopped.")));
        let Block::List { start: Some(1), items } = &blocks[2] else { panic!("{blocks:?}") };
        assert_eq!(items[0][1], Span { text: "who".to_owned(), style: Style::Strong });
        assert_eq!(items[1][1], Span { text: "aws cloudtrail start-logging".to_owned(), style: Style::Code });
        assert_eq!(joined(&items[1]), "Run aws cloudtrail start-logging at once.");
        assert_eq!(blocks[3], Block::Code("aws sts".to_owned()));
    }

    #[test]
    fn odd_marks_are_text() {
        for odd in ["`", "**", "****", "a ` b", "**a", "#x", "100. x", "``"] {
            let shown = plain(&blocks(odd));
            assert_eq!(shown.trim_end(), odd);
        }
    }

    #[test]
    fn plain_text_is_wrapped() {
        let text = plain(&blocks(&"word ".repeat(60)));
        assert!(text.lines().all(|line| line.len() <= 76));
        assert_eq!(text.split_whitespace().count(), 60);
    }
}
