//! The table.

use comfy_table::{Cell, CellAlignment, Table, presets};
use std::fmt::{self, Display, Formatter};

/// One line of the table.
struct Row {
    what: String,
    figure: String,
    /// Empty where there is none.
    bar: String,
    met: Option<bool>,
}

/// Every figure of a run, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
}

impl Figures {
    /// A figure that only informs.
    pub(crate) fn note(&mut self, what: impl Display, figure: impl Display) {
        self.take(Row { what: what.to_string(), figure: figure.to_string(), bar: String::new(), met: None });
    }

    /// A figure that must be at most `bar`.
    pub(crate) fn at_most(&mut self, what: impl Display, value: f64, bar: f64, unit: &str) {
        let row = Row {
            what: what.to_string(),
            figure: format!("{value:.2}{unit}"),
            bar: format!("≤ {bar}{unit}"),
            met: Some(value <= bar),
        };
        self.take(row);
    }

    /// Something that must hold.
    pub(crate) fn must(&mut self, what: impl Display, holds: bool, figure: impl Display) {
        let row = Row {
            what: what.to_string(),
            figure: figure.to_string(),
            bar: "must hold".into(),
            met: Some(holds),
        };
        self.take(row);
    }

    fn take(&mut self, row: Row) {
        // A run takes minutes: what is known so far is shown at once.
        eprintln!("  {}: {} {}", row.what, row.figure, row.bar);
        self.rows.push(row);
    }

    /// How many bars are missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.met == Some(false)).count()
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["what", "figure", "bar", "met"]);
        for row in &self.rows {
            let met = match row.met {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            table.add_row([
                Cell::new(&row.what),
                Cell::new(&row.figure).set_alignment(CellAlignment::Right),
                Cell::new(&row.bar).set_alignment(CellAlignment::Right),
                Cell::new(met),
            ]);
        }
        write!(f, "{table}")
    }
}

/// The middle of some values, and the smallest and largest.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], least: values[0], most: values[values.len() - 1] }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ({:.0} to {:.0})", self.median, self.least, self.most)
    }
}
