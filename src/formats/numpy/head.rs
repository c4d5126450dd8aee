//! Headers of `.npy` arrays, alone and in `.npz` archives: bytes → types, shapes and places.
//!
//! The claims of a header are checked against the number of bytes before memory is allocated,
//! and its text is read in one pass. Knows no name of a tensor and no file of another format.

use std::io::{Read, Seek};

use ::safetensors::tensor::Dtype;
use zip::ZipArchive;
use zip::read::ZipFile;

use crate::formats::content::NPY;
use crate::formats::strided::MOST_AXES;

/// The longest header that is read. NumPy itself reads 10,000 bytes.
const LONGEST_HEADER: usize = 1 << 16;

/// How many bytes Deflate can make of one.
pub const EXPANSION: u64 = 1032;

/// An error of an array, in words.
type Result<T> = std::result::Result<T, String>;

/// The header of an array, checked against the length of the file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Head {
    /// The type of the elements.
    pub dtype: Dtype,
    /// Whether the most significant byte of a number comes first.
    pub big_endian: bool,
    /// Whether the first axis is contiguous in memory.
    pub fortran: bool,
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// Where the elements begin.
    pub offset: u64,
}

/// Reads the header of an `.npy` file of `length` bytes, and leaves `file` after it.
pub fn read_head(file: impl Read, length: u64) -> Result<Head> {
    let (descr, _, head) = read_any_head(file, length)?;
    head.ok_or_else(|| format!("expected floats, integers or booleans, got type {descr}"))
}

/// Reads a header like [`read_head`]: the name of its type, its shape, and the rest if that type is one of numbers.
pub fn read_any_head(mut file: impl Read, length: u64) -> Result<(String, Vec<usize>, Option<Head>)> {
    let begin = take(&mut file, 8, "header")?;
    if !begin.starts_with(NPY) {
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
    let Some(dtype) = dtype(&descr) else { return Ok((descr, shape, None)) };
    let offset = 8 + u64::from(width) + size as u64;
    let left = length.saturating_sub(offset);
    if size_of_array(dtype, &shape).is_none_or(|bytes| bytes as u64 != left) {
        return Err(format!("expected the bytes of {shape:?} of type {descr}, got {left}"));
    }
    let head = Head { dtype, big_endian: descr.starts_with("'>"), fortran, shape: shape.clone(), offset };
    Ok((descr, shape, Some(head)))
}

/// Returns the bytes of an array; `None` if they are more than memory can address.
pub fn size_of_array(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    // ndarray counts the lengths beside a zero too.
    let mut long = shape.iter().filter(|&&length| length > 0);
    let bytes = long.try_fold(dtype.bitsize() / 8, |bytes: usize, &length| bytes.checked_mul(length))?;
    isize::try_from(bytes).ok()?;
    Some(if shape.contains(&0) { 0 } else { bytes })
}

/// Reads the next `count` bytes, which errors call `what`. Memory grows with what is read.
pub fn take(file: impl Read, count: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes).map_err(|e| format!("{what}: {e}"))?;
    match bytes.len() as u64 {
        got if got < count => Err(format!("{what}: expected {count} bytes, got {got}; the file is cut off")),
        _ => Ok(bytes),
    }
}

/// Opens an archive of `length` bytes.
pub fn open_archive<R: Read + Seek>(file: R, length: u64) -> Result<ZipArchive<R>> {
    let whole = |e| format!("expected a whole archive, as numpy.savez writes one, got {length} bytes: {e}");
    ZipArchive::new(file).map_err(whole)
}

/// Returns the name of an array of an archive.
pub fn array_name<R: Read>(file: &ZipFile<'_, R>) -> String {
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
            if shape.len() > MOST_AXES {
                return Err(format!("shape: expected at most {MOST_AXES} axes, got more"));
            }
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
