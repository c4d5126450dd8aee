//! The layers that a graph turns out to be: links, each on the one before it, with their weights.
//!
//! A graph may go two ways from one link (`x · sigmoid(x)`, outputs beside final states); in the end one path is the
//! model. Knows layers; knows no operator, and not what several links are together: `rewrite` does.

use super::constant::Constant;
use super::misfit;
use super::value::{At, Data, Segment};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Direction, LayerKind, Recurrent, Select};

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
    pub(super) fn activation(activation: Activation) -> Self {
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
pub(super) fn segments(link: usize, runs: Runs) -> Vec<Segment> {
    runs.into_iter().map(|(start, len)| Segment { link, at: At::All, start, len }).collect()
}
