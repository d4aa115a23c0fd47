//! `cloudvigil rules show`.

use std::io::{self, Write};

use anyhow::{Result, bail};
use cloudvigil_core::detect::{Catalogue, Rule};

use super::{group, log_source};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::terminal;

/// Shows all of a rule.
pub fn run(catalogue: &Catalogue, id: &str) -> Result<Ending> {
    let rule = find(catalogue, id)?;
    let mut to = Destination::open(None)?;
    to.write(|writer| show(catalogue, rule, writer))?;
    to.flush()?;
    Ok(Ending::Done)
}

fn find<'c>(catalogue: &'c Catalogue, id: &str) -> Result<&'c Rule> {
    if let Some(rule) = catalogue.by_id(id) {
        return Ok(rule);
    }
    let fitting: Vec<&Rule> =
        catalogue.rules().iter().filter(|rule| !id.is_empty() && rule.id.starts_with(id)).collect();
    match fitting[..] {
        [rule] => Ok(rule),
        [] => bail!("there is no rule {id}; `cloudvigil rules list` names all"),
        _ => bail!("{} rules have ids that begin with {id}; give more of it", fitting.len()),
    }
}

fn show(catalogue: &Catalogue, rule: &Rule, writer: &mut dyn Write) -> io::Result<()> {
    let guidance = rule.guidance();
    writeln!(writer, "{}\n{}\n", terminal::line(&rule.title), "=".repeat(rule.title.chars().count().min(100)))?;
    let leaves = rule.leaves.iter().map(|leaf| catalogue.rule(leaf.rule).title.as_str()).collect::<Vec<_>>().join(", ");
    for (name, value) in [
        ("Id", rule.id.as_str()),
        ("Level", rule.level.as_str()),
        ("Status", rule.status.as_deref().unwrap_or("none")),
        ("Log source", &log_source(catalogue, rule)),
        ("One finding for each", &group(rule)),
        ("Counts", &leaves),
        ("Tags", &guidance.tags.join(", ")),
        ("File", &rule.file),
    ] {
        if !value.is_empty() {
            writeln!(writer, "{:<22}{}", format!("{name}:"), terminal::line(value))?;
        }
    }
    paragraph(writer, "Description", &guidance.description)?;
    paragraph(writer, "Runbook", &guidance.runbook)?;
    list(writer, "False positives", &guidance.false_positives)?;
    list(writer, "References", &guidance.references)
}

fn paragraph(writer: &mut dyn Write, heading: &str, text: &str) -> io::Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    writeln!(writer, "\n{heading}\n{}", "-".repeat(heading.len()))?;
    text.trim().lines().try_for_each(|line| writeln!(writer, "{}", terminal::line(line)))
}

fn list(writer: &mut dyn Write, heading: &str, items: &[String]) -> io::Result<()> {
    let items: Vec<String> = items.iter().map(|item| format!("- {item}")).collect();
    paragraph(writer, heading, &items.join("\n"))
}
