//! Tables of text, with lines around columns and rows.
//!
//! Knows only characters: each is one column wide.

use std::fmt;
use std::ops::Range;

/// The characters of a table's lines.
pub(crate) struct Style {
    /// The line above the table: its left end, fill, crossing with
    /// a column's line, right end. The other lines are alike.
    pub(crate) top: [char; 4],
    /// The text left of, between and right of the cells of the header.
    pub(crate) header: [char; 3],
    /// The line below the header.
    pub(crate) below_header: [char; 4],
    /// The text left of, between and right of the cells of a row.
    pub(crate) row: [char; 3],
    /// The line between two rows, if there is one.
    pub(crate) between_rows: Option<[char; 4]>,
    /// The line below the table.
    pub(crate) bottom: [char; 4],
}

/// Keras' box: a heavy head on a light body.
pub(crate) const KERAS: Style = Style {
    top: ['┏', '━', '┳', '┓'],
    header: ['┃', '┃', '┃'],
    below_header: ['┡', '━', '╇', '┩'],
    row: ['│', '│', '│'],
    between_rows: Some(['├', '─', '┼', '┤']),
    bottom: ['└', '─', '┴', '┘'],
};

/// The box of the command line's tables.
pub(crate) const CONDENSED: Style = Style {
    top: ['┌', '─', '┬', '┐'],
    header: ['│', '┆', '│'],
    below_header: ['╞', '═', '╪', '╡'],
    row: ['│', '┆', '│'],
    between_rows: None,
    bottom: ['└', '─', '┴', '┘'],
};

/// The contents of a table.
pub(crate) struct Table<'a> {
    pub(crate) style: &'a Style,
    /// The header of each column.
    pub(crate) header: &'a [&'a str],
    /// The texts of each row, at least one for each column.
    pub(crate) rows: Vec<Vec<String>>,
    /// The columns that are aligned to the right.
    pub(crate) right: Range<usize>,
}

impl fmt::Display for Table<'_> {
    /// Writes the table, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { style, rows, .. } = self;
        let header: Vec<String> = self.header.iter().map(|&text| text.to_owned()).collect();
        let mut widths = vec![0; header.len()];
        for texts in rows.iter().chain([&header]) {
            for (width, text) in widths.iter_mut().zip(texts) {
                *width = text.chars().count().max(*width);
            }
        }
        writeln!(f, "{}", line(style.top, &widths))?;
        self.texts(f, style.header, &widths, &header)?;
        writeln!(f, "{}", line(style.below_header, &widths))?;
        for (index, row) in rows.iter().enumerate() {
            if let Some(between) = style.between_rows.filter(|_| index > 0) {
                writeln!(f, "{}", line(between, &widths))?;
            }
            self.texts(f, style.row, &widths, row)?;
        }
        write!(f, "{}", line(style.bottom, &widths))
    }
}

impl Table<'_> {
    fn texts(
        &self,
        f: &mut fmt::Formatter<'_>,
        [left, cross, right]: [char; 3],
        widths: &[usize],
        texts: &[String],
    ) -> fmt::Result {
        for (column, (text, &width)) in texts.iter().zip(widths).enumerate() {
            let edge = if column == 0 { left } else { cross };
            if self.right.contains(&column) {
                write!(f, "{edge} {text:>width$} ")?;
            } else {
                write!(f, "{edge} {text:<width$} ")?;
            }
        }
        writeln!(f, "{right}")
    }
}

/// Returns a line across columns of `widths`, each with a space on both sides.
fn line([left, fill, cross, right]: [char; 4], widths: &[usize]) -> String {
    let parts: Vec<String> = widths.iter().map(|width| String::from(fill).repeat(width + 2)).collect();
    format!("{left}{}{right}", parts.join(&String::from(cross)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_text() {
        let rows = ["é 10 -", "bcd 1234567 -"].map(|row| row.split(' ').map(str::to_owned).collect());
        let table = Table { style: &CONDENSED, header: &["a", "sum"], rows: rows.into(), right: 1..2 };
        let expected = "\
┌─────┬─────────┐
│ a   ┆     sum │
╞═════╪═════════╡
│ é   ┆      10 │
│ bcd ┆ 1234567 │
└─────┴─────────┘";
        assert_eq!(table.to_string(), expected);
    }
}
