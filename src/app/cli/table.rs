//! Aligned columns, CSV, and text that cannot steer a terminal.

use std::fmt::Write as _;

/// Rows under a header.
#[derive(Debug)]
pub(super) struct Table {
    header: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) const fn new(header: &'static [&'static str]) -> Self {
        Self { header, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Aligned columns, two spaces apart.
    pub(super) fn text(&self) -> String {
        let header: Vec<String> = self.header.iter().map(|cell| cell.to_uppercase()).collect();
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = String::new();
        for row in std::iter::once(&header).chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.pop();
        text
    }

    /// RFC 4180. A cell that a spreadsheet would take for a formula is led by an apostrophe.
    pub(super) fn csv(&self) -> String {
        let mut text = self.header.join(",");
        for row in &self.rows {
            text.push_str("\r\n");
            let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
            text.push_str(&cells.join(","));
        }
        text.push('\r');
        text
    }
}

fn csv_cell(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']);
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// Control characters and everything that reorders text come out as escapes.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        let steers =
            c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_cannot_steer() {
        let mut table = Table::new(&["a", "long name"]);
        table.row(vec!["x\u{1b}[31m".into(), "1".into()]);
        assert_eq!(table.text(), "A            LONG NAME\nx\\u{1b}[31m  1");
    }

    #[test]
    fn csv_quotes_and_disarms_formulas() {
        let mut table = Table::new(&["a", "b"]);
        table.row(vec!["=1+1".into(), "x,\"y\"".into()]);
        assert_eq!(table.csv(), "a,b\r\n'=1+1,\"x,\"\"y\"\"\"\r");
    }
}
