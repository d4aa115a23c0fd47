//! Findings and matches as text.

pub mod csv;
pub mod json;
pub mod table;

use anyhow::Result;
use cloudvigil_core::detect::Catalogue;

use crate::arguments::FindingsOutput;
use crate::destination::Destination;
use crate::findings::Findings;

/// Writes findings, by as many as `jobs` threads. `complete`: everything could be read. `false`: nobody reads any more.
pub fn findings(
    kind: FindingsOutput,
    findings: &Findings<'_>,
    complete: bool,
    catalogue: &Catalogue,
    jobs: usize,
    to: &mut Destination,
) -> Result<bool> {
    let shown = to.is_shown();
    let written = match kind {
        FindingsOutput::Table => to.write(|writer| table::findings(findings, complete, shown, writer))?,
        FindingsOutput::Json => to.write(|writer| json::findings(findings, jobs, writer))?,
        FindingsOutput::Ocsf => to.write(|writer| json::ocsf(findings, catalogue, writer))?,
        FindingsOutput::Csv => to.write(|writer| csv::findings(findings, writer))?,
    };
    Ok(written && to.flush()?)
}
