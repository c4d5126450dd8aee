//! The meanings of a graph's values: constants, numbers of a shape, inputs, and data that flows through its layers.
//!
//! Knows no operator: `axes` changes values, and the operators' files decide when.

use ndarray::ArrayD;

use super::constant::{Constant, Decoded};
use super::size::{Size, shape_text};
use super::what::What;
use crate::model::PadMode;

/// The meaning of a value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Real numbers from the file.
    Constant(Constant),
    /// Whole numbers: from the file, or computed from shapes. Booleans are 0 and 1.
    Numbers(ArrayD<Size>),
    /// Whole numbers of a quantized tensor, which are too many to compute shapes with.
    Whole(Constant),
    /// One number, repeated.
    Filled(Filled),
    /// Real numbers from the file, repeated along some axes.
    Repeated(Repeated),
    /// An input of the graph.
    Input(Feed),
    /// An input of the graph behind functions and padding, whose features are not told yet.
    Delayed(Box<Delayed>),
    /// A function of tokens.
    Tokens(Tokens),
    /// A result of sorting the rows of the batch by their lengths.
    Sorted(Sorted),
    /// 0, 1, 2, … up to a length that depends on a call.
    Count(Size),
    /// Whether two numbers are equal, which depends on a call.
    Equal(Size, Size),
    /// What is asked of an input of one number.
    Asked(Asked),
    /// Data that flows from the inputs through the layers.
    Data(Data),
    /// Scores of the steps of a sequence, or their softmax.
    Scored(Box<Scored>),
    /// Unsupported data from the file: an error if it is used.
    Unread(String),
}

impl Value {
    /// Returns what it is, in words.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Constant(_) => "constants".into(),
            Self::Numbers(_) | Self::Whole(_) => "whole numbers".into(),
            Self::Filled(filled) => format!("a tensor filled with {}", filled.fill),
            Self::Repeated(repeated) => format!("constants repeated to {}", shape_text(&repeated.shape)),
            Self::Input(_) => "an input of the graph".into(),
            Self::Delayed(_) => "a function of an input of the graph".into(),
            Self::Tokens(_) => "numbers that come of tokens".into(),
            Self::Sorted(_) => "the order of the rows by length".into(),
            Self::Count(size) => format!("the numbers below {size}"),
            Self::Equal(a, b) => format!("whether {a} is {b}"),
            Self::Asked(Asked { input, what, .. }) => format!("whether the input {input:?} {what}"),
            Self::Data(data) => format!("a sequence, or what layers make of it, of axes {}", data.axes_text()),
            Self::Scored(scored) => format!("scores of steps, of axes {}", scored.axes_text()),
            Self::Unread(what) => what.clone(),
        }
    }
}

impl From<Decoded> for Value {
    fn from(decoded: Decoded) -> Self {
        match decoded {
            Decoded::Constant(constant) => Self::Constant(constant),
            Decoded::Numbers(numbers) => Self::Numbers(numbers),
            Decoded::Whole(constant) => Self::Whole(constant),
            Decoded::Unread(what) => Self::Unread(what),
        }
    }
}

/// What is asked of an input of one number, such as whether it is 16000.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The name of the input.
    pub(super) input: String,
    /// The question, in words: `is 16000`.
    pub(super) what: String,
    /// The number that it is compared with.
    pub(super) with: String,
}

/// A tensor of equal elements.
#[derive(Clone, Debug)]
pub(super) struct Filled {
    pub(super) fill: Fill,
    pub(super) shape: Vec<Size>,
}

/// Constants that are repeated along axes in which `shape` is longer. There the constant has length 1.
#[derive(Clone, Debug)]
pub(super) struct Repeated {
    pub(super) constant: Constant,
    pub(super) shape: Vec<Size>,
}

/// The element of a filled tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fill {
    Real(f32),
    Whole(Size),
}

impl std::fmt::Display for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Real(x) => write!(f, "{x}"),
            Self::Whole(n) => write!(f, "{n}"),
        }
    }
}

/// An input of the graph, or a part of it, with its axes in any order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Feed {
    /// The index of the input.
    pub(super) input: usize,
    pub(super) axes: Vec<FeedAxis>,
    /// The axes of the input of which only one element is taken, and that element.
    pub(super) fixed: Vec<(usize, usize)>,
}

/// An input of the graph, and what is done to it before a node shows which of its axes has the features.
#[derive(Clone, Debug)]
pub(super) struct Delayed {
    pub(super) feed: Feed,
    pub(super) changes: Vec<Late>,
}

/// What is done to an input.
#[derive(Clone, Debug)]
pub(super) enum Late {
    /// A function of single numbers.
    Through(What),
    /// Steps before and after those along this axis of the input.
    Padded(usize, Pads),
}

/// Steps before and after others: zeros, or those of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pads {
    pub(super) mode: Option<PadMode>,
    pub(super) before: usize,
    pub(super) after: usize,
}

impl Pads {
    /// Returns how many there are.
    pub(super) fn count(self) -> usize {
        self.before.saturating_add(self.after)
    }
}

/// An axis of (a part of) an input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FeedAxis {
    /// The axis of the input; `None` for an inserted axis of length 1.
    pub(super) source: Option<usize>,
    pub(super) size: Size,
    /// The first element of the input's axis that is included.
    pub(super) start: usize,
    /// Whether all of the input's axis is included.
    pub(super) whole: bool,
    /// The input of lengths by which its rows are sorted.
    pub(super) sorted: Option<usize>,
}

impl FeedAxis {
    pub(super) fn one() -> Self {
        Self { source: None, size: Size::of(1), start: 0, whole: true, sorted: None }
    }
}

/// The results of `TopK` of the rows' lengths, and values computed from them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sorted {
    /// The input that holds the lengths.
    pub(super) lengths: usize,
    pub(super) what: Order,
    /// The number of rows.
    pub(super) rows: Size,
}

/// What is known of the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The lengths, in that order.
    Lengths,
    /// The row at each place.
    Rows,
    /// The place of each row.
    Back,
}

/// Tokens `x`, in the steps by which exporters count negative ones from the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tokens {
    pub(super) feed: Feed,
    pub(super) form: Form,
}

/// A function of tokens `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `x + n`.
    Plus(i64),
    /// Whether `x < 0`.
    Negative,
    /// Whether `x >= 0`.
    NotNegative,
    /// `x` if it is not negative, else 0.
    Kept,
    /// `x + n` if `x` is negative, else 0.
    Shifted(i64),
    /// `x`, or `x + n` if it is negative.
    Wrapped(i64),
}

/// Data that flows from the inputs: parts of links' results, and how they are arranged.
///
/// Each cell of `content` has its segments one after the other along [`Role::Features`]. The
/// dimensions of `content` are the axes of [`Role::Parts`], alone or joined with others, in their order among `axes`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Data {
    pub(super) content: ArrayD<Vec<Segment>>,
    pub(super) axes: Vec<Axis>,
}

/// An axis of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) role: Role,
    pub(super) size: Size,
    /// The input of lengths by which the rows along it are sorted.
    pub(super) sorted: Option<usize>,
}

/// The role of an axis of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An axis of an input: time or batch, as the first recurrent operator will show.
    Open(usize),
    Time,
    Batch,
    /// Separate directions or layers.
    Parts,
    Features,
    /// An axis of length 1.
    One,
    /// An axis along which all elements are the same.
    Stretched,
    /// Several axes as one, slowest first.
    Joined(Vec<Axis>),
}

/// Some of the features of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The link.
    pub(super) link: usize,
    /// The steps.
    pub(super) at: At,
    /// The first feature.
    pub(super) start: usize,
    /// The number of features.
    pub(super) len: usize,
}

/// Which steps of a link's result, or which final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// All steps.
    All,
    /// The last step.
    Last,
    /// The first step.
    First,
    /// The output that each direction computes last.
    Output,
    /// The final hidden state.
    Hidden,
    /// The final cell state.
    Cell,
}

impl Axis {
    pub(super) fn new(role: Role, size: Size) -> Self {
        Self { role, size, sorted: None }
    }

    pub(super) fn one() -> Self {
        Self::new(Role::One, Size::of(1))
    }

    /// Returns how many axes of parts it has.
    pub(super) fn parts(&self) -> usize {
        match &self.role {
            Role::Parts => 1,
            Role::Joined(axes) => axes.iter().map(Self::parts).sum(),
            _ => 0,
        }
    }
}

impl Data {
    /// Returns the index of axis `axis` among the dimensions of the content.
    pub(super) fn part(&self, axis: usize) -> usize {
        self.axes[..axis].iter().map(Axis::parts).sum()
    }

    pub(super) fn position(&self, role: &Role) -> Option<usize> {
        self.axes.iter().position(|axis| axis.role == *role)
    }

    /// Returns all features, cell after cell.
    pub(super) fn flat(&self) -> Vec<Segment> {
        self.segments().cloned().collect()
    }

    /// Fills the same axes with all features of `link`, cell after cell.
    pub(super) fn fill(&mut self, link: usize) {
        let mut start = 0;
        for cell in &mut self.content {
            let len = cell.iter().map(|segment| segment.len).sum();
            *cell = vec![Segment { link, at: At::All, start, len }];
            start += len;
        }
    }

    /// Makes `link`, which has the same features, of all that it has segments of.
    pub(super) fn relink(&mut self, link: usize) {
        self.content.iter_mut().flatten().for_each(|segment| segment.link = link);
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.content.iter().flatten()
    }

    /// Returns the axes in words: `[Time, Batch, Features 64]`.
    pub(super) fn axes_text(&self) -> String {
        format!("[{}]", self.axes.iter().map(Self::axis_text).collect::<Vec<_>>().join(", "))
    }

    pub(super) fn axis_text(axis: &Axis) -> String {
        match &axis.role {
            Role::Open(_) => "time or batch".into(),
            Role::Time => "time".into(),
            Role::Batch => "batch".into(),
            Role::Parts => format!("parts {}", axis.size),
            Role::Features => format!("features {}", axis.size),
            Role::One => "1".into(),
            Role::Stretched => format!("the same {} times", axis.size),
            Role::Joined(axes) => axes.iter().map(Self::axis_text).collect::<Vec<_>>().join(" × "),
        }
    }
}

/// Scores of steps, or their softmax.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// What the steps are compared with, unless the scores are given.
    pub(super) query: Option<Data>,
    /// The steps, or the scores themselves: one feature of each step.
    pub(super) key: Data,
    pub(super) axes: Vec<ScoreAxis>,
    /// The factor of the scores.
    pub(super) factor: f32,
    /// Whether they have been through the softmax.
    pub(super) is_softmax: bool,
    /// The value that they have been multiplied with, step by step.
    pub(super) value: Option<Data>,
}

/// An axis of scores.
#[derive(Clone, Debug)]
pub(super) struct ScoreAxis {
    pub(super) mark: Mark,
    pub(super) axis: Axis,
}

/// What an axis of scores counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Rows of the batch, or separate parts.
    Others,
    /// Steps of the query.
    Query,
    /// Steps of the key.
    Key,
    /// Features of the value.
    Features,
    /// An axis of length 1.
    One,
}

impl ScoreAxis {
    pub(super) fn one() -> Self {
        Self { mark: Mark::One, axis: Axis::one() }
    }

    pub(super) fn is_one(&self) -> bool {
        self.mark == Mark::One
    }

    pub(super) fn size(&self) -> &Size {
        &self.axis.size
    }
}

impl Scored {
    pub(super) fn axes_text(&self) -> String {
        let of = |axis: &ScoreAxis| match axis.mark {
            Mark::Query => "steps of the query".into(),
            Mark::Key => "steps of the key".into(),
            Mark::Others | Mark::Features | Mark::One => Data::axis_text(&axis.axis),
        };
        format!("[{}]", self.axes.iter().map(of).collect::<Vec<_>>().join(", "))
    }

    pub(super) fn position(&self, mark: Mark) -> Option<usize> {
        self.axes.iter().position(|axis| axis.mark == mark)
    }
}
