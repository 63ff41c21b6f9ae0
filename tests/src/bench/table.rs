//! Tables for people: the same figures as in the lines of JSON, as Markdown.
//!
//! Promises: columns line up; a number of figures is least / **median** / most, one alone stands by itself.
//! Never: works anything out.

use std::fmt::Write as _;

use serde_json::Value;

/// A table with `head` above its `rows`. Figures are to the right.
pub fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let lengths = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let widths: Vec<usize> = (0..head.len())
        .map(|column| lengths(column).chain([head[column].chars().count(), 3]).max().unwrap_or(3))
        .collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        for cell in cells {
            text.push_str(&cell);
        }
        text.push_str("|\n");
    };
    let padded = |(column, cell): (usize, &str)| {
        let width = widths[column];
        if column == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") }
    };
    line(&mut head.iter().copied().enumerate().map(padded));
    line(&mut widths.iter().enumerate().map(|(column, width)| {
        let dashes = "-".repeat(width + 1);
        if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") }
    }));
    for row in rows {
        line(&mut row.iter().map(String::as_str).enumerate().map(padded));
    }
    text
}

/// What [`spread`](super::plan::spread) gave, for a cell.
pub fn cell(spread: &Value) -> String {
    let [Some(least), Some(median), Some(most)] = ["min", "median", "max"].map(|name| spread[name].as_f64()) else {
        return "–".to_owned();
    };
    let mut text = String::new();
    if (most - least).abs() < f64::EPSILON {
        write!(text, "{median}").expect("a String takes everything");
    } else {
        write!(text, "{least} / **{median}** / {most}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::spread;

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["memory".to_owned(), "1".to_owned()], vec!["–".to_owned(), "1000".to_owned()]];
        let expected = "| who    | lost |\n|--------|-----:|\n| memory |    1 |\n| –      | 1000 |\n";
        assert_eq!(markdown(&["who", "lost"], &rows), expected);
    }

    #[test]
    fn a_cell_shows_the_extremes_if_there_are_any() {
        for (numbers, expected) in [(vec![], "–"), (vec![0.5], "0.5"), (vec![3.0, 1.0, 2.0], "1 / **2** / 3")] {
            assert_eq!(cell(&spread(&numbers)), expected);
        }
    }
}
