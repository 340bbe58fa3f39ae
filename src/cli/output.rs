//! Writing results: text, tables and JSON.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use super::Failure;

/// Writes a line. Whoever reads may stop reading, as `head` does.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write the result").into())
        }
        _ => Ok(()),
    }
}

/// Writes a value as JSON, for programs and people.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).context("the result is not JSON")?)
}

/// Writes rows below their headings.
pub(super) fn rows<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    line(&table(headings, rows))
}

/// Columns as wide as their widest cell, two spaces apart, the last one as it is.
fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_uppercase);
    let lines = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 < N { width(column) } else { 0 });
    let lines = lines().map(|line| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_alphabet() {
        let rows = [["é".into(), "1".into(), "x".into()], ["long".into(), "22".into(), String::new()]];
        assert_eq!(table(["a", "b", "note"], &rows), "A     B   NOTE\né     1   x\nlong  22");
    }

    #[test]
    fn no_rows_leave_the_headings() {
        assert_eq!(table(["name", "enabled"], &[]), "NAME  ENABLED");
    }
}
