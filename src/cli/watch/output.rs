//! Where it is shown: a screen that is drawn again, or lines.

use crate::cli::{Failure, terminal};
use crate::watch::{Change, Frame, State, line, ndjson, screen};
use std::io::{self, Write};
use time::OffsetDateTime;

/// The other screen of the terminal, without a cursor, so that what stood there comes back at the end.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the first line; what stood there is drawn over line by line, which does not flicker.
const HOME: &str = "\u{1b}[H";
const TO_END_OF_LINE: &str = "\u{1b}[K\r\n";
const TO_END_OF_SCREEN: &str = "\u{1b}[J";

enum How {
    Screen { drawn: String, notes: String },
    Lines,
    Ndjson,
}

/// Prints what is watched.
pub(super) struct Printer {
    out: Box<dyn Write + Send>,
    how: How,
}

impl Printer {
    /// A screen that is drawn again on every change.
    pub(super) fn screen(out: impl Write + Send + 'static) -> Self {
        let mut printer = Self::new(out, How::Screen { drawn: String::new(), notes: String::new() });
        // What cannot be written shows with the first change.
        let _ = printer.write(ENTER);
        printer
    }

    /// A line for people for each change.
    pub(super) fn lines(out: impl Write + Send + 'static) -> Self {
        Self::new(out, How::Lines)
    }

    /// A JSON object for each change.
    pub(super) fn ndjson(out: impl Write + Send + 'static) -> Self {
        Self::new(out, How::Ndjson)
    }

    fn new(out: impl Write + Send + 'static, how: How) -> Self {
        Self { out: Box::new(out), how }
    }

    /// Says something that is no finding: beside the findings, so that a program can read those.
    pub(super) fn note(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.how {
            How::Screen { notes, .. } => text.clone_into(notes),
            How::Lines | How::Ndjson => {
                // Nothing is lost for want of it.
                let _ = writeln!(io::stderr(), "insights-agent: {text}");
            }
        }
        Ok(())
    }

    /// Prints changes; a screen shows them when it is drawn.
    pub(super) fn changes(&mut self, changes: Vec<Change>, now: OffsetDateTime) -> Result<(), Failure> {
        for change in changes {
            let text = match self.how {
                How::Screen { .. } => continue,
                How::Lines => line(&change, now),
                How::Ndjson => ndjson(&change, now)?,
            };
            self.write(&format!("{text}\n"))?;
        }
        Ok(())
    }

    /// Draws the screen, where there is one and where it differs from what stands there.
    pub(super) fn draw(
        &mut self,
        state: &State,
        subject: &str,
        connected: bool,
        now: OffsetDateTime,
    ) -> Result<(), Failure> {
        let How::Screen { drawn, notes } = &mut self.how else {
            return Ok(());
        };
        let (width, height) = (terminal::width(), terminal::height());
        let mut text = screen(state, Frame { subject, connected, width, height }, now);
        if !state.settled() && !notes.is_empty() {
            text.push_str(notes);
        }
        if text == *drawn {
            return Ok(());
        }
        text.clone_into(drawn);
        let mut over = HOME.to_owned();
        for line in text.lines().take(usize::from(height.max(2)) - 1) {
            // A line that goes on in the next would move all that follow.
            over.extend(line.chars().take(usize::from(width)));
            over.push_str(TO_END_OF_LINE);
        }
        over.push_str(TO_END_OF_SCREEN);
        self.write(&over)
    }

    /// Gives the terminal back as it was.
    pub(super) fn close(&mut self) {
        if matches!(self.how, How::Screen { .. }) {
            let _ = self.write(LEAVE);
        }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(Failure::Output)
    }
}
