//! Tables: columns without borders, so that eyes and other programs read them alike.

use super::Output;
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, presets};

/// Rows below a header.
#[derive(Debug)]
pub(crate) struct Rows(Table);

impl Rows {
    /// No row yet.
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        Self(table)
    }

    /// One more.
    pub(crate) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        // A line of its own for each would break the columns for programs.
        self.0.add_row(cells.into_iter().map(|cell| cell.replace('\n', " ")));
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The table's lines: as wide as the terminal, and as their contents elsewhere.
    pub(crate) fn lines(mut self, out: &Output) -> Vec<String> {
        match out.width() {
            Some(width) => {
                self.0.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
                // What people look for first is never wrapped.
                if let Some(first) = self.0.column_mut(0) {
                    first.set_constraint(ColumnConstraint::ContentWidth);
                }
            }
            None => _ = self.0.set_content_arrangement(ContentArrangement::Disabled),
        }
        if out.colored {
            self.0.enforce_styling();
        } else {
            self.0.force_no_tty();
        }
        // Without borders the first column needs no margin.
        if let Some(first) = self.0.column_mut(0) {
            first.set_padding((0, 1));
        }
        self.0.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;

    #[test]
    fn columns_stand_under_their_names() {
        let mut rows = Rows::new(&["TAG", "DOCKER IMAGE"]);
        rows.add(["0.0.5".to_owned(), "<not yet available>".to_owned()]);
        let out = Output { format: Format::Table, colored: false, terminal: false };
        assert_eq!(rows.lines(&out), ["TAG    DOCKER IMAGE", "0.0.5  <not yet available>"]);
    }
}
