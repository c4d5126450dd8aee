//! Named tensors, as in a file: readers make them, and `Weights` are made from them.
//!
//! Knows names, shapes and elements; knows no model and no file format.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension};

use super::ties::Ties;
use crate::error::{Error, ErrorKind, Result, some_of};

/// Elements that are read at once from a tensor that can be read in parts: what loading needs beside the model.
const PART: usize = 1 << 20;

/// A tensor: its shape, and its elements or a way to read them.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    elements: Elements,
    /// Whether the elements are integers with a scale for each row, which cannot be trained.
    integers: bool,
}

/// Elements in row-major order.
#[derive(Clone)]
enum Elements {
    Held(Arc<Vec<f32>>),
    Whole(Arc<Reader>),
    Parts(Arc<PartReader>),
}

/// Reads all elements of a tensor.
type Reader = dyn Fn() -> Result<Vec<f32>> + Send + Sync;

/// Reads a range of elements of a tensor.
type PartReader = dyn Fn(Range<usize>) -> Result<Vec<f32>> + Send + Sync;

impl Tensor {
    /// Makes a tensor of these elements, in row-major order. There must be as many as the product
    /// of `shape`, which is empty for a scalar.
    pub fn new(shape: impl Into<Vec<usize>>, elements: Vec<f32>) -> Self {
        Self::of(shape, Elements::Held(Arc::new(elements)))
    }

    /// Makes a tensor whose elements `read` reads each time they are asked for, so that they stay in their file.
    pub fn stored(shape: impl Into<Vec<usize>>, read: impl Fn() -> Result<Vec<f32>> + Send + Sync + 'static) -> Self {
        Self::of(shape, Elements::Whole(Arc::new(read)))
    }

    /// Makes a tensor of which `read` reads any range of elements, so that a large one is never in memory as a whole.
    pub fn stored_in_parts(
        shape: impl Into<Vec<usize>>,
        read: impl Fn(Range<usize>) -> Result<Vec<f32>> + Send + Sync + 'static,
    ) -> Self {
        Self::of(shape, Elements::Parts(Arc::new(read)))
    }

    fn of(shape: impl Into<Vec<usize>>, elements: Elements) -> Self {
        Self { shape: shape.into(), elements, integers: false }
    }

    /// Marks the elements as integers with a scale for each row, or as a part of such.
    #[must_use]
    pub(crate) fn with_integers(self, integers: bool) -> Self {
        Self { integers, ..self }
    }

    /// Returns whether a file holds the elements as integers with a scale for each row.
    pub(crate) fn is_of_integers(&self) -> bool {
        self.integers
    }

    /// Returns the length of each axis; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements, in row-major order.
    ///
    /// # Errors
    ///
    /// For a stored tensor, the errors of its reader, of kind [`ErrorKind::Io`](crate::ErrorKind::Io) or
    /// [`ErrorKind::Weights`](crate::ErrorKind::Weights). Returns an error of kind
    /// [`ErrorKind::Weights`](crate::ErrorKind::Weights) if the number of elements is not that of the shape.
    pub fn read(&self) -> Result<Cow<'_, [f32]>> {
        let wanted = self.len();
        let elements = match (&self.elements, wanted) {
            (Elements::Held(elements), _) => Cow::Borrowed(elements.as_slice()),
            (Elements::Whole(read), _) => Cow::Owned(read()?),
            (Elements::Parts(read), Some(len)) => Cow::Owned(read(0..len)?),
            (Elements::Parts(_), None) => Cow::Owned(Vec::new()),
        };
        if wanted == Some(elements.len()) { Ok(elements) } else { Err(self.miscounted(elements.len())) }
    }

    /// Returns the elements as an array of the tensor's shape.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn to_array(&self) -> Result<ArrayD<f32>> {
        let elements = self.read()?.into_owned();
        let count = elements.len();
        ArrayD::from_shape_vec(self.shape.as_slice(), elements).map_err(|_| self.miscounted(count))
    }

    /// Calls `each` with the elements of rows `rows` (of the first axis), part by part and in order. It gets the index
    /// of the part's first row, and the elements, which are whole rows.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and those of `each`.
    pub(crate) fn read_rows(
        &self,
        rows: Range<usize>,
        each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let width = self.shape.iter().skip(1).fold(1, |width: usize, &n| width.saturating_mul(n));
        let (Elements::Parts(read), Some(_)) = (&self.elements, self.len()) else {
            return each(rows.start, &self.read()?[rows.start * width..rows.end * width]);
        };
        let step = (PART / width.max(1)).max(1);
        for first in rows.clone().step_by(step) {
            let part = first..rows.end.min(first + step);
            let elements = read(part.start * width..part.end * width)?;
            if elements.len() != part.len() * width {
                return Err(self.miscounted(elements.len()));
            }
            each(first, &elements)?;
        }
        Ok(())
    }

    /// Reads a range of elements.
    fn read_range(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>> {
        let elements = match &self.elements {
            Elements::Held(elements) => elements.get(range).map(Cow::Borrowed),
            Elements::Whole(read) => read()?.get(range).map(|elements| Cow::Owned(elements.to_vec())),
            Elements::Parts(read) => Some(Cow::Owned(read(range)?)),
        };
        elements.ok_or_else(|| Error::new(ErrorKind::Weights, format!("expected the elements of {:?}", self.shape)))
    }

    /// The number of elements that the shape needs; `None` if it overflows.
    fn len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
    }

    fn miscounted(&self, got: usize) -> Error {
        Error::new(ErrorKind::Weights, format!("expected the elements of {:?}, got {got}", self.shape))
    }

    /// Returns the shape and the elements.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn into_parts(self) -> Result<(Vec<usize>, Vec<f32>)> {
        let read = self.read()?;
        let elements = match read {
            Cow::Owned(elements) => elements,
            Cow::Borrowed(_) => match self.elements {
                Elements::Held(elements) => Arc::unwrap_or_clone(elements),
                Elements::Whole(_) | Elements::Parts(_) => unreachable!("what is borrowed is held"),
            },
        };
        Ok((self.shape, elements))
    }

    /// Makes a tensor of another shape whose elements are these, changed by `change` when they are read. As with
    /// [`stored`](Self::stored), another order of gates costs no copy until then.
    #[must_use]
    pub fn map(
        self,
        shape: impl Into<Vec<usize>>,
        change: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        let integers = self.integers;
        Self::stored(shape, move || Ok(change(&self.read()?))).with_integers(integers)
    }

    /// Makes a tensor of these runs of elements, one behind the other. They are cut out when they
    /// are read, and only as far as needed.
    ///
    /// A tensor that can only be read as a whole is read once for all runs, not once for each.
    #[must_use]
    pub(super) fn runs(self, shape: impl Into<Vec<usize>>, runs: Vec<Range<usize>>) -> Self {
        let integers = self.integers;
        if let Elements::Whole(_) = self.elements {
            let parts = Self::stored(shape, move || {
                let all = self.read()?;
                let run = |run: &Range<usize>| all.get(run.clone()).ok_or_else(|| self.miscounted(all.len()));
                Ok(runs.iter().map(run).collect::<Result<Vec<_>>>()?.concat())
            });
            return parts.with_integers(integers);
        }
        let parts = Self::stored_in_parts(shape, move |wanted| {
            let mut elements = Vec::with_capacity(wanted.len());
            let mut begin = 0_usize;
            for run in &runs {
                let end = begin.saturating_add(run.len());
                let (from, to) = (wanted.start.clamp(begin, end), wanted.end.clamp(begin, end));
                if from < to {
                    elements.extend_from_slice(&self.read_range(run.start + (from - begin)..run.start + (to - begin))?);
                }
                begin = end;
            }
            Ok(elements)
        });
        parts.with_integers(integers)
    }
}

impl<D: Dimension> From<Array<f32, D>> for Tensor {
    /// Makes a tensor of an array's shape and elements. An array in row-major order is not copied.
    fn from(array: Array<f32, D>) -> Self {
        let (shape, count) = (array.shape().to_vec(), array.len());
        let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
        // A part that was cut out of an array still holds the elements of the whole array.
        let (mut elements, first) = array.into_raw_vec_and_offset();
        elements.drain(..first.unwrap_or(0));
        elements.truncate(count);
        Self::new(shape, elements)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = match &self.elements {
            Elements::Held(elements) => Some(elements),
            Elements::Whole(_) | Elements::Parts(_) => None,
        };
        f.debug_struct("Tensor").field("shape", &self.shape).field("held", &held).finish()
    }
}

impl PartialEq for Tensor {
    /// Whether both can be read, and have the same shape and equal elements.
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && matches!((self.read(), other.read()), (Ok(a), Ok(b)) if a == b)
    }
}

/// Tensors by name.
///
/// A tensor of an unsupported type, such as an integer counter in a `state_dict`, is kept by name, shape and type. It
/// is an error only if a model needs it.
#[derive(Clone, Debug, Default)]
pub struct Tensors {
    entries: BTreeMap<String, Entry>,
    /// Names that are other names of tensors.
    ties: Ties,
}

impl PartialEq for Tensors {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Read(Tensor),
    Unread { dtype: String, shape: Vec<usize> },
}

impl Tensors {
    /// Makes an empty set of tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.put(name.into(), Entry::Read(tensor));
    }

    /// Adds the name, shape and type of a tensor of an unsupported type.
    pub fn insert_unread(&mut self, name: impl Into<String>, dtype: impl Into<String>, shape: Vec<usize>) {
        self.put(name.into(), Entry::Unread { dtype: dtype.into(), shape });
    }

    fn put(&mut self, name: String, entry: Entry) {
        self.ties.remove(&name);
        self.entries.insert(name, entry);
    }

    /// Adds tensors that the file has under other names. `said` maps each name that was left out to the name that was
    /// kept. If there is already a tensor of a left-out name, it stays.
    pub(crate) fn tie(&mut self, said: &BTreeMap<String, String>) {
        self.ties = Ties::of(said, |name| self.entries.contains_key(name));
        let tied = self.ties.iter().filter_map(|(name, kept)| Some((name.to_owned(), self.entries.get(kept)?.clone())));
        let tied: Vec<_> = tied.collect();
        self.entries.extend(tied);
    }

    /// Returns the name in the file of the tensor `name`, which may have another name there.
    pub(super) fn kept<'a>(&'a self, name: &'a str) -> &'a str {
        self.ties.kept(name).unwrap_or(name)
    }

    /// Says why `name` is missing although the file says which tensor it names.
    pub(crate) fn trouble(&self, name: &str) -> Option<String> {
        if self.contains(name) { None } else { self.ties.trouble(name) }
    }

    /// Returns the tensor named `name`, if it is there and its type is supported.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        match self.entries.get(name) {
            Some(Entry::Read(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the shape of the tensor named `name`, also if its type is not supported.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| match entry {
            Entry::Read(tensor) => tensor.shape(),
            Entry::Unread { shape, .. } => shape.as_slice(),
        })
    }

    /// Returns whether there is a tensor named `name`, also if its type is not supported.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns the names that begin with `stem`, sorted, without a look at any other name.
    pub(crate) fn names_that_begin(&self, stem: &str) -> impl Iterator<Item = &str> {
        let from = (Bound::Included(stem), Bound::Unbounded);
        self.entries.range::<str, _>(from).map(|(name, _)| name.as_str()).take_while(move |name| name.starts_with(stem))
    }

    /// Returns the tensors of supported types, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().filter_map(|(name, entry)| match entry {
            Entry::Read(tensor) => Some((name.as_str(), tensor)),
            Entry::Unread { .. } => None,
        })
    }

    /// Keeps the tensors whose names `keep` accepts.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|name, _| keep(name));
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Entry> {
        self.entries.remove(name)
    }

    /// Says what to do about the missing tensor `prefix` + `local`: the prefix that the file seems to use, similar
    /// names, or the only tensor that it may be tied to. `fits` says whether a shape would fit.
    pub(crate) fn hint(&self, prefix: &str, local: &str, fits: impl Fn(&[usize]) -> bool) -> String {
        if self.entries.is_empty() {
            return "the file holds no tensors".into();
        }
        let wanted = format!("{prefix}{local}");
        if let Some(trouble) = self.ties.trouble(&wanted) {
            return trouble;
        }
        if !self.names().any(|name| !prefix.is_empty() && name.starts_with(prefix))
            && let Some(hint) = self.other_prefix(prefix, local)
        {
            return hint;
        }
        let mut near: Vec<(usize, &str)> =
            self.names().map(|name| (likeness(name, &wanted), name)).filter(|&(l, _)| 2 * l >= wanted.len()).collect();
        near.sort_by_key(|&(likeness, name)| (std::cmp::Reverse(likeness), name));
        let mut hint = match near.is_empty() {
            true => format!("there is {}", some_of(self.names(), SHOWN)),
            false => format!("near it, there is {}", some_of(near.into_iter().map(|(_, name)| name), SHOWN)),
        };
        let others = self.of_other_layers(local).filter(|name| self.shape(name).is_some_and(&fits));
        if let [other] = others.collect::<Vec<_>>()[..] {
            hint += &format!(
                "; if it is tied to {other}, say so in the metadata, as safetensors.torch.save_model does: \"{wanted}\": \
                 \"{other}\""
            );
        }
        hint
    }

    /// The tensors that are called `local` after a prefix.
    fn of_other_layers(&self, local: &str) -> impl Iterator<Item = &str> {
        let is_prefix = |prefix: &str| prefix.is_empty() || prefix.ends_with('.');
        self.names().filter(move |name| name.strip_suffix(local).is_some_and(is_prefix))
    }

    fn other_prefix(&self, prefix: &str, local: &str) -> Option<String> {
        let mut others: Vec<&str> = self.of_other_layers(local).map(|name| &name[..name.len() - local.len()]).collect();
        if !prefix.is_empty() && others.iter().any(|other| other.ends_with(prefix)) {
            others.retain(|other| other.ends_with(prefix));
        }
        match others[..] {
            [] => None,
            [other] => Some(format!("there is {other}{local}; set \"weights\": \"{other}\"")),
            _ => Some(format!(
                "there is {}; set \"weights\" to what stands before {local}",
                some_of(others.iter().map(|other| format!("{other}{local}")), SHOWN)
            )),
        }
    }
}

impl<N: Into<String>> FromIterator<(N, Tensor)> for Tensors {
    fn from_iter<I: IntoIterator<Item = (N, Tensor)>>(tensors: I) -> Self {
        let mut all = Self::new();
        all.extend(tensors);
        all
    }
}

impl<N: Into<String>> Extend<(N, Tensor)> for Tensors {
    fn extend<I: IntoIterator<Item = (N, Tensor)>>(&mut self, tensors: I) {
        tensors.into_iter().for_each(|(name, tensor)| self.insert(name, tensor));
    }
}

impl Extend<Self> for Tensors {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, all: I) {
        for tensors in all {
            self.entries.extend(tensors.entries);
            self.ties.extend(tensors.ties);
        }
    }
}

/// Returns a warning for each tensor that holds a NaN or an infinity: `w: 1 of 64 elements is NaN or infinite`.
pub fn non_finite(tensors: &Tensors) -> Vec<String> {
    tensors
        .iter()
        .filter_map(|(name, tensor)| {
            let elements = tensor.read().ok()?;
            non_finite_warning(name, elements.iter().filter(|x| !x.is_finite()).count(), elements.len())
        })
        .collect()
}

/// Returns the warning about tensor `name`, in which `bad` of `len` elements are NaN or
/// infinite; `None` if there are none.
pub fn non_finite_warning(name: &str, bad: usize, len: usize) -> Option<String> {
    let verb = if bad == 1 { "is" } else { "are" };
    (bad > 0).then(|| format!("{name}: {bad} of {len} elements {verb} NaN or infinite"))
}

/// How many names a message lists.
const SHOWN: usize = 4;

/// The number of characters that two names share at their beginnings and their ends.
fn likeness(a: &str, b: &str) -> usize {
    let begin = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - begin;
    begin + a.bytes().rev().zip(b.bytes().rev()).take(rest).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::{arr0, s};

    use super::*;

    #[test]
    fn a_tensor_that_is_read_as_a_whole_is_read_once_for_all_runs_of_it() {
        let (rows, reads) = (4 * PART, Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&reads);
        let whole = Tensor::stored([rows, 1], move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(vec![1.0; rows])
        });
        let runs = (0..4).map(|part| part * PART..(part + 1) * PART).collect();
        let mut seen = 0;
        let mut each = |_, elements: &[f32]| {
            seen += elements.len();
            Ok(())
        };
        whole.runs([rows, 1], runs).read_rows(0..rows, &mut each).unwrap();
        assert_eq!((seen, reads.load(Ordering::Relaxed)), (rows, 1));
    }

    #[test]
    fn a_tensor_of_an_array_has_its_shape_and_its_elements_in_row_major_order() {
        let whole = Array::from_shape_fn((3, 4), |(row, column)| f32::from(u8::try_from(4 * row + column).unwrap()));
        let lower = whole.clone().slice_move(s![1.., ..]);
        for array in [whole.clone(), whole.reversed_axes(), lower] {
            let tensor = Tensor::from(array.clone());
            assert_eq!(tensor.shape(), array.shape());
            assert_eq!(tensor.read().unwrap(), array.iter().copied().collect::<Vec<_>>());
            assert_eq!(tensor.to_array().unwrap(), array.into_dyn());
        }
        assert_eq!(Tensor::from(arr0(2.5)).to_array().unwrap(), arr0(2.5).into_dyn());
        assert_eq!(Tensor::from(Array::<f32, _>::zeros((0, 3))).to_array().unwrap().shape(), [0, 3]);
        let error = Tensor::new([2, 3], vec![0.0; 5]).to_array().unwrap_err();
        assert_eq!(error.to_string(), "expected the elements of [2, 3], got 5");
    }

    #[test]
    fn names_are_looked_up_by_their_beginning() {
        let tensors: Tensors =
            ["a", "b.1", "b.2", "ba", "c"].map(|name| (name, Tensor::new([], vec![0.0]))).into_iter().collect();
        assert_eq!(tensors.names_that_begin("b.").collect::<Vec<_>>(), ["b.1", "b.2"]);
        assert_eq!(tensors.names_that_begin("").count(), 5);
        assert_eq!(tensors.names_that_begin("d").count(), 0);
    }
}
