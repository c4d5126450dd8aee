//! The first pass over an ONNX file. It copies the messages that the reader needs, and leaves the elements
//! of tensors in the file. So a model of any size takes little memory until its weights are asked for.
//!
//! Knows the wire format of protobuf and where tensors are in ONNX's messages; knows no graph.

use std::io::{BufRead, Read, Seek, SeekFrom};

use prost::Message;
use prost::encoding::{MAX_TAG, MIN_TAG, WireType, encode_key, encode_varint};

use super::proto::Left;
use crate::error::{Error, ErrorKind, Result};

/// Tensors with fewer bytes are copied: shapes, axes, biases.
const SMALL_BYTES: u64 = 1024;
/// The most bytes that are copied. A graph without its tensors is small.
const MAX_BYTES: usize = 32 << 20;
const MAX_MESSAGES: usize = 1 << 19;
/// The most graphs inside each other; deeper ones are left out.
const MAX_GRAPHS: usize = 4;

/// A message that holds tensors, or one on the path to them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    /// Copied as it is.
    Plain,
}

/// How a field is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Copied,
    Into(Kind),
    /// Elements in the layout of a tensor's raw data.
    Elements,
    Dropped,
}

impl Kind {
    /// Returns how field `number` is treated. Fields that `proto` does not declare are dropped.
    fn fate(self, number: u64) -> Fate {
        match (self, number) {
            (Self::Model, 7) => Fate::Into(Self::Graph),
            (Self::Model, 8) | (Self::Graph, 11..=13) => Fate::Into(Self::Plain),
            (Self::Graph, 1) => Fate::Into(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5) => Fate::Into(Self::Tensor),
            (Self::Attribute, 6) => Fate::Into(Self::Graph),
            (Self::Node, 5) => Fate::Into(Self::Attribute),
            (Self::Tensor, 4 | 9 | 10) => Fate::Elements,
            (Self::Model, 1)
            | (Self::Node, 1..=4 | 7)
            | (Self::Attribute, 1..=9 | 20)
            | (Self::Tensor, 1..=14)
            | (Self::Plain, _) => Fate::Copied,
            _ => Fate::Dropped,
        }
    }
}

/// Returns the bytes of a model in `source`, of `length` bytes, without the elements of its larger tensors.
pub(super) fn skim(source: impl BufRead + Seek, length: u64) -> Result<Vec<u8>> {
    let mut skimmer = Skimmer { source, at: 0, copied: 0, messages: 0, graphs: 0 };
    skimmer.message(Kind::Model, length)
}

struct Skimmer<S> {
    source: S,
    at: u64,
    copied: usize,
    messages: usize,
    /// The number of graphs around the current message.
    graphs: usize,
}

impl<S: BufRead + Seek> Skimmer<S> {
    /// Copies the message that ends at `end`. The depth of recursion is
    /// bounded: `Kind`s nest four deep, and graphs [`MAX_GRAPHS`] deep.
    fn message(&mut self, kind: Kind, end: u64) -> Result<Vec<u8>> {
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            return Err(damaged(format!("expected at most {MAX_MESSAGES} nodes, tensors and attributes")));
        }
        let mut out = Vec::new();
        self.graphs += usize::from(kind == Kind::Graph);
        while self.at < end {
            self.field(kind, end, &mut out)?;
        }
        self.graphs -= usize::from(kind == Kind::Graph);
        if self.at == end {
            Ok(out)
        } else {
            Err(damaged(format!("a message ends at byte {end}, a field in it does not")))
        }
    }

    fn field(&mut self, kind: Kind, end: u64, out: &mut Vec<u8>) -> Result<()> {
        let key = self.varint(end)?;
        let (number, wire) = (key >> 3, key & 7);
        let known = u32::try_from(number).ok().filter(|tag| (MIN_TAG..=MAX_TAG).contains(tag));
        let tag = known
            .ok_or_else(|| damaged(format!("byte {}: a field of number {number}; is this an ONNX file?", self.at)))?;
        let fate = match kind.fate(number) {
            Fate::Into(Kind::Graph) if self.graphs >= MAX_GRAPHS => Fate::Dropped,
            fate => fate,
        };
        let fixed = match wire {
            0 => {
                let value = self.varint(end)?;
                if fate == Fate::Copied {
                    encode_key(tag, WireType::Varint, out);
                    encode_varint(value, out);
                }
                return self.count(0);
            }
            1 => Some((WireType::SixtyFourBit, 8)),
            2 => None,
            5 => Some((WireType::ThirtyTwoBit, 4)),
            _ => return Err(damaged(format!("byte {}: a field of wire type {wire}; is this an ONNX file?", self.at))),
        };
        let (wire, length) = match fixed {
            Some(fixed) => fixed,
            None => (WireType::LengthDelimited, self.varint(end)?),
        };
        if length > end - self.at {
            let text = format!("byte {}: expected {length} bytes of field {number}, got {}", self.at, end - self.at);
            return Err(damaged(text + "; the file is cut off, or is no ONNX file"));
        }
        match fate {
            Fate::Dropped => self.skip(length),
            Fate::Elements if wire == WireType::LengthDelimited && length >= SMALL_BYTES => {
                let left = Left { offset: self.at, length };
                encode_key(LEFT_TAG, WireType::LengthDelimited, out);
                left.encode_length_delimited(out).expect("a vector grows");
                self.skip(length)
            }
            Fate::Into(inner) if wire == WireType::LengthDelimited => {
                let message = self.message(inner, self.at + length)?;
                encode_key(tag, wire, out);
                encode_varint(message.len() as u64, out);
                out.extend(message);
                Ok(())
            }
            Fate::Copied | Fate::Elements | Fate::Into(_) => {
                encode_key(tag, wire, out);
                if wire == WireType::LengthDelimited {
                    encode_varint(length, out);
                }
                self.copy(length, out)
            }
        }
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        // A field takes memory even if it holds nothing.
        self.copied = self.copied.saturating_add(bytes).saturating_add(2);
        if self.copied > MAX_BYTES {
            let text = format!("expected a graph of at most {MAX_BYTES} bytes beside its tensors");
            return Err(damaged(text));
        }
        Ok(())
    }

    fn copy(&mut self, length: u64, out: &mut Vec<u8>) -> Result<()> {
        self.count(usize::try_from(length).unwrap_or(usize::MAX))?;
        let read = self.source.by_ref().take(length).read_to_end(out).map_err(unreadable)?;
        self.at += length;
        if read as u64 == length { Ok(()) } else { Err(damaged("the file is cut off".into())) }
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let distance = i64::try_from(length).map_err(|e| damaged(format!("a field of {length} bytes")).because(e))?;
        // Skips inside the buffer if possible: a seek would drop the buffer.
        match usize::try_from(length) {
            Ok(near) if self.source.fill_buf().map_err(unreadable)?.len() >= near => self.source.consume(near),
            _ => drop(self.source.seek(SeekFrom::Current(distance)).map_err(unreadable)?),
        }
        self.at += length;
        self.count(0)
    }

    fn varint(&mut self, end: u64) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if self.at >= end || self.source.read(&mut byte).map_err(unreadable)? == 0 {
                return Err(damaged(format!("byte {}: the file is cut off, or is no ONNX file", self.at)));
            }
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged(format!("byte {}: a number of more than ten bytes", self.at)))
    }
}

/// The number of `left` in `proto::Tensor`. No file can set it, because `Kind::fate` drops it.
const LEFT_TAG: u32 = 1_000_001;

fn damaged(text: String) -> Error {
    Error::new(ErrorKind::Model, text)
}

fn unreadable(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{e}")).because(e)
}
