//! HDF5 files: texts of attributes, and datasets whose elements are read when they are asked for.
//!
//! Every lookup is by a path from the description, so cyclic links do no harm;
//! external files are never opened. The sizes that a dataset or an attribute claims
//! are bounded by the size of the file before memory is allocated. Knows no model.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use hdf5_reader::error::{ByteOrder, Error as Hdf5Error};
use hdf5_reader::group::Group;
use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem, StringSize};

use crate::error::{Error, ErrorKind, Result, SMALLER_MODEL, zeros};
use crate::formats::source::Source;

/// The most bytes of datasets for each byte of the file: chunks may be compressed, and fill values take none.
const EXPANSION: u64 = 256;

/// The longest text of an attribute, or of all its texts together.
const LONGEST_TEXT: usize = 16 << 20;

/// About how many elements are read at a time. A matrix is transposed while it is read, and is never in memory twice.
const BLOCK: usize = 1 << 20;

/// An open file.
pub(super) struct Hdf5 {
    file: Hdf5File,
    /// The number of bytes that datasets may still claim.
    left: u64,
}

impl Hdf5 {
    pub(super) fn open(source: Source) -> Result<Self> {
        let left = source.length().saturating_mul(EXPANSION);
        let options = OpenOptions::default().with_chunk_cache_bytes(0).with_max_object_header_bytes(16 << 20);
        let file = Hdf5File::from_storage_with_options(Arc::new(source), options).map_err(damaged)?;
        Ok(Self { file, left })
    }

    /// Whether there is a group at `path`.
    pub(super) fn has_group(&self, path: &str) -> Result<bool> {
        Ok(self.group(path)?.is_some())
    }

    fn group(&self, path: &str) -> Result<Option<Group>> {
        match self.file.group(path) {
            Ok(group) => Ok(Some(group)),
            Err(Hdf5Error::GroupNotFound(_)) => Ok(None),
            Err(e) => Err(damaged(e).at(path)),
        }
    }

    /// Returns the texts of attribute `name` of the group at `path`; one text if it is a scalar.
    pub(super) fn texts(&self, path: &str, name: &str) -> Result<Option<Vec<String>>> {
        let place = || if path.is_empty() { name.to_owned() } else { format!("{path}: {name}") };
        let Some(group) = self.group(path)? else { return Ok(None) };
        let attributes = group.raw_attributes().map_err(|e| damaged(e).at(place()))?;
        match attributes.iter().find(|attribute| attribute.name() == name) {
            Some(attribute) => texts(&group, attribute.message()).map(Some).map_err(|e| e.at(place())),
            None => Ok(None),
        }
    }

    /// Returns the names of the groups and of the datasets in the group at `path`; none if there is no such group.
    pub(super) fn members(&self, path: &str) -> Result<[Vec<String>; 2]> {
        let Some(group) = self.group(path)? else { return Ok([Vec::new(), Vec::new()]) };
        let (groups, datasets) = group.member_names().map_err(|e| damaged(e).at(path))?;
        Ok([groups, datasets])
    }

    /// Returns the number of axes of the dataset at `path`, if there is one, of whatever type its elements are.
    pub(super) fn axes(&self, path: &str) -> Result<Option<usize>> {
        let (group, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(group) = self.group(group)? else { return Ok(None) };
        match group.dataset(name) {
            Ok(dataset) => Ok(Some(dataset.shape().len())),
            Err(Hdf5Error::DatasetNotFound(_)) => Ok(None),
            Err(e) => Err(damaged(e).at(path)),
        }
    }

    /// Finds the dataset at `path`; its elements are read later.
    pub(super) fn dataset(&mut self, path: &str) -> Result<Option<Stored>> {
        let (group, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(group) = self.group(group)? else { return Ok(None) };
        let dataset = match group.dataset(name) {
            Ok(dataset) => dataset,
            Err(Hdf5Error::DatasetNotFound(_)) => return Ok(None),
            Err(e) => return Err(damaged(e).at(path)),
        };
        let stored = Stored::of(dataset).map_err(|e| e.at(path))?;
        let bytes = stored.shape.iter().fold(stored.kind.bytes(), |bytes, &n| bytes.saturating_mul(n as u64));
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let shape = &stored.shape;
            wrong(format!("{path}: expected at most {} bytes more of a file of this size, got {shape:?}", self.left))
        })?;
        Ok(Some(stored))
    }
}

/// Reads the texts of an attribute: fixed-length strings, or references into a heap.
fn texts(group: &Group, attribute: &AttributeMessage) -> Result<Vec<String>> {
    let data = &attribute.raw_data;
    let count = attribute.dataspace.num_elements().map_err(|e| damaged(Hdf5Error::from(e)))?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let (width, by_reference) = match &attribute.datatype {
        // An empty list has no type of its own: Keras writes it as numbers.
        _ if count == 0 => return Ok(Vec::new()),
        Datatype::String { size: StringSize::Fixed(width), .. } => (*width as usize, false),
        Datatype::String { size: StringSize::Variable, .. } => (usize::from(group.offset_size()) + 8, true),
        Datatype::VarLen { base, .. } if base.is_vlen_string_base() => (usize::from(group.offset_size()) + 8, true),
        other => return Err(wrong(format!("expected text, got {other:?}"))),
    };
    if width == 0 || data.len() / width < count {
        return Err(wrong(format!("expected {count} strings of {width} bytes, got {} bytes", data.len())));
    }
    let mut left = LONGEST_TEXT;
    let one = |bytes: &[u8]| -> Result<String> {
        let resolved;
        let text = if by_reference {
            // The reference holds the length, which is checked before the text is copied.
            let claimed = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
            left = left.checked_sub(claimed).ok_or_else(|| wrong(format!("expected at most {LONGEST_TEXT} bytes")))?;
            resolved = group.resolve_vlen_reference_bytes(bytes, 1).map_err(damaged)?;
            resolved.as_slice()
        } else {
            bytes
        };
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let text =
            std::str::from_utf8(&text[..end]).map_err(|e| wrong(format!("expected text, got {e}")).because(e))?;
        Ok(text.to_owned())
    };
    data.chunks_exact(width).take(count).map(one).collect()
}

/// The stored type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F16(ByteOrder),
    Bf16(ByteOrder),
    F32,
    F64,
}

impl Kind {
    fn bytes(self) -> u64 {
        match self {
            Self::F16(_) | Self::Bf16(_) => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn of(dataset: &Dataset) -> Result<Self> {
        match dataset.dtype() {
            Datatype::FloatingPoint { size: 8, .. } => Ok(Self::F64),
            Datatype::FloatingPoint { size: 4, .. } => Ok(Self::F32),
            Datatype::FloatingPoint { size: 2, byte_order } => {
                // The number of exponent bits: byte 13 of the type's description.
                match dataset.raw_datatype().map_err(damaged)?.get(13) {
                    Some(5) => Ok(Self::F16(*byte_order)),
                    Some(8) => Ok(Self::Bf16(*byte_order)),
                    other => Err(wrong(format!("expected a float of 5 or 8 bits of exponent, got {other:?}"))),
                }
            }
            // HDF5 has no bfloat16, so Keras writes it as two opaque bytes.
            Datatype::Opaque { size: 2, .. } => Ok(Self::Bf16(ByteOrder::LittleEndian)),
            other => Err(wrong(format!("expected elements of float16, bfloat16, float32 or float64, got {other:?}"))),
        }
    }
}

/// A dataset of at most three axes whose elements are still in the file.
#[derive(Clone)]
pub(super) struct Stored {
    dataset: Arc<Dataset>,
    shape: Vec<usize>,
    kind: Kind,
}

impl Stored {
    fn of(dataset: Dataset) -> Result<Self> {
        let shape = dataset.shape().iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect::<Vec<_>>();
        if shape.len() > 3 || shape.contains(&0) {
            return Err(wrong(format!("expected at most three axes, none of them empty, got {shape:?}")));
        }
        let kind = Kind::of(&dataset)?;
        Ok(Self { dataset: Arc::new(dataset), shape, kind })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Reads the elements in the order of the file.
    pub(super) fn elements(&self) -> Result<Vec<f32>> {
        let columns = self.columns();
        let mut elements: Vec<f32> = zeros(self.dataset.name(), &self.shape, SMALLER_MODEL)?;
        self.each_block(|[rows, own], block| {
            for (row, part) in rows.zip(block.chunks_exact(own.len().max(1))) {
                elements[row * columns + own.start..][..part.len()].copy_from_slice(part);
            }
        })?;
        Ok(elements)
    }

    /// Reads the elements with both axes exchanged: row `columns[j]` of the result is column `j`.
    pub(super) fn transposed(&self, columns: &[usize]) -> Result<Vec<f32>> {
        let (rows, width) = (self.shape[0], self.columns());
        let mut elements: Vec<f32> = zeros(self.dataset.name(), &[width, rows], SMALLER_MODEL)?;
        self.each_block(|[own_rows, own], block| {
            // Going down the block's rows for each column keeps both ends in cache.
            for (column, &to) in columns.iter().enumerate().filter(|(column, _)| own.contains(column)) {
                let out = &mut elements[to * rows + own_rows.start..][..own_rows.len()];
                for (row, out) in out.iter_mut().enumerate() {
                    *out = block[row * own.len() + column - own.start];
                }
            }
        })?;
        Ok(elements)
    }

    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Reads the elements block by block, and passes on the rows
    /// and columns of each, and its elements. A vector is one row.
    fn each_block(&self, mut visit: impl FnMut([Range<usize>; 2], &[f32])) -> Result<()> {
        let failed = |e| damaged(e).at(self.dataset.name());
        let columns = self.columns();
        // A kernel has three axes. All but the last are its rows.
        let rows = self.shape.iter().rev().skip(1).fold(1, |rows: usize, &n| rows.saturating_mul(n));
        if let Kind::F16(order) | Kind::Bf16(order) = self.kind {
            let bytes = self.dataset.read_raw_bytes().map_err(failed)?;
            visit([0..rows, 0..columns], &widen(&bytes, self.kind, order));
            return Ok(());
        }
        if self.shape.len() != 2 {
            visit([0..rows, 0..columns], &self.slice(&SliceInfo::all(self.shape.len())).map_err(failed)?);
            return Ok(());
        }
        let chunk = self.dataset.chunks().map(|chunk| chunk.into_iter().map(|n| n as usize).collect::<Vec<_>>());
        let chunk = chunk.and_then(|chunk| <[usize; 2]>::try_from(chunk).ok());
        for block in blocks([rows, columns], chunk, BLOCK) {
            let mut all = SliceInfo::all(2);
            for (selection, range) in all.selections.iter_mut().zip(&block) {
                *selection = SliceInfoElem::Slice { start: range.start as u64, end: range.end as u64, step: 1 };
            }
            visit(block, &self.slice(&all).map_err(failed)?);
        }
        Ok(())
    }

    fn slice(&self, selection: &SliceInfo) -> hdf5_reader::error::Result<Vec<f32>> {
        #[expect(clippy::cast_possible_truncation, reason = "float64 is rounded to the nearest f32, as documented")]
        Ok(match self.kind {
            Kind::F64 => self.dataset.read_slice::<f64>(selection)?.into_iter().map(|x| x as f32).collect(),
            _ => self.dataset.read_slice::<f32>(selection)?.into_raw_vec_and_offset().0,
        })
    }
}

/// Returns the blocks of a matrix of `shape`: about `most` elements each, and whole rows if possible.
///
/// A block is made of whole chunks, so that each chunk is unpacked once. Reading any part of a chunk unpacks all of it.
fn blocks(shape: [usize; 2], chunk: Option<[usize; 2]>, most: usize) -> impl Iterator<Item = [Range<usize>; 2]> {
    let [rows, columns] = shape;
    let [high, wide] = chunk.unwrap_or([1, columns]);
    let (high, wide) = (high.clamp(1, rows.max(1)), wide.clamp(1, columns.max(1)));
    // As many whole chunks as there is room for, and at least one.
    let whole = |chunk: usize, room: usize| (room / chunk).max(1).saturating_mul(chunk);
    let width = whole(wide, most / high).min(columns.max(1));
    let height = whole(high, most / width);
    (0..rows).step_by(height).flat_map(move |row| {
        let own = row..row.saturating_add(height).min(rows);
        (0..columns).step_by(width).map(move |column| [own.clone(), column..(column + width).min(columns)])
    })
}

fn widen(bytes: &[u8], kind: Kind, order: ByteOrder) -> Vec<f32> {
    let (halves, _) = bytes.as_chunks();
    let bits = halves.iter().map(|&half| match order {
        ByteOrder::LittleEndian => u16::from_le_bytes(half),
        ByteOrder::BigEndian => u16::from_be_bytes(half),
    });
    match kind {
        Kind::Bf16(_) => bits.map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        _ => bits.map(|bits| f16::from_bits(bits).to_f32()).collect(),
    }
}

fn damaged(e: Hdf5Error) -> Error {
    let kind = if matches!(e, Hdf5Error::Io(_)) { ErrorKind::Io } else { ErrorKind::Weights };
    Error::new(kind, format!("{e}")).because(e)
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Weights, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often a chunk is unpacked at most, and the elements of the largest block.
    fn work(shape: [usize; 2], chunk: [usize; 2], most: usize) -> (usize, usize) {
        let (mut unpacked, mut seen, mut largest) = (std::collections::HashMap::new(), 0, 0);
        for [rows, columns] in blocks(shape, Some(chunk), most) {
            let size = rows.len() * columns.len();
            (seen, largest) = (seen + size, largest.max(size));
            for row in rows.start / chunk[0]..rows.end.div_ceil(chunk[0]) {
                for column in columns.start / chunk[1]..columns.end.div_ceil(chunk[1]) {
                    *unpacked.entry((row, column)).or_insert(0) += 1;
                }
            }
        }
        assert_eq!(seen, shape[0] * shape[1], "each element once");
        (unpacked.into_values().max().unwrap_or(0), largest)
    }

    #[test]
    fn a_chunk_is_unpacked_once_whatever_its_shape() {
        for (shape, chunk, most, largest) in [
            // One chunk of all, chunks of rows, of columns, of both, and chunks that extend past the end.
            ([4096, 16], [4096, 16], 1024, 4096 * 16),
            ([4096, 16], [7, 16], 1024, 63 * 16),
            ([100, 4096], [100, 16], 1024, 100 * 16),
            ([100, 4096], [8, 16], 1024, 8 * 128),
            ([5, 7], [3, 2], 1024, 35),
            ([5, 7], [3, 2], 1, 6),
            ([5, 7], [64, 64], 8, 35),
        ] {
            assert_eq!(work(shape, chunk, most), (1, largest), "{shape:?} of {chunk:?}");
        }
    }

    #[test]
    fn a_matrix_without_chunks_is_read_by_whole_rows() {
        let all: Vec<_> = blocks([5, 3], None, 6).collect();
        assert_eq!(all, [[0..2, 0..3], [2..4, 0..3], [4..5, 0..3]]);
        assert_eq!(blocks([2, 3], None, 1).count(), 2);
    }
}
