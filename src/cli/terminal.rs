//! The terminal that standard output may be.

use crate::report::DEFAULT_WIDTH;
use std::io;

/// Its width in characters, or that of a page where there is none.
pub(super) fn width() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| size.ws_col).filter(|columns| *columns > 0).unwrap_or(DEFAULT_WIDTH)
}
