//! Links: the layers of a graph, each with its weights and the links that it takes.
//!
//! A link may have several consumers (`x · sigmoid(x)`, two heads). In the end, the model is the links that
//! the outputs need. Knows layers; knows no operator. `rewrite` recognizes what several links are together.

mod directions;
mod sums;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use super::constant::Constant;
use super::misfit;
use super::node::Called;
use super::times::Times;
use super::value::{At, Data, Segment};
pub(super) use super::what::What;
use super::what::{Made, Statistic};
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::{Attention, Direction, Join, LayerKind, Linear, Recurrent, Select, Slice, SliceSteps};
use crate::weights::dialect::{BIAS, WEIGHT};

/// All links, each after its parents.
pub(super) struct Links {
    links: Vec<Link>,
    /// The links without weights, by kind and parents.
    made: HashMap<(Made, Vec<usize>), usize>,
    /// The links with each serial number.
    variants: HashMap<usize, Vec<usize>>,
    /// The links whose steps no lengths may mask.
    unmasked: HashSet<usize>,
    /// The links that became one direction of another, with the place of its features.
    paired: HashMap<usize, (usize, usize)>,
    /// Which inputs have the same time axis.
    pub(super) times: Times,
    /// The node that is being read: its name in the errors of its links.
    pub(super) node: Arc<Called>,
}

/// A layer, or something that will be part of one.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The links that it takes: one, or several for a join. An input of the graph takes none.
    pub(super) parents: Vec<usize>,
    pub(super) what: What,
    /// The number of features that it gives; 0 for tokens.
    pub(super) features: usize,
    /// Its tensors by their names after the layer's prefix.
    pub(super) tensors: Vec<(String, Constant)>,
    /// The links whose rows a stack begins at: its hidden and its cell state.
    pub(super) initial: [Option<usize>; 2],
    /// The serial number of the node. A stack whose outputs are merged later keeps the number of its node.
    pub(super) serial: usize,
    /// Its time axis, if it has steps: an input whose steps it has, or an axis of its own.
    pub(super) time: Option<usize>,
    /// The node's name in errors.
    pub(super) node: Arc<Called>,
}

impl Link {
    /// Returns the link that it takes, if there is only one.
    pub(super) fn parent(&self) -> Option<usize> {
        if let [parent] = self.parents[..] { Some(parent) } else { None }
    }

    /// Returns its tensor with that name.
    pub(super) fn tensor(&self, name: &str) -> Option<&Constant> {
        self.tensors.iter().find(|(own, _)| own == name).map(|(_, constant)| constant)
    }
}

/// The factors of [`What::Scaled`], one for each feature.
pub(super) const SCALE: &str = "scale";

/// The summands of [`What::Scaled`], if there are any.
pub(super) const SHIFT: &str = "shift";

/// The error of quantized numbers anywhere else.
pub(super) const QUANTIZED: &str = "quantized numbers, but for DequantizeLinear, MatMulInteger or QLinearMatMul";

/// The most features with a factor each. A matrix for more of them would take too much memory.
const MAX_DIAGONAL: usize = 4096;

/// Some features of a link: start and length of each run, in order.
pub(super) type Runs = Vec<(usize, usize)>;

impl Links {
    pub(super) fn new() -> Self {
        Self {
            links: Vec::new(),
            made: HashMap::new(),
            variants: HashMap::new(),
            unmasked: HashSet::new(),
            paired: HashMap::new(),
            times: Times::default(),
            node: Arc::default(),
        }
    }

    pub(super) fn link(&self, index: usize) -> &Link {
        &self.links[index]
    }

    /// Adds the link of input `input`.
    pub(super) fn source(&mut self, input: usize, features: usize) -> usize {
        let link = self.add(Vec::new(), What::Source(input), features, Vec::new());
        self.links[link].time = Some(input);
        link
    }

    fn add(&mut self, parents: Vec<usize>, what: What, features: usize, tensors: Vec<(String, Constant)>) -> usize {
        let (serial, node) = (self.links.len(), self.node.clone());
        let time = if what.ends_steps() {
            None
        } else if let What::Layer(LayerKind::Attention(_)) = what {
            // The steps of the query, which comes first.
            self.links[parents[0]].time
        } else if what.begins_steps() {
            Some(self.times.derived())
        } else {
            parents.iter().find_map(|&parent| self.links[parent].time)
        };
        self.push(Link { parents, what, features, tensors, initial: [None; 2], serial, time, node })
    }

    fn push(&mut self, link: Link) -> usize {
        let index = self.links.len();
        self.variants.entry(link.serial).or_default().push(index);
        self.links.push(link);
        index
    }

    /// Adds the scaled input of link `source`.
    pub(super) fn scaled_source(&mut self, source: usize, scale: Constant, shift: Option<Constant>) -> usize {
        let features = self.links[source].features;
        let shift = shift.map(|shift| (SHIFT.to_owned(), shift));
        let tensors = [(SCALE.to_owned(), scale)].into_iter().chain(shift).collect();
        self.add(vec![source], What::Scaled, features, tensors)
    }

    /// Adds a layer with weights after link `parent`.
    pub(super) fn layer(
        &mut self,
        parent: usize,
        kind: LayerKind,
        features: usize,
        tensors: Vec<(String, Constant)>,
    ) -> usize {
        self.add(vec![parent], What::Layer(kind), features, tensors)
    }

    /// Adds a stack that begins at the rows of `initial`, if there are any.
    pub(super) fn stack_from(
        &mut self,
        parent: usize,
        stack: Recurrent,
        tensors: Vec<(String, Constant)>,
        initial: [Option<usize>; 2],
    ) -> usize {
        let features = stack.output().len();
        let link = self.layer(parent, stack.into(), features, tensors);
        self.links[link].initial = initial;
        link
    }

    /// Returns the link of `what`, which has no weights, after link `parent`; the same link each time.
    pub(super) fn child(&mut self, parent: usize, what: What, features: usize) -> usize {
        self.child_of(vec![parent], what, features)
    }

    fn child_of(&mut self, parents: Vec<usize>, what: What, features: usize) -> usize {
        let Some(made) = what.made() else { return self.add(parents, what, features, Vec::new()) };
        let key = (made, parents);
        match self.made.get(&key) {
            Some(&link) => link,
            None => {
                let link = self.add(key.1.clone(), what, features, Vec::new());
                *self.made.entry(key).or_insert(link)
            }
        }
    }

    /// Joins `parents`. Those with steps must have the same ones.
    pub(super) fn joined(&mut self, join: Join, parents: Vec<usize>) -> Result<usize> {
        let apart = join == Join::ConcatSteps;
        let mut times = parents.iter().filter_map(|&parent| self.links[parent].time).filter(|_| !apart);
        if let Some(first) = times.next() {
            for other in times {
                self.times.unite(first, other)?;
            }
        }
        let features = parents.iter().map(|&parent| self.links[parent].features);
        let features = if join == Join::Concat { features.sum() } else { features.max().unwrap_or(0) };
        Ok(self.child_of(parents, What::Layer(join.into()), features))
    }

    /// Sums the steps of `value` by the scores of `key` for `query`, or by those that `key` gives.
    pub(super) fn attention(
        &mut self,
        attention: Attention,
        query: Option<usize>,
        key: usize,
        value: usize,
    ) -> Result<usize> {
        const TEXT: &str = "expected none where a softmax is over all steps, which counts padding too, got some";
        if let (Some(a), Some(b)) = (self.links[key].time, self.links[value].time) {
            self.times.unite(a, b)?;
            self.times.tell(a, None, TEXT)?;
        }
        let mut parents = vec![query.unwrap_or(key), value];
        parents.extend(query.and(Some(key)).filter(|&key| key != value));
        Ok(self.add(parents, What::Layer(attention.into()), self.links[value].features, Vec::new()))
    }

    /// Returns the steps `slice` of `link`.
    pub(super) fn stretch(&mut self, link: usize, slice: SliceSteps) -> Result<usize> {
        let link = self.plain(link)?;
        Ok(self.child(link, What::Layer(slice.into()), self.links[link].features))
    }

    /// Records that no lengths mask steps of the values that `link` is made of. The
    /// masked steps would be missing in `link` too, and its node has no lengths for them.
    pub(super) fn without_lengths(&mut self, link: usize) -> Result<()> {
        const TEXT: &str = "expected none of steps that are sliced or joined before another recurrent node";
        let mut open = vec![link];
        while let Some(link) = open.pop() {
            if self.links[link].time.is_none() || !self.unmasked.insert(link) {
                continue;
            }
            let Link { parents, what, .. } = &self.links[link];
            for time in parents.iter().filter_map(|&parent| self.links[parent].time) {
                if what.begins_steps() && !self.times.is_derived(time) {
                    self.times.tell(time, None, TEXT)?;
                }
            }
            open.extend(parents);
        }
        Ok(())
    }

    /// Returns link `of` as another layer with the same weights and input, once it is known what its outputs become.
    pub(super) fn instead(&mut self, of: usize, kind: LayerKind, features: usize) -> usize {
        let what = What::Layer(kind);
        let link = self.links[of].clone();
        let same = |&&other: &&usize| self.links[other].parents == link.parents && self.links[other].what == what;
        match self.variants.get(&link.serial).and_then(|all| all.iter().find(same)) {
            Some(&link) => link,
            None => self.push(Link { what, features, ..link }),
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

    /// Returns the link that gives `segments`, and which of its features they are. Segments
    /// of one moment get a select layer; segments of several links or moments get a join.
    pub(super) fn resolve(&mut self, segments: &[Segment]) -> Result<(usize, Runs)> {
        if let Some(found) = self.resolve_one(segments)? {
            return Ok(found);
        }
        let link = self.exact(segments)?;
        Ok((link, vec![(0, self.links[link].features)]))
    }

    /// Does the same for one link at one moment; returns `None` if there are more.
    fn resolve_one(&mut self, segments: &[Segment]) -> Result<Option<(usize, Runs)>> {
        let Some(Segment { link, at, .. }) = segments.first().cloned() else {
            return Err(misfit("no features".into()));
        };
        if segments.iter().any(|segment| segment.link != link) {
            return Ok(None);
        }
        let runs = segments.iter().map(|segment| (segment.start, segment.len)).collect();
        let features = self.links[link].features;
        let select = match at {
            _ if self.are_computed_last(link, segments) => Select::LastOutput,
            _ if segments.iter().any(|segment| segment.at != at) => return Ok(None),
            At::All => return Ok(Some((link, runs))),
            At::Hidden => Select::FinalHidden,
            At::Output => Select::LastOutput,
            At::Last => Select::LastStep,
            At::Cell => return Ok(Some((self.child(link, What::FinalCell, features), runs))),
            At::First => {
                let first = self.stretch(link, SliceSteps::from(0).to(1))?;
                return Ok(Some((self.child(first, What::Layer(Select::LastStep.into()), features), runs)));
            }
        };
        Ok(Some((self.child(link, What::Layer(LayerKind::Select(select)), features), runs)))
    }

    /// Returns a link that gives exactly `segments`.
    pub(super) fn exact(&mut self, segments: &[Segment]) -> Result<usize> {
        if segments.is_empty() {
            return Err(misfit("no features".into()));
        }
        let mut parts = Vec::new();
        for of_one in segments.chunk_by(|a, b| a.link == b.link) {
            let (link, runs) = match self.resolve_one(of_one)? {
                Some(whole) => whole,
                None => {
                    for moment in of_one.chunk_by(|a, b| a.at == b.at) {
                        if let Some((link, runs)) = self.resolve_one(moment)? {
                            self.cut(link, &runs, &mut parts)?;
                        }
                    }
                    continue;
                }
            };
            self.cut(link, &runs, &mut parts)?;
        }
        match parts[..] {
            [one] => Ok(one),
            _ => self.joined(Join::Concat, parts),
        }
    }

    /// Returns `link` with its features in one part.
    pub(super) fn as_one_part(&mut self, link: usize) -> usize {
        let features = self.links[link].features;
        match &self.links[link].what {
            What::Layer(LayerKind::Join(_)) => {
                self.child(link, What::Layer(Slice::features(0, features).into()), features)
            }
            _ => link,
        }
    }

    /// Adds the features `runs` of `link` to `parts`, each run as a link of its own.
    fn cut(&mut self, link: usize, runs: &Runs, parts: &mut Vec<usize>) -> Result<()> {
        let link = self.plain(link)?;
        let whole = self.is_whole(link, runs);
        parts.extend(runs.iter().map(|&(start, len)| match whole {
            true => link,
            false => self.child(link, What::Layer(Slice::features(start, len).into()), len),
        }));
        Ok(())
    }

    /// Returns `link` as one that any layer can take.
    fn plain(&mut self, link: usize) -> Result<usize> {
        let of = &self.links[link];
        match (&of.what, of.tensor(SCALE).cloned(), of.tensor(SHIFT).cloned()) {
            (What::Scaled, Some(scale), shift) => self.diagonal(of.parents[0], scale, shift),
            (What::Reversed(_), ..) => Err(misfit("steps in reverse, but for an RNN, LSTM or GRU".into())),
            (What::Padded(..), ..) => Err(misfit("zeros around steps, but for a Conv".into())),
            (What::Largest, ..) => Err(misfit("the place of the largest feature, but for an output".into())),
            (What::Statistic(Statistic::Mean), ..) => {
                let of = self.plain(of.parents[0])?;
                self.reduced(of, true)
            }
            (What::Statistic(Statistic::Centred), ..) => {
                let of = self.plain(of.parents[0])?;
                self.centred(of)
            }
            (What::Statistic(_), ..) => {
                Err(misfit("a mean or a length of the features, but for what it normalises".into()))
            }
            (What::Quantized(_), ..) => Err(misfit(QUANTIZED.into())),
            _ => Ok(link),
        }
    }

    /// Returns link `parent` times `scale`, plus `shift`, with one of each for each feature.
    pub(super) fn diagonal(&mut self, parent: usize, scale: Constant, shift: Option<Constant>) -> Result<usize> {
        let n = self.links[parent].features;
        let uniform = |constant: &Constant| -> Result<Option<f32>> {
            let all = constant.tensor.read()?;
            Ok(all.first().copied().filter(|first| all.iter().all(|x| x == first)))
        };
        let shifted = shift.as_ref().map_or(Ok(Some(0.0)), uniform)?;
        if let (Some(alpha), Some(beta)) = (uniform(&scale)?, shifted) {
            let affine = Activation::Affine { alpha: Number::new(alpha), beta: Number::new(beta) };
            return Ok(self.child(parent, What::activation(affine), n));
        }
        if n > MAX_DIAGONAL {
            return Err(misfit(format!("a factor for each of {n} features, which is more than {MAX_DIAGONAL}")));
        }
        let weight = Constant::computed(vec![scale], vec![n, n], n * n, move |of| {
            let mut all = ArrayD::zeros(IxDyn(&[n, n]));
            for (i, &x) in of[0].iter().enumerate() {
                all[[i, i]] = x;
            }
            all
        })?;
        let kind = if shift.is_some() { Linear::new(n, n) } else { Linear::new(n, n).no_bias() };
        let tensors = [Some((WEIGHT.to_owned(), weight)), shift.map(|shift| (BIAS.to_owned(), shift))];
        Ok(self.layer(parent, kind.into(), n, tensors.into_iter().flatten().collect()))
    }

    /// Whether `segments` are what each of their directions computes last, and are not all of one moment.
    fn are_computed_last(&self, link: usize, segments: &[Segment]) -> bool {
        let Some(stack) = self.stack(link).filter(|stack| !stack.is_merged()) else { return false };
        if segments.iter().all(|segment| segment.at == At::Last) {
            return false;
        }
        segments.iter().all(|segment| {
            let way = segment.start / stack.state_size();
            let in_one = segment.start + segment.len <= (way + 1) * stack.state_size();
            let reverse = way == 1 || stack.direction == Direction::Reverse;
            in_one && segment.at == if reverse { At::First } else { At::Last }
        })
    }

    /// Returns the link that gives `data` with all features in one axis, and which of its features they are.
    pub(super) fn resolve_data(&mut self, data: &Data) -> Result<(usize, Runs)> {
        match data.content.first() {
            Some(cell) if data.content.ndim() == 0 => self.resolve(&cell.clone()),
            _ => Err(misfit(format!("directions or layers apart, as the input of a layer: {}", data.axes_text()))),
        }
    }

    /// Does the same for a layer. It may take more features than it needs if its weights are `spread`.
    pub(super) fn taken(&mut self, data: &Data, spread: bool) -> Result<(usize, Runs)> {
        let (link, runs) = self.resolve_data(data)?;
        let link = self.valued(link)?;
        // Zeros among the weights would be multiplied by any features of the caller that the graph leaves out.
        let spread = spread && !matches!(self.links[link].what, What::Source(_));
        if spread || self.is_whole(link, &runs) {
            return Ok((link, runs));
        }
        let link = self.exact(&data.flat())?;
        Ok((link, vec![(0, self.links[link].features)]))
    }

    /// Whether `runs` are all features of `link`, in order.
    pub(super) fn is_whole(&self, link: usize, runs: &Runs) -> bool {
        runs[..] == [(0, self.links[link].features)]
    }

    /// Returns all features of `link`, at all its steps.
    pub(super) fn whole(&self, link: usize) -> Vec<Segment> {
        segments(link, vec![(0, self.links[link].features)])
    }

    /// Returns `link` without a time axis, which its values do not have.
    pub(super) fn row(&mut self, link: usize) -> Result<usize> {
        let link = self.plain(link)?;
        Ok(match self.links[link].time {
            Some(_) => self.child(link, What::Row, self.links[link].features),
            None => link,
        })
    }

    /// Applies `activation` to `data`.
    pub(super) fn activate(&mut self, data: Data, activation: Activation) -> Result<Data> {
        self.through(data, What::activation(activation), activation.is_elementwise())
    }

    /// Applies `what`, which has no weights, to `data`. If it is
    /// elementwise, `data` may be some of the features, or separate parts.
    pub(super) fn through(&mut self, mut data: Data, what: What, elementwise: bool) -> Result<Data> {
        if data.content.ndim() > 0 && elementwise {
            if data.segments().all(|segment| segment.at == At::All) {
                for segment in data.content.iter_mut().flatten() {
                    let of = self.plain(segment.link)?;
                    segment.link = self.child(of, what.clone(), self.links[of].features);
                }
                return Ok(data);
            }
            let link = self.exact(&data.flat())?;
            data.fill(self.child(link, what, self.links[link].features));
            return Ok(data);
        }
        let (mut link, mut runs) = self.resolve_data(&data)?;
        if !matches!(what, What::Reversed(_)) {
            link = self.plain(link)?;
        }
        if !elementwise && !self.is_whole(link, &runs) {
            link = self.exact(&data.flat())?;
            runs = vec![(0, self.links[link].features)];
        }
        let link = self.child(link, what, self.links[link].features);
        data.content.fill(segments(link, runs));
        Ok(data)
    }
}

/// Returns the features `runs` of `link`, at all its steps.
pub(super) fn segments(link: usize, runs: Runs) -> Vec<Segment> {
    runs.into_iter().map(|(start, len)| Segment { link, at: At::All, start, len }).collect()
}
