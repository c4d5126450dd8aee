//! `.npy` arrays and `.npz` archives: bytes → arrays.
//!
//! The claims of a header are checked against the number of bytes before memory is allocated,
//! and its text is read in one pass. Knows no name of a tensor and no file of another format.

use std::io::{Cursor, Read, Seek};

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use safetensors::tensor::Dtype;
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::{Scalar, little_endian, scalars, size_of_array};

/// The longest header that is read. NumPy itself reads 10,000 bytes.
const LONGEST_HEADER: usize = 1 << 16;

/// How many bytes Deflate can make of one.
const EXPANSION: u64 = 1032;

/// An error of an array, in words.
type Result<T> = std::result::Result<T, String>;

/// Reads the array of an `.npy` file of `length` bytes.
pub(super) fn read(mut file: impl Read, length: u64) -> Result<ArrayD<Scalar>> {
    let Head { dtype, big_endian, fortran, shape, offset } = read_head(&mut file, length)?;
    let mut bytes = take(&mut file, length.saturating_sub(offset), "elements")?;
    little_endian(dtype, big_endian, &mut bytes);
    let scalars = scalars(dtype, &bytes).ok_or_else(|| format!("type {dtype:?} is not read"))?;
    ArrayD::from_shape_vec(IxDyn(&shape).set_f(fortran), scalars).map_err(|e| format!("shape {shape:?}: {e}"))
}

/// The header of an array, checked against the length of the file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) dtype: Dtype,
    /// Whether the most significant byte of a number comes first.
    pub(super) big_endian: bool,
    /// Whether the first axis is contiguous in memory.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
    /// Where the elements begin.
    pub(super) offset: u64,
}

/// Reads the header of an `.npy` file of `length` bytes, and leaves `file` after it.
pub(super) fn read_head(mut file: impl Read, length: u64) -> Result<Head> {
    let begin = take(&mut file, 8, "header")?;
    if !begin.starts_with(b"\x93NUMPY") {
        return Err("expected an array of NumPy, got something else by the first bytes".into());
    }
    let width: u8 = match begin[6] {
        1 => 2,
        2 | 3 => 4,
        other => return Err(format!("expected version 1, 2 or 3 of the format, got {other}")),
    };
    let size = take(&mut file, width.into(), "header")?;
    let size = size.iter().rev().fold(0, |size: usize, &byte| size << 8 | usize::from(byte));
    if size > LONGEST_HEADER {
        return Err(format!("header: expected at most {LONGEST_HEADER} bytes, got {size}"));
    }
    let text = take(&mut file, size as u64, "header")?;
    let text = str::from_utf8(&text).map_err(|e| format!("header: expected text, got {e}"))?;
    let Header { descr, fortran, shape } = Header::of(text).map_err(|e| format!("header: {e}"))?;
    let dtype = dtype(&descr).ok_or_else(|| format!("expected floats, integers or booleans, got type {descr}"))?;
    let offset = 8 + u64::from(width) + size as u64;
    let left = length.saturating_sub(offset);
    if size_of_array(dtype, &shape).is_none_or(|bytes| bytes as u64 != left) {
        return Err(format!("expected the bytes of {shape:?} of type {descr}, got {left}"));
    }
    Ok(Head { dtype, big_endian: descr.starts_with("'>"), fortran, shape, offset })
}

/// Reads the next `count` bytes, which errors call `what`. Memory grows with what is read.
pub(super) fn take(file: impl Read, count: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes).map_err(|e| format!("{what}: {e}"))?;
    match bytes.len() as u64 {
        got if got < count => Err(format!("{what}: expected {count} bytes, got {got}; the file is cut off")),
        _ => Ok(bytes),
    }
}

/// Reads the arrays of an `.npz` archive by name; each may have an error of its own.
pub(super) fn read_archive(bytes: &[u8]) -> Result<Vec<(String, Result<ArrayD<Scalar>>)>> {
    let mut zip = open_archive(Cursor::new(bytes), bytes.len() as u64)?;
    let count = zip.len();
    let one = |index| {
        let file = zip.by_index(index).map_err(|e| e.to_string())?;
        let name = array_name(&file);
        let (size, packed) = (file.size(), file.compressed_size());
        let most = match file.compression() {
            CompressionMethod::Stored => packed,
            _ => packed.saturating_mul(EXPANSION),
        };
        let array = if size > most {
            Err(format!("expected at most {most} bytes of {packed} in the archive, got {size}"))
        } else {
            read(file, size)
        };
        Ok((name, array))
    };
    (0..count).map(one).collect()
}

/// Reads the headers of the arrays of an archive of `length` bytes by name. The offsets
/// are places in the archive. An array of which no part can be read alone has an error.
pub(super) fn read_heads(file: impl Read + Seek, length: u64) -> Result<Vec<(String, Result<Head>)>> {
    let mut zip = open_archive(file, length)?;
    let count = zip.len();
    let one = |index| {
        let mut file = zip.by_index_raw(index).map_err(|e| e.to_string())?;
        let name = array_name(&file);
        Ok((name, stored_head(&mut file, length)))
    };
    (0..count).map(one).collect()
}

/// Reads the header of an array that is stored without compression in an archive of `length` bytes.
fn stored_head<R: Read>(file: &mut ZipFile<'_, R>, length: u64) -> Result<Head> {
    if file.encrypted() {
        return Err("expected an array as numpy.savez writes it, got an encrypted one".into());
    }
    if file.compression() != CompressionMethod::Stored {
        let got = file.compression();
        let hint = "write the file with numpy.savez in place of numpy.savez_compressed";
        return Err(format!("expected an array without compression, whose rows can be read alone, got {got}; {hint}"));
    }
    let (start, size) = (file.data_start(), file.size());
    let end = start.checked_add(size).filter(|end| *end <= length && size == file.compressed_size());
    if end.is_none() {
        return Err(format!("expected {size} bytes of the {length} in the archive, from byte {start}"));
    }
    let mut head = read_head(file, size)?;
    if head.fortran && head.shape.len() > 1 {
        let hint = "write np.ascontiguousarray(ARRAY)";
        return Err(format!(
            "expected an array in the order of C, whose rows can be read alone, got Fortran's; {hint}"
        ));
    }
    head.offset += start;
    Ok(head)
}

/// Opens an archive of `length` bytes.
fn open_archive<R: Read + Seek>(file: R, length: u64) -> Result<ZipArchive<R>> {
    let whole = |e| format!("expected a whole archive, as numpy.savez writes one, got {length} bytes: {e}");
    ZipArchive::new(file).map_err(whole)
}

fn array_name<R: Read>(file: &ZipFile<'_, R>) -> String {
    file.name().strip_suffix(".npy").unwrap_or(file.name()).to_owned()
}

/// Returns the element type that `descr` means, in either byte order.
fn dtype(descr: &str) -> Option<Dtype> {
    let name = descr.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(match name.trim_start_matches(['<', '>', '|', '=']) {
        "f8" => Dtype::F64,
        "f4" => Dtype::F32,
        "f2" => Dtype::F16,
        "i8" => Dtype::I64,
        "i4" => Dtype::I32,
        "i2" => Dtype::I16,
        "i1" => Dtype::I8,
        "u8" => Dtype::U64,
        "u4" => Dtype::U32,
        "u2" => Dtype::U16,
        "u1" => Dtype::U8,
        "b1" => Dtype::BOOL,
        _ => return None,
    })
}

/// The contents of a header: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// A name in quotes; of anything else, its first characters.
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses the three keys in any order, each once.
    fn of(text: &str) -> Result<Self> {
        let mut left = Left(text);
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        left.expect("{")?;
        while !left.skip("}") {
            let key = left.quoted()?;
            left.expect(":")?;
            let twice = match key {
                "descr" => descr.replace(left.descr()?).is_some(),
                "fortran_order" => fortran.replace(left.flag()?).is_some(),
                "shape" => shape.replace(left.shape()?).is_some(),
                other => return Err(format!("expected descr, fortran_order and shape, got {other:?}")),
            };
            if twice {
                return Err(format!("expected {key} once, got it twice"));
            }
            if !left.skip(",") {
                left.expect("}")?;
                break;
            }
        }
        if !left.rest().is_empty() {
            return Err(format!("expected its end, got {:?}", left.start()));
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Self { descr, fortran, shape }),
            _ => Err("expected descr, fortran_order and shape, got fewer keys".into()),
        }
    }
}

/// The text that is still to be read.
struct Left<'a>(&'a str);

impl<'a> Left<'a> {
    fn rest(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        self.0
    }

    /// Returns the first characters of what is left, for an error.
    fn start(&mut self) -> String {
        self.rest().chars().take(20).collect()
    }

    fn skip(&mut self, word: &str) -> bool {
        let after = self.rest().strip_prefix(word);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.skip(word) { Ok(()) } else { Err(format!("expected {word:?}, got {:?}", self.start())) }
    }

    /// Parses a text without escapes, in either kind of quotes.
    fn quoted(&mut self) -> Result<&'a str> {
        let text = self.rest();
        let quote = text.chars().next().filter(|quote| ['\'', '"'].contains(quote));
        match quote.and_then(|quote| text[1..].split_once(quote)) {
            Some((inside, after)) => {
                self.0 = after;
                Ok(inside)
            }
            None => Err(format!("expected a text in quotes, got {:?}", self.start())),
        }
    }

    /// Parses a type's name in single quotes. Other types are not supported: an error quotes their beginning.
    fn descr(&mut self) -> Result<String> {
        if self.rest().starts_with(['\'', '"']) {
            return Ok(format!("'{}'", self.quoted()?));
        }
        Err(format!("descr: expected the name of a type, got {:?}", self.start()))
    }

    fn flag(&mut self) -> Result<bool> {
        match (self.skip("True"), self.skip("False")) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(format!("fortran_order: expected True or False, got {:?}", self.start())),
        }
    }

    /// Parses lengths in round brackets.
    fn shape(&mut self) -> Result<Vec<usize>> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.skip(")") {
            let text = self.rest();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let length = text[..end].parse();
            shape.push(length.map_err(|_| format!("shape: expected whole numbers, got {:?}", self.start()))?);
            self.0 = &text[end..];
            // Python 2 wrote long numbers so.
            self.skip("L");
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}
