//! A zstd stream that is made of many frames, each compressed or stored as it is. Whoever reads zstd reads both.

use std::io::{self, Read, Write};
use std::time::Instant;

use super::pace::{Pace, Packing};

/// Bytes of content in one frame, which is what a block can hold at most.
const FRAME_BYTES: usize = 128 << 10;
/// Fast rather than small: who has little time for compression has a fast network.
const ZSTD_LEVEL: i32 = 1;
/// How a frame begins.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Says that four bytes with the length of the content follow, which is the window too (RFC 8878, section 3.1.1.1).
const LENGTH_OF_FOUR_BYTES: u8 = 0b1010_0000;
/// Says that a block is the last one, and holds its content as it is. Its length stands above these bits (section 3.1.1.2).
const LAST_AND_RAW: u32 = 0b001;
/// Bytes before the content of a stored frame.
const HEADER_BYTES: usize = MAGIC.len() + 1 + 4 + 3;

/// Makes frames of what is written to it, and hands each to `out`.
pub(super) struct Frames<F> {
    pace: Pace,
    compressor: zstd::bulk::Compressor<'static>,
    /// Room for the header, and the content.
    frame: Vec<u8>,
    /// Bytes of the content that are there.
    filled: usize,
    out: F,
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Frames<F> {
    pub(super) fn new(out: F) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { pace: Pace::default(), compressor, frame: room(), filled: 0, out })
    }

    /// Adds the first `len` bytes of a reader, with zeros in place of those that it does not have.
    pub(super) fn read(&mut self, from: &mut impl Read, len: u64) -> io::Result<()> {
        let mut left = len;
        let mut ended = false;
        while left > 0 {
            let room = self.room()?;
            let most = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match ended {
                true => {
                    room[..most].fill(0);
                    most
                }
                false => from.read(&mut room[..most])?,
            };
            ended |= read == 0;
            self.filled += read;
            left -= read as u64;
        }
        Ok(())
    }

    /// Hands the last frame over.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.hand_over()
    }

    /// Returns where more content goes, which is not empty.
    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.filled == FRAME_BYTES {
            self.hand_over()?;
        }
        Ok(&mut self.frame[HEADER_BYTES + self.filled..])
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.filled);
        if length == 0 {
            return Ok(());
        }
        let frame = self.frame(length, self.pace.packing())?;
        (self.out)(frame)?;
        self.pace.sent(length, Instant::now());
        Ok(())
    }

    /// Returns a frame with the first bytes of the content.
    fn frame(&mut self, length: usize, packing: Packing) -> io::Result<Vec<u8>> {
        if packing == Packing::Compressed {
            let packed = self.compressor.compress(&self.frame[HEADER_BYTES..HEADER_BYTES + length])?;
            if packed.len() < length {
                return Ok(packed);
            }
        }
        let mut frame = std::mem::replace(&mut self.frame, room());
        frame[..HEADER_BYTES].copy_from_slice(&header(length));
        frame.truncate(HEADER_BYTES + length);
        Ok(frame)
    }
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Write for Frames<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.room()?;
        let most = room.len().min(data.len());
        room[..most].copy_from_slice(&data[..most]);
        self.filled += most;
        Ok(most)
    }

    /// Does nothing: frames are handed over when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn room() -> Vec<u8> {
    vec![0; HEADER_BYTES + FRAME_BYTES]
}

/// Returns what stands before the content of a stored frame.
fn header(length: usize) -> [u8; HEADER_BYTES] {
    // At most FRAME_BYTES.
    let length = length as u32;
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = LENGTH_OF_FOUR_BYTES;
    header[5..9].copy_from_slice(&length.to_le_bytes());
    header[9..].copy_from_slice(&(length << 3 | LAST_AND_RAW).to_le_bytes()[..3]);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a frame of a text, and returns it with what it holds.
    fn frame(text: &[u8], packing: Packing) -> (Vec<u8>, Vec<u8>) {
        let mut frames = Frames::new(|_| panic!("it is one frame")).unwrap();
        frames.write_all(text).unwrap();
        let frame = frames.frame(text.len(), packing).unwrap();
        let content = zstd::decode_all(frame.as_slice()).unwrap();
        (frame, content)
    }

    /// Packs the first `len` bytes of a text, and returns how many frames they take, and what these hold.
    fn pack(text: &[u8], len: usize) -> (usize, Vec<u8>) {
        let mut chunks = Vec::new();
        let mut frames = Frames::new(|chunk| {
            chunks.push(chunk);
            Ok(())
        })
        .unwrap();
        frames.read(&mut &*text, len as u64).unwrap();
        frames.finish().unwrap();
        (chunks.len(), zstd::decode_all(chunks.concat().as_slice()).unwrap())
    }

    /// Bytes that nothing makes smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn only_what_becomes_smaller_is_compressed() {
        for len in [1, 2, 1000, FRAME_BYTES - 1, FRAME_BYTES] {
            let (noise, same) = (noise(len), vec![b'a'; len]);
            let stored = HEADER_BYTES + len;
            let small = if len < 1000 { stored } else { 100 };
            let table = [
                (Packing::Stored, &noise, stored..=stored),
                (Packing::Stored, &same, stored..=stored),
                (Packing::Compressed, &noise, stored..=stored),
                (Packing::Compressed, &same, 1..=small),
            ];
            for (packing, text, expect) in table {
                let (frame, content) = frame(text, packing);
                assert!(content == *text, "{packing:?}, {len} bytes");
                assert!(expect.contains(&frame.len()), "{packing:?}, {len} bytes: {}", frame.len());
            }
        }
    }

    #[test]
    fn content_of_any_length_is_read_back() {
        for len in [1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES] {
            let text = noise(len);
            let (frames, content) = pack(&text, len);
            assert!(content == text && frames == len.div_ceil(FRAME_BYTES), "{len} bytes: {frames} frames");
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_keeps_its_first_length() {
        let check = |text: &str, len: usize, expect: &[u8]| assert_eq!(pack(text.as_bytes(), len).1, expect);
        check("grown", 3, b"gro");
        check("cut", 5, b"cut\0\0");
    }
}
