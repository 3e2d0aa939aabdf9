//! The engine's way of carrying standard output and standard error in one stream.
//!
//! Without a terminal, each piece has a head of eight bytes: which stream it is of, three zeros, and its length, the highest byte
//! first. With a terminal there is one stream and nothing else.

/// Bytes of a head.
const HEAD_BYTES: usize = 8;

/// Takes the heads out of a stream, wherever its borders fall.
#[derive(Debug, Default)]
pub(super) struct Demux {
    head: [u8; HEAD_BYTES],
    have: usize,
    /// Bytes that are left of the present piece.
    left: usize,
}

impl Demux {
    /// Moves what the container printed to the front of the buffer, and returns how much that is.
    pub(super) fn strip(&mut self, bytes: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            if self.left > 0 {
                let piece = self.left.min(bytes.len() - from);
                bytes.copy_within(from..from + piece, to);
                (from, to, self.left) = (from + piece, to + piece, self.left - piece);
                continue;
            }
            self.head[self.have] = bytes[from];
            (from, self.have) = (from + 1, self.have + 1);
            if self.have == HEAD_BYTES {
                let [.., a, b, c, d] = self.head;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.have = 0;
            }
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(pieces: &[(u8, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (stream, bytes) in pieces {
            all.extend([*stream, 0, 0, 0]);
            all.extend(u32::try_from(bytes.len()).expect("a length").to_be_bytes());
            all.extend(*bytes);
        }
        all
    }

    #[test]
    fn what_was_printed_comes_out_wherever_the_borders_fall() {
        let large = vec![b'x'; 70_000];
        let stream = framed(&[(1, b"one\n"), (2, b""), (2, b"two\n"), (1, &large), (1, b"\x01\x00\x00\x00end")]);
        let expected = [b"one\ntwo\n".as_slice(), &large, b"\x01\x00\x00\x00end"].concat();
        for size in [1, 2, 3, 7, 8, 9, 4096, 1 << 20] {
            let (mut demux, mut out) = (Demux::default(), Vec::new());
            for chunk in stream.chunks(size) {
                let mut chunk = chunk.to_vec();
                let len = demux.strip(&mut chunk);
                out.extend_from_slice(&chunk[..len]);
            }
            assert_eq!(out, expected, "{size}");
        }
    }
}
