//! Tensors of an ONNX file. Real numbers are read when a weight asks for them, whole numbers immediately.
//!
//! Knows types, shapes and where elements are; knows no graph.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use super::change::Change;
use super::misfit;
use super::proto;
use super::size::Size;
use super::source::{Source, Sources};
use crate::error::{Error, ErrorKind, Result};
use crate::weights::Tensor;

/// The most axes of a tensor that is read.
pub(super) const MAX_RANK: usize = 8;
/// The most whole numbers of a tensor. Shapes, axes and indices are short, so a longer one is no shape arithmetic.
pub(super) const MAX_NUMBERS: usize = 4096;
/// The most changes of a weight before it is used.
const MAX_DEPTH: usize = 32;
/// The most tensors that are read for a weight. One that is added to itself is read twice, and so on at each depth.
const MAX_READS: usize = 1024;

/// Real numbers that do not depend on a call.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) tensor: Tensor,
    /// The number of changes between the file and the tensor. Each is one call deeper.
    depth: usize,
    /// The number of tensors that are read for it, including itself.
    reads: usize,
    /// The tensor of the file that it is, if it is one.
    pub(super) origin: Option<Arc<Origin>>,
}

/// A tensor of the file, counted in the order of decoding, and how its elements are rearranged.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) tensor: usize,
    pub(super) changes: Vec<Change>,
}

impl Constant {
    pub(super) fn new(tensor: Tensor) -> Self {
        Self { tensor, depth: 0, reads: 1, origin: None }
    }

    /// Returns the constant, marked as that tensor of the file.
    pub(super) fn from(self, origin: Option<Arc<Origin>>) -> Self {
        Self { origin, ..self }
    }

    pub(super) fn dims(&self) -> &[usize] {
        self.tensor.shape()
    }

    pub(super) fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Creates a tensor of `shape` whose elements are all `x`.
    pub(super) fn filled(x: f32, shape: Vec<usize>, limit: usize) -> Result<Self> {
        let dims = shape.clone();
        Self::computed(Vec::new(), shape, limit, move |_| ArrayD::from_elem(IxDyn(&dims), x))
    }

    /// Returns whole numbers of the file as real ones.
    pub(super) fn of_numbers(numbers: &ArrayD<Size>) -> Result<Self> {
        let known = numbers.iter().map(Size::value).collect::<Option<Vec<_>>>();
        let known = known.ok_or_else(|| misfit("expected numbers of the file, got sizes of a call".into()))?;
        #[expect(clippy::cast_precision_loss, reason = "what Cast does")]
        let reals = known.into_iter().map(|n| n as f32).collect();
        Ok(Self::new(Tensor::new(numbers.shape(), reals)))
    }

    /// Returns the element, if there is only one.
    pub(super) fn scalar(&self) -> Result<Option<f32>> {
        if self.len() == 1 { Ok(Some(self.tensor.read()?[0])) } else { Ok(None) }
    }

    /// Returns the same elements, rearranged.
    pub(super) fn changed(self, change: Change) -> Result<Self> {
        let dims = self.tensor.shape().to_vec();
        let shape = change.shape(&dims);
        let (depth, reads) = deeper(&[&self])?;
        let origin = self.origin.map(|origin| {
            let changes = origin.changes.iter().cloned().chain([change.clone()]).collect();
            Arc::new(Origin { tensor: origin.tensor, changes })
        });
        let tensor = self.tensor.map(shape, move |elements| {
            let array = ArrayD::from_shape_vec(IxDyn(&dims), elements.to_vec()).expect("as many as the shape says");
            change.apply(array).iter().copied().collect()
        });
        Ok(Self { tensor, depth, reads, origin })
    }

    /// Returns `f` of the elements of several constants; the result has `shape`.
    ///
    /// It has at most `limit` elements: no graph needs more than its file holds.
    pub(super) fn computed(
        of: Vec<Self>,
        shape: Vec<usize>,
        limit: usize,
        f: impl Fn(&[ArrayD<f32>]) -> ArrayD<f32> + Send + Sync + 'static,
    ) -> Result<Self> {
        let (depth, reads) = deeper(&of.iter().collect::<Vec<_>>())?;
        if !is_possible(&shape) || shape.iter().product::<usize>() > limit {
            return Err(misfit(format!("expected at most {limit} elements, as the file has, got {shape:?}")));
        }
        let tensor = Tensor::stored(shape, move || {
            let arrays: Vec<_> = of.iter().map(|constant| constant.array()).collect::<Result<_>>()?;
            Ok(f(&arrays).iter().copied().collect())
        });
        Ok(Self { tensor, depth, reads, origin: None })
    }

    pub(super) fn array(&self) -> Result<ArrayD<f32>> {
        let elements = self.tensor.read()?.into_owned();
        Ok(ArrayD::from_shape_vec(IxDyn(self.dims()), elements).expect("as many as the shape says"))
    }

    /// Whether every element is zero.
    pub(super) fn is_zero(&self) -> Result<bool> {
        Ok(self.tensor.read()?.iter().all(|&x| x == 0.0))
    }
}

/// Returns the depth and the reads of a constant that is made of `of`.
fn deeper(of: &[&Constant]) -> Result<(usize, usize)> {
    let depth = 1 + of.iter().map(|constant| constant.depth).max().unwrap_or(0);
    let reads = of.iter().fold(1, |reads: usize, constant| reads.saturating_add(constant.reads));
    if depth > MAX_DEPTH {
        return Err(misfit(format!("a weight is rearranged more than {MAX_DEPTH} times before it is used")));
    }
    if reads > MAX_READS {
        return Err(misfit(format!("a weight is made of more than {MAX_READS} others")));
    }
    Ok((depth, reads))
}

/// ONNX's names of the types of elements, by their numbers.
const TYPES: [&str; 24] = [
    "undefined",
    "float",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "double",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "uint4",
    "int4",
    "float4e2m1",
];

/// The types of elements that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F64,
    F16,
    Bf16,
    Bool,
    Int { bytes: usize, signed: bool },
}

impl Element {
    /// Returns the type with ONNX's number `data_type`.
    fn of(data_type: i32) -> Option<Self> {
        Some(match data_type {
            1 => Self::F32,
            2 => Self::Int { bytes: 1, signed: false },
            3 => Self::Int { bytes: 1, signed: true },
            4 => Self::Int { bytes: 2, signed: false },
            5 => Self::Int { bytes: 2, signed: true },
            6 => Self::Int { bytes: 4, signed: true },
            7 => Self::Int { bytes: 8, signed: true },
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::Int { bytes: 4, signed: false },
            13 => Self::Int { bytes: 8, signed: false },
            16 => Self::Bf16,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::Bf16 => 2,
            Self::Bool => 1,
            Self::Int { bytes, .. } => bytes,
        }
    }

    fn is_real(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }

    /// Whether elements may be those of a quantized tensor.
    fn is_narrow(self) -> bool {
        matches!(self, Self::Int { bytes: 1..=4, .. })
    }
}

/// Whether elements of ONNX's type `data_type` are real numbers.
pub(super) fn is_real(data_type: i32) -> bool {
    Element::of(data_type).is_some_and(Element::is_real)
}

/// Whether an array can have this shape, counted in bytes too.
/// An axis of length 0 does not allow the others to be longer.
pub(super) fn is_possible(dims: &[usize]) -> bool {
    let longest = usize::MAX / 16;
    dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).is_some_and(|n| n <= longest)
}

/// The place of a tensor's raw bytes.
enum Raw {
    Held(Vec<u8>),
    At { source: Source, offset: u64, length: u64 },
}

impl Raw {
    fn length(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::At { length, .. } => *length,
        }
    }

    /// Reads the bytes in `range`, which must be there.
    fn read(&self, range: Range<usize>) -> Result<Vec<u8>> {
        match self {
            Self::Held(held) => Ok(held[range].to_vec()),
            Self::At { source, offset, .. } => {
                let mut buffer = vec![0; range.len()];
                source.read(offset + range.start as u64, &mut buffer)?;
                Ok(buffer)
            }
        }
    }
}

/// The contents of a tensor of the file.
pub(super) enum Decoded {
    /// Real numbers.
    Constant(Constant),
    /// Whole numbers.
    Numbers(ArrayD<Size>),
    /// Whole numbers of a quantized tensor, which are too many to compute shapes with.
    Whole(Constant),
    /// An unsupported tensor, with the reason.
    Unread(String),
}

/// Decodes a tensor of the file.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`] if its elements are missing, or their number is not that
/// of its shape. Returns an error of kind [`ErrorKind::Model`] if they are in a file that no model may name.
pub(super) fn decode(mut tensor: proto::Tensor, sources: &mut Sources) -> Result<Decoded> {
    let wrong = |text: String| Error::new(ErrorKind::Weights, text);
    let dims = tensor.dims.iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|e| wrong(format!("expected lengths of axes, got {:?}", tensor.dims)).because(e))?;
    let Some(element) = Element::of(tensor.data_type) else {
        let name = usize::try_from(tensor.data_type).ok().and_then(|n| TYPES.get(n)).copied();
        let name = name.map_or_else(|| format!("element type {}", tensor.data_type), str::to_owned);
        return Ok(Decoded::Unread(format!("a tensor of {name}, which is not read: convert it to float or float16")));
    };
    if dims.len() > MAX_RANK {
        return Ok(Decoded::Unread(format!("a tensor of {} axes, which is more than {MAX_RANK}", dims.len())));
    }
    if !is_possible(&dims) {
        return Err(wrong(format!("expected what fits memory, got a tensor of {dims:?}")));
    }
    let elements: usize = dims.iter().product();
    if tensor.segment.is_some() {
        return Err(wrong("expected a whole tensor, got a segment of one".into()));
    }
    let raw = raw(&mut tensor, elements * element.bytes(), sources)?;
    if let Some(raw) = &raw
        && raw.length() != (elements * element.bytes()) as u64
    {
        let (wanted, got) = (elements * element.bytes(), raw.length());
        return Err(wrong(format!("expected {wanted} bytes for {element:?} {dims:?}, got {got}")));
    }
    if element.is_real() {
        return reals(tensor, element, dims, elements, raw).map(|t| Decoded::Constant(Constant::new(t)));
    }
    if elements > MAX_NUMBERS && element.is_narrow() {
        return reals(tensor, element, dims, elements, raw).map(|t| Decoded::Whole(Constant::new(t)));
    }
    if elements > MAX_NUMBERS {
        return Ok(Decoded::Unread(format!("{elements} whole numbers, which are more than {MAX_NUMBERS}")));
    }
    let numbers = match raw {
        Some(raw) => {
            raw.read(0..elements * element.bytes())?.chunks(element.bytes()).map(|x| whole(element, x)).collect()
        }
        None => whole_numbers(&tensor, element),
    };
    if numbers.len() != elements {
        return Err(wrong(format!("expected {elements} elements for {dims:?}, got {}", numbers.len())));
    }
    let numbers = numbers.into_iter().map(Size::of).collect();
    Ok(Decoded::Numbers(ArrayD::from_shape_vec(IxDyn(&dims), numbers).expect("as many as the shape says")))
}

/// Brings the elements of `tensor` into it, wherever they are.
///
/// # Errors
///
/// As [`decode`].
pub(super) fn fill(tensor: &mut proto::Tensor, sources: &mut Sources) -> Result<()> {
    if tensor.left.is_empty() && tensor.external_data.is_empty() {
        return Ok(());
    }
    let wrong = |text: String| Error::new(ErrorKind::Weights, text);
    let bytes = Element::of(tensor.data_type)
        .map(Element::bytes)
        .and_then(|each| tensor.dims.iter().try_fold(each, |n, &d| n.checked_mul(usize::try_from(d).ok()?)));
    let bytes = bytes.ok_or_else(|| wrong(format!("expected what can be read, got a tensor of {:?}", tensor.dims)))?;
    if let Some(raw) = raw(tensor, bytes, sources)? {
        if raw.length() != bytes as u64 {
            return Err(wrong(format!("expected {bytes} bytes for {:?}, got {}", tensor.dims, raw.length())));
        }
        tensor.raw_data = Some(raw.read(0..bytes)?);
    }
    tensor.left.clear();
    tensor.external_data.clear();
    tensor.data_location = 0;
    Ok(())
}

/// Returns the place of the raw bytes, if there are any. Elements may also be in typed fields.
fn raw(tensor: &mut proto::Tensor, bytes: usize, sources: &mut Sources) -> Result<Option<Raw>> {
    let wrong = |text: &str| Err(Error::new(ErrorKind::Weights, text));
    const EXTERNAL: i32 = 1;
    let raw = if tensor.data_location == EXTERNAL {
        Some(external(&tensor.external_data, bytes as u64, sources)?)
    } else if let [left] = tensor.left[..] {
        if !(tensor.float_data.is_empty() && tensor.double_data.is_empty() && tensor.raw_data.is_none()) {
            return wrong("expected the elements in one piece, got several");
        }
        Some(Raw::At { source: sources.own.clone(), offset: left.offset, length: left.length })
    } else if tensor.left.is_empty() {
        tensor.raw_data.take().map(Raw::Held)
    } else {
        return wrong("expected the elements in one piece, got several");
    };
    if let Some(Raw::At { source, offset, length }) = &raw
        && offset.checked_add(*length).is_none_or(|end| end > source.length())
    {
        let (end, have) = (u128::from(*offset) + u128::from(*length), source.length());
        let text = format!("expected a file of at least {end} bytes, got {have}; it is cut off");
        return Err(Error::new(ErrorKind::Weights, text));
    }
    Ok(raw)
}

fn external(entries: &[proto::Entry], bytes: u64, sources: &mut Sources) -> Result<Raw> {
    let wrong = |text: String| Error::new(ErrorKind::Model, format!("external data: {text}"));
    let (mut location, mut offset, mut length) = (None, 0, bytes);
    for proto::Entry { key, value } in entries {
        let number = || value.parse().map_err(|e| wrong(format!("{key}: expected a number, got {value:?}")).because(e));
        match key.as_str() {
            "location" => location = Some(value),
            "offset" => offset = number()?,
            "length" => length = number()?,
            // It is a checksum of the whole file, which is not read.
            "checksum" => {}
            _ => return Err(wrong(format!("expected location, offset, length or checksum, got {key:?}"))),
        }
    }
    let location = location.ok_or_else(|| wrong("expected a location, got none".into()))?;
    Ok(Raw::At { source: sources.external(location)?, offset, length })
}

#[expect(clippy::cast_possible_truncation, reason = "F64 is rounded to the nearest f32, as everywhere")]
#[expect(clippy::cast_precision_loss, reason = "32-bit whole numbers are biases, which are rounded once")]
fn reals(
    tensor: proto::Tensor,
    element: Element,
    dims: Vec<usize>,
    elements: usize,
    raw: Option<Raw>,
) -> Result<Tensor> {
    if let Some(raw) = raw {
        return Ok(Tensor::stored_in_parts(dims, move |range| read_reals(&raw, element, range)));
    }
    // Halves without raw bytes are stored as their bits in 32-bit numbers.
    let bits = |x: i32| x as u16;
    let held: Vec<f32> = match element {
        Element::F64 => tensor.double_data.iter().map(|&x| x as f32).collect(),
        Element::F16 => tensor.int32_data.iter().map(|&x| f16::from_bits(bits(x)).to_f32()).collect(),
        Element::Bf16 => tensor.int32_data.iter().map(|&x| bf16::from_bits(bits(x)).to_f32()).collect(),
        Element::Int { .. } => whole_numbers(&tensor, element).into_iter().map(|n| n as f32).collect(),
        _ => tensor.float_data,
    };
    if held.len() != elements {
        let text = format!("expected {elements} elements for {dims:?}, got {}", held.len());
        return Err(Error::new(ErrorKind::Weights, text));
    }
    let held: Arc<[f32]> = held.into();
    Ok(Tensor::stored(dims, move || Ok(held.to_vec())))
}

#[expect(clippy::cast_possible_truncation, reason = "F64 is rounded to the nearest f32, as everywhere")]
#[expect(clippy::cast_precision_loss, reason = "32-bit whole numbers are biases, which are rounded once")]
fn read_reals(raw: &Raw, element: Element, range: Range<usize>) -> Result<Vec<f32>> {
    let begin = range.start * element.bytes();
    if let (Element::F32, Raw::At { source, offset, .. }) = (element, raw) {
        let mut floats = vec![0_f32; range.len()];
        source.read(offset + begin as u64, bytemuck::cast_slice_mut(&mut floats))?;
        return Ok(floats);
    }
    let bytes = raw.read(begin..range.end * element.bytes())?;
    Ok(bytes
        .chunks_exact(element.bytes())
        .map(|x| match element {
            Element::F64 => f64::from_le_bytes(x.try_into().expect("eight bytes")) as f32,
            Element::F16 => f16::from_le_bytes([x[0], x[1]]).to_f32(),
            Element::Bf16 => bf16::from_le_bytes([x[0], x[1]]).to_f32(),
            Element::Int { .. } => whole(element, x) as f32,
            _ => f32::from_le_bytes(x.try_into().expect("four bytes")),
        })
        .collect())
}

/// Returns the whole number of little-endian bytes.
fn whole(element: Element, bytes: &[u8]) -> i64 {
    let negative = matches!(element, Element::Int { signed: true, .. }) && bytes.last().is_some_and(|&b| b >= 0x80);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(all)
}

/// Returns the whole numbers in typed fields.
fn whole_numbers(tensor: &proto::Tensor, element: Element) -> Vec<i64> {
    match element {
        Element::Int { bytes: 8, signed: true } => tensor.int64_data.clone(),
        Element::Int { bytes: 4 | 8, signed: false } => {
            tensor.uint64_data.iter().map(|&x| i64::try_from(x).unwrap_or(i64::MAX)).collect()
        }
        _ => tensor.int32_data.iter().map(|&x| i64::from(x)).collect(),
    }
}
