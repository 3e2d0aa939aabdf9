//! How archives are compressed.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use kiln_wire::agent::archive::Format;

/// Levels at which what is packed goes about as fast as the disk.
const ZSTD_LEVEL: i32 = 1;
const GZIP_LEVEL: u32 = 1;
/// Largest window of a zstd stream that is accepted: 2^27 bytes would be 128 MiB of memory.
const WINDOW_LOG_MAX: u32 = 24;

/// Compresses what is written.
pub(super) enum Encoder<'w> {
    Tar(&'w mut dyn Write),
    Gzip(GzEncoder<&'w mut dyn Write>),
    Zstd(zstd::stream::write::Encoder<'static, &'w mut dyn Write>),
}

impl<'w> Encoder<'w> {
    pub(super) fn new(format: Format, to: &'w mut dyn Write) -> io::Result<Self> {
        Ok(match format {
            Format::Tar => Self::Tar(to),
            Format::Gzip => Self::Gzip(GzEncoder::new(to, Compression::new(GZIP_LEVEL))),
            Format::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(to, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Tar(to) => to,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        }
        .flush()
    }
}

impl Write for Encoder<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tar(to) => to.write(from),
            Self::Gzip(to) => to.write(from),
            Self::Zstd(to) => to.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tar(to) => to.flush(),
            Self::Gzip(to) => to.flush(),
            Self::Zstd(to) => to.flush(),
        }
    }
}

/// Decompresses what is read.
pub(super) enum Decoder<'r> {
    Tar(&'r mut dyn BufRead),
    Gzip(MultiGzDecoder<&'r mut dyn BufRead>),
    Zstd(zstd::stream::read::Decoder<'static, &'r mut dyn BufRead>),
}

impl<'r> Decoder<'r> {
    pub(super) fn new(format: Format, from: &'r mut dyn BufRead) -> io::Result<Self> {
        Ok(match format {
            Format::Tar => Self::Tar(from),
            Format::Gzip => Self::Gzip(MultiGzDecoder::new(from)),
            Format::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tar(from) => from.read(to),
            Self::Gzip(from) => from.read(to),
            Self::Zstd(from) => from.read(to),
        }
    }
}

/// A reader of which is remembered whether it failed, so that its errors are told apart from those of the disk.
pub(super) struct Watched<'f, R> {
    from: R,
    failed: &'f Cell<bool>,
}

impl<'f, R> Watched<'f, R> {
    pub(super) fn new(from: R, failed: &'f Cell<bool>) -> Self {
        Self { from, failed }
    }

    fn note<T>(&self, read: io::Result<T>) -> io::Result<T> {
        read.inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed.set(true);
            }
        })
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(to);
        self.note(read)
    }
}

/// Buffers a reader, where a decoder asks for one that is buffered.
pub(super) fn buffered<R: Read>(from: R) -> BufReader<R> {
    const PIECE_BYTES: usize = 128 << 10;
    BufReader::with_capacity(PIECE_BYTES, from)
}
