//! Reads one report of either format.

use std::io::Read;

use crate::case::Out;
use crate::fault::{Fault, Kind};
use crate::junit::Junit;
use crate::trx::Trx;
use crate::xml::{Tag, Visitor, walk};

/// Reads a report to its end or to the first fault. The cases before it are passed on.
pub(crate) fn read(input: impl Read, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut report = Report { out, format: None };
    let walked = walk(input, &mut report);
    let Report { out, format } = report;
    match format {
        Some(Format::Trx(mut trx)) => trx.finish(out).map_err(|kind| Fault { line: None, kind })?,
        Some(Format::Junit(_)) | None => {}
    }
    walked
}

/// The format of a report, known from its outermost element.
enum Format {
    Junit(Box<Junit>),
    Trx(Box<Trx>),
}

struct Report<'a, 'b> {
    out: &'a mut Out<'b>,
    format: Option<Format>,
}

impl Visitor for Report<'_, '_> {
    fn open(&mut self, tag: &Tag<'_>, line: u64) -> Result<(), Kind> {
        if self.format.is_none() {
            self.format = Some(match tag.name {
                "testsuites" | "testsuite" => Format::Junit(Box::default()),
                "TestRun" => Format::Trx(Box::default()),
                other => return Err(Kind::OtherFormat { element: other.to_owned() }),
            });
        }
        match &mut self.format {
            Some(Format::Junit(junit)) => junit.open(tag, line, self.out),
            Some(Format::Trx(trx)) => {
                trx.open(tag, line, self.out);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn text(&mut self, piece: &str) {
        match &mut self.format {
            Some(Format::Junit(junit)) => junit.text(piece),
            Some(Format::Trx(trx)) => trx.text(piece),
            None => {}
        }
    }

    fn close(&mut self) -> Result<(), Kind> {
        match &mut self.format {
            Some(Format::Junit(junit)) => junit.close(self.out),
            Some(Format::Trx(trx)) => trx.close(self.out),
            None => Ok(()),
        }
    }
}
