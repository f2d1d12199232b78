//! Pages of connections, prepared so that an answer is little more than a copy.
//!
//! The snappy framing format is a sequence of chunks that can be decoded one by one. The connections of a server are
//! compressed once, in blocks; a page is a head, the blocks in between, and what is cut off at either end, which is
//! printed and compressed anew. So any page costs the same, and the head has the server's time of the answer.

use super::connection::{With, Writer};
use super::world::World;
use std::io::Write;
use std::ops::Range;

/// Connections of a block: with their JWTs a little less than the 64 KiB of a chunk.
const BLOCK: u64 = 32;

/// What is compressed once, and printed for every page.
const WITH: With = With { auth: true, subscriptions: false };

/// The connections of a server, compressed.
#[derive(Debug)]
pub(super) struct Pages {
    /// Chunks, with a chunk for the comma behind each block but the last.
    bytes: Vec<u8>,
    /// Where blocks begin, and the end.
    starts: Vec<usize>,
    /// The same without compression.
    pub(super) plain: u64,
    connections: u64,
}

/// Length of the identifier at the beginning of a stream, which its chunks follow.
const IDENTIFIER: usize = 10;

/// The whole as a stream in snappy's framing format; empty if it cannot be compressed, which a writer into memory rules out.
pub(super) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::with_capacity(plain.len() / 3 + 64));
    match encoder.write_all(plain) {
        Ok(()) => encoder.into_inner().unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// The same without the identifier at its beginning, so that it can follow what has one.
pub(super) fn chunks(plain: &[u8]) -> Vec<u8> {
    let mut stream = compress(plain);
    stream.drain(..IDENTIFIER.min(stream.len()));
    stream
}

impl Pages {
    /// Compresses the connections of a server.
    pub(super) fn new(world: &World, server: usize) -> Self {
        let connections = world.layout.servers[server].connections();
        let comma = chunks(b",");
        let mut pages = Self { bytes: Vec::new(), starts: Vec::new(), plain: 0, connections };
        let mut writer = Writer::new(world, server);
        let mut text = String::new();
        let mut first = 0;
        while first < connections {
            let end = (first + BLOCK).min(connections);
            text.clear();
            list(&mut writer, &mut text, first..end, WITH);
            if first > 0 {
                pages.bytes.extend_from_slice(&comma);
                pages.plain += 1;
            }
            pages.starts.push(pages.bytes.len());
            pages.bytes.extend(chunks(text.as_bytes()));
            pages.plain += text.len() as u64;
            first = end;
        }
        pages.starts.push(pages.bytes.len());
        pages.bytes.shrink_to_fit();
        pages
    }

    /// Bytes of all blocks.
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A stream of `head`, these connections with commas in between, and `tail`.
    pub(super) fn page(
        &self,
        world: &World,
        server: usize,
        head: &str,
        of: Range<u64>,
        tail: &str,
    ) -> Vec<u8> {
        let mut writer = Writer::new(world, server);
        // The last block may be a short one, and is whole where the page goes to the end.
        let first_block = of.start.div_ceil(BLOCK);
        let end_block = if of.end == self.connections { of.end.div_ceil(BLOCK) } else { of.end / BLOCK };
        let mut text = head.to_owned();
        if first_block >= end_block {
            list(&mut writer, &mut text, of, WITH);
            text.push_str(tail);
            return compress(text.as_bytes());
        }
        let before = of.start..first_block * BLOCK;
        if !before.is_empty() {
            list(&mut writer, &mut text, before, WITH);
            text.push(',');
        }
        let comma = chunks(b",").len();
        let from = self.starts[first_block as usize];
        let last = end_block as usize;
        let to = if last + 1 == self.starts.len() { self.bytes.len() } else { self.starts[last] - comma };
        let mut out = compress(text.as_bytes());
        text.clear();
        let behind = end_block * BLOCK..of.end;
        if !behind.is_empty() {
            text.push(',');
            list(&mut writer, &mut text, behind, WITH);
        }
        text.push_str(tail);
        let end = chunks(text.as_bytes());
        out.reserve_exact(to - from + end.len());
        out.extend_from_slice(&self.bytes[from..to]);
        out.extend(end);
        out
    }
}

/// Prints connections with commas in between.
pub(super) fn list(writer: &mut Writer<'_>, text: &mut String, of: Range<u64>, with: With) {
    for position in of.clone() {
        if position > of.start {
            text.push(',');
        }
        writer.write(text, position, with);
    }
}
