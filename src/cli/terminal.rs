//! The terminal that standard output may be.

use crate::report::DEFAULT_WIDTH;
use std::io;

/// Lines where there is no terminal that says.
const DEFAULT_HEIGHT: u16 = 24;

/// Its height in lines.
pub(super) fn height() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| size.ws_row).filter(|rows| *rows > 0).unwrap_or(DEFAULT_HEIGHT)
}

/// Its width in characters, or that of a page where there is none.
pub(super) fn width() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(DEFAULT_WIDTH)
}
