//! The layers that a graph turns out to be: links, each on the one before it, with their weights.
//!
//! A graph may go two ways from one link (`x · sigmoid(x)`, outputs beside final states); in the end one path is the
//! model. Knows layers; knows no operator.

use super::axes::misfit;
use super::constant::Constant;
use super::value::{At, Data, Segment};
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::{Direction, LayerKind, Merge, Padding, Recurrent, Select};

/// All links, the input sequence first.
pub(super) struct Chain {
    links: Vec<Link>,
}

/// A layer, or what will be a part of one.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) parent: Option<usize>,
    pub(super) what: What,
    /// How many features it gives.
    pub(super) features: usize,
    /// By the names that they have after the layer's prefix.
    pub(super) tensors: Vec<(String, Constant)>,
    /// Which node of the graph it is; a stack whose outputs are merged is the node that gave them.
    pub(super) serial: usize,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// The input sequence, as it comes.
    Source,
    Layer(LayerKind),
    /// The input sequence, each feature times its [`SCALE`], plus its [`SHIFT`]: a part of the layer that takes it.
    Scaled,
    /// Last step first: a part of a layer that goes backwards.
    Reversed,
    /// `erf(x)`: a part of a Gelu.
    Erf,
    /// `x · (1 + erf(x / √2))`: twice a Gelu.
    TwiceGelu,
}

impl What {
    fn activation(activation: Activation) -> Self {
        Self::Layer(LayerKind::Activation(activation))
    }
}

/// The factors of [`What::Scaled`], one for each feature.
pub(super) const SCALE: &str = "scale";

/// What [`What::Scaled`] adds, if anything.
pub(super) const SHIFT: &str = "shift";

/// Features of a link: start and length of each run, in order.
pub(super) type Runs = Vec<(usize, usize)>;

impl Chain {
    pub(super) fn new() -> Self {
        Self { links: Vec::new() }
    }

    pub(super) fn link(&self, index: usize) -> &Link {
        &self.links[index]
    }

    /// The link of the input sequence.
    pub(super) fn source(&mut self, features: usize) -> usize {
        self.add(Link { parent: None, what: What::Source, features, tensors: Vec::new(), serial: 0 })
    }

    fn add(&mut self, link: Link) -> usize {
        self.links.push(link);
        self.links.len() - 1
    }

    /// The input sequence of link `source`, scaled.
    pub(super) fn scaled_source(&mut self, source: usize, scale: Constant, shift: Option<Constant>) -> usize {
        let features = self.links[source].features;
        let shift = shift.map(|shift| (SHIFT.to_owned(), shift));
        let tensors = [(SCALE.to_owned(), scale)].into_iter().chain(shift).collect();
        self.add(Link { parent: Some(source), what: What::Scaled, features, tensors, serial: self.links.len() })
    }

    /// A layer with weights after link `parent`.
    pub(super) fn layer(
        &mut self,
        parent: Option<usize>,
        kind: LayerKind,
        features: usize,
        tensors: Vec<(String, Constant)>,
    ) -> usize {
        let serial = self.links.len();
        self.add(Link { parent, what: What::Layer(kind), features, tensors, serial })
    }

    /// What `what`, which has no weights, makes of link `parent`; the same link each time.
    pub(super) fn child(&mut self, parent: usize, what: What, features: usize) -> usize {
        let same = |link: &Link| link.parent == Some(parent) && link.what == what;
        let serial = self.links.len();
        self.links
            .iter()
            .position(same)
            .unwrap_or_else(|| self.add(Link { parent: Some(parent), what, features, tensors: Vec::new(), serial }))
    }

    /// Link `of` as another layer with the same weights and input: what became of its outputs was told later.
    pub(super) fn instead(&mut self, of: usize, kind: LayerKind, features: usize) -> usize {
        let what = What::Layer(kind);
        let link = self.links[of].clone();
        let same = |other: &Link| (other.parent, other.serial) == (link.parent, link.serial) && other.what == what;
        match self.links.iter().position(same) {
            Some(link) => link,
            None => self.add(Link { what, features, ..link }),
        }
    }

    pub(super) fn is_one_hot(&self, link: usize) -> bool {
        matches!(self.links[link].what, What::Layer(LayerKind::OneHot(_)))
    }

    pub(super) fn stack(&self, link: usize) -> Option<&Recurrent> {
        match &self.links[link].what {
            What::Layer(LayerKind::Recurrent(stack)) => Some(stack),
            _ => None,
        }
    }

    /// The link that gives `segments`, and which of its features they are: where they are of one moment, a select layer
    /// is put in.
    pub(super) fn resolve(&mut self, segments: &[Segment]) -> Result<(usize, Runs)> {
        let Some(Segment { link, at, .. }) = segments.first().cloned() else {
            return Err(misfit("no features".into()));
        };
        if segments.iter().any(|segment| segment.link != link) {
            return Err(misfit("joins what several layers give: this is no chain of layers".into()));
        }
        let runs = segments.iter().map(|segment| (segment.start, segment.len)).collect();
        let one = segments.iter().all(|segment| segment.at == at);
        let select = match at {
            At::All if one => return Ok((link, runs)),
            _ if self.is_input(link) => return Err(misfit("a step of the input, before an RNN, LSTM or GRU".into())),
            At::Hidden if one => Select::FinalHidden,
            At::Output if one => Select::LastOutput,
            At::Last if one => Select::LastStep,
            At::Cell if one => return Err(misfit("a final cell state as the input of a layer".into())),
            _ if self.are_computed_last(link, segments) => Select::LastOutput,
            _ => return Err(misfit("a step that is neither the last nor what a direction computes last".into())),
        };
        let features = self.links[link].features;
        Ok((self.child(link, What::Layer(LayerKind::Select(select)), features), runs))
    }

    /// Whether each of `segments` is what its direction computes last.
    fn are_computed_last(&self, link: usize, segments: &[Segment]) -> bool {
        let Some(stack) = self.stack(link).filter(|stack| !stack.is_merged()) else { return false };
        segments.iter().all(|segment| {
            let way = segment.start / stack.state_size();
            let in_one = segment.start + segment.len <= (way + 1) * stack.state_size();
            let reverse = way == 1 || stack.direction == Direction::Reverse;
            in_one && segment.at == if reverse { At::First } else { At::Last }
        })
    }

    /// The link that gives `data` whose features stand in one axis, and which of its features they are.
    pub(super) fn resolve_data(&mut self, data: &Data) -> Result<(usize, Runs)> {
        match data.content.first() {
            Some(cell) if data.content.ndim() == 0 => self.resolve(&cell.clone()),
            _ => Err(misfit(format!("directions or layers apart, as the input of a layer: {}", data.axes_text()))),
        }
    }

    /// Whether `runs` are all features of `link`, in order.
    pub(super) fn is_whole(&self, link: usize, runs: &Runs) -> bool {
        runs[..] == [(0, self.links[link].features)]
    }

    /// `data` through `activation`.
    pub(super) fn activate(&mut self, data: Data, activation: Activation) -> Result<Data> {
        self.through(data, What::activation(activation), activation.is_elementwise())
    }

    /// Whether `link` is the input sequence, or what is no layer of it yet.
    fn is_input(&self, link: usize) -> bool {
        matches!(self.links[link].what, What::Source | What::Scaled | What::Reversed)
    }

    /// `data` through `what`, which has no weights. Elementwise it may be a part of the features, or apart.
    pub(super) fn through(&mut self, mut data: Data, what: What, elementwise: bool) -> Result<Data> {
        if what != What::Reversed && data.segments().any(|segment| self.is_input(segment.link)) {
            return Err(misfit("a function of the input, before an RNN, LSTM, GRU, Gemm, MatMul or Gather".into()));
        }
        if data.content.ndim() > 0 && elementwise && data.segments().all(|segment| segment.at == At::All) {
            for segment in data.content.iter_mut().flatten() {
                segment.link = self.child(segment.link, what.clone(), self.links[segment.link].features);
            }
            return Ok(data);
        }
        let (link, runs) = self.resolve_data(&data)?;
        if !elementwise && !self.is_whole(link, &runs) {
            return Err(misfit("a function of all features that gets a part of them".into()));
        }
        let link = self.child(link, what, self.links[link].features);
        data.content.fill(segments(link, runs));
        Ok(data)
    }

    /// `alpha · data + beta`.
    pub(super) fn scaled(&mut self, data: Data, alpha: f32, beta: f32) -> Result<Data> {
        if (alpha, beta) == (1.0, 0.0) {
            return Ok(data);
        }
        if (alpha, beta) == (0.5, 0.0) {
            if let Some(mean) = self.averaged(&data) {
                return Ok(mean);
            }
            if data.content.ndim() == 0
                && let Ok((link, _)) = self.resolve_data(&data)
                && self.links[link].what == What::TwiceGelu
            {
                let parent = self.links[link].parent.expect("a Gelu is of something");
                let gelu = self.child(parent, What::activation(Activation::Gelu), self.links[parent].features);
                let mut data = data;
                data.content.iter_mut().flatten().for_each(|segment| segment.link = gelu);
                return Ok(data);
            }
        }
        let affine = Activation::Affine { alpha: Number::new(alpha), beta: Number::new(beta) };
        self.activate(data, affine)
    }

    /// Half of a sum of directions: their mean.
    fn averaged(&mut self, data: &Data) -> Option<Data> {
        let segment = data.segments().next()?.clone();
        let mut stack = self.stack(segment.link)?.clone();
        if stack.merge != Merge::Sum || data.segments().any(|other| other.link != segment.link) {
            return None;
        }
        stack.merge = Merge::Average;
        let link = self.instead(segment.link, stack.into(), self.links[segment.link].features);
        let mut data = data.clone();
        data.content.iter_mut().flatten().for_each(|segment| segment.link = link);
        Some(data)
    }

    /// Both directions of one layer added or multiplied, if `a` and `b` are that.
    pub(super) fn merged(&mut self, a: &Data, b: &Data, merge: Merge) -> Option<Data> {
        let alone = |data: &Data| match data.content.first().map(Vec::as_slice) {
            Some([segment]) if data.content.len() == 1 => Some(segment.clone()),
            _ => None,
        };
        let (x, y) = (alone(a)?, alone(b)?);
        let mut stack = self.stack(x.link).filter(|stack| stack.directions() == 2 && !stack.is_merged())?.clone();
        let size = stack.state_size();
        let mut starts = [x.start, y.start];
        starts.sort_unstable();
        if x.link != y.link || a.axes != b.axes || starts != [0, size] || (x.len, y.len) != (size, size) {
            return None;
        }
        let (forward, reverse) = if x.start == 0 { (x.at, y.at) } else { (y.at, x.at) };
        let at = match (forward, reverse) {
            (At::Last, At::First) => At::Output,
            // Held, the output that is computed last is the final state.
            (At::Hidden, At::Hidden) => {
                stack.padding = Padding::Held;
                At::Output
            }
            (a, b) if a == b && a != At::Cell => a,
            _ => return None,
        };
        stack.merge = merge;
        let link = self.instead(x.link, stack.into(), size);
        let mut data = a.clone();
        data.content.fill(vec![Segment { link, at, start: 0, len: size }]);
        Some(data)
    }

    /// `a · b` where one is a function of the other: the activation that is their product.
    pub(super) fn gated(&mut self, a: &Data, b: &Data) -> Option<Data> {
        if a.axes != b.axes || a.content.ndim() != 0 || b.content.ndim() != 0 {
            return None;
        }
        let (x, runs) = self.resolve_data(a).ok()?;
        let (gate, others) = self.resolve_data(b).ok()?;
        if runs != others {
            return None;
        }
        let what = self.product_of(x, gate)?;
        let of = match self.half(x) {
            Some(whole) if !self.descends(gate, x) => whole,
            _ => x,
        };
        let link = self.child(of, what, self.links[of].features);
        let mut data = a.clone();
        data.content.fill(segments(link, runs));
        Some(data)
    }

    /// What `x · gate` is where `gate` is a function of `x`.
    fn product_of(&self, x: usize, gate: usize) -> Option<What> {
        // Root of 1/2, as an exporter rounds it.
        let is_root = |alpha: Number| (alpha.get() - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6;
        let functions = |from: usize| -> Option<Vec<Option<Activation>>> {
            let mut functions = Vec::new();
            let mut at = gate;
            while at != from && functions.len() < 4 {
                functions.push(match &self.links[at].what {
                    What::Layer(LayerKind::Activation(activation)) => Some(*activation),
                    What::Erf => None,
                    _ => return None,
                });
                at = self.links[at].parent?;
            }
            (at == from).then_some(functions)
        };
        use Activation::{Affine, HardSigmoid, HardSilu, Mish, Sigmoid, Silu, Softplus, Tanh};
        // Of x / √2, outermost first: 1 + erf, and half of it.
        let is = |affine: Option<Activation>, a: f32, b: f32| {
            affine == Some(Affine { alpha: Number::new(a), beta: Number::new(b) })
        };
        let erf = |functions: &[Option<Activation>]| match *functions {
            [one, None, Some(Affine { alpha, beta })] => is(one, 1.0, 1.0) && is_root(alpha) && beta.get() == 0.0,
            _ => false,
        };
        if let Some(functions) = functions(x) {
            return match functions[..] {
                [Some(Sigmoid)] => Some(What::activation(Silu)),
                [Some(HardSigmoid { alpha, beta })] => Some(What::activation(HardSilu { alpha, beta })),
                [Some(Tanh), Some(Softplus)] => Some(What::activation(Mish)),
                [half, ..] if is(half, 0.5, 0.0) && erf(&functions[1..]) => Some(What::activation(Activation::Gelu)),
                _ if erf(&functions) => Some(What::TwiceGelu),
                _ => None,
            };
        }
        let half = self.half(x)?;
        functions(half).filter(|f| erf(f)).map(|_| What::activation(Activation::Gelu))
    }

    /// The logarithm of `data`, a sigmoid or a softmax: one function, which is exact where two are not.
    pub(super) fn logarithm(&mut self, mut data: Data) -> Result<Data> {
        let (link, runs) = self.resolve_data(&data)?;
        let log = match self.links[link].what {
            What::Layer(LayerKind::Activation(Activation::Sigmoid)) => Activation::LogSigmoid,
            What::Layer(LayerKind::Activation(Activation::Softmax)) => Activation::LogSoftmax,
            _ => return Err(misfit("the logarithm of something else than a sigmoid or a softmax".into())),
        };
        let parent = self.links[link].parent.expect("a function is of something");
        let link = self.child(parent, What::activation(log), self.links[parent].features);
        data.content.fill(segments(link, runs));
        Ok(data)
    }

    /// `a − b`, where `b` is the hyperbolic tangent of `a`.
    pub(super) fn shrunk(&mut self, a: &Data, b: &Data) -> Option<Data> {
        let (x, tanh) = (self.resolve_data(a).ok()?, self.resolve_data(b).ok()?);
        let of = &self.links[tanh.0];
        if a.axes != b.axes || x.1 != tanh.1 || of.parent != Some(x.0) || of.what != What::activation(Activation::Tanh)
        {
            return None;
        }
        let link = self.child(x.0, What::activation(Activation::TanhShrink), self.links[x.0].features);
        let mut data = a.clone();
        data.content.fill(segments(link, x.1));
        Some(data)
    }

    /// Whether link `later` is `earlier` or comes of it.
    fn descends(&self, later: usize, earlier: usize) -> bool {
        std::iter::successors(Some(later), |&link| self.links[link].parent).any(|link| link == earlier)
    }

    /// What link `x` is half of.
    fn half(&self, x: usize) -> Option<usize> {
        let half = Activation::Affine { alpha: Number::new(0.5), beta: Number::new(0.0) };
        (self.links[x].what == What::activation(half)).then_some(self.links[x].parent?)
    }

    /// The links from the first to `last`, without the source.
    pub(super) fn path(&self, last: usize) -> Vec<usize> {
        let mut path = vec![last];
        while let Some(parent) = self.links[path[path.len() - 1]].parent {
            path.push(parent);
        }
        path.retain(|&link| self.links[link].what != What::Source);
        path.reverse();
        path
    }
}

/// The features `runs` of `link`, at all its steps.
fn segments(link: usize, runs: Runs) -> Vec<Segment> {
    runs.into_iter().map(|(start, len)| Segment { link, at: At::All, start, len }).collect()
}
