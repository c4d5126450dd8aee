//! Links that go through time in another direction: reversed steps, and two stacks that are one of both directions.

use super::{Link, Links, What};
use crate::error::Result;
use crate::formats::onnx::value::{At, Data, Segment};
use crate::model::{Direction, Recurrent};

impl Links {
    /// Returns `data`, last step first: of all steps, or of those of the input `lengths`. A stack that goes backwards
    /// then gives its steps in the order of the input.
    pub(in crate::formats::onnx) fn reversed(&mut self, mut data: Data, lengths: Option<usize>) -> Result<Data> {
        let turned = |segment: &Segment| self.links[segment.link].what == What::Reversed(lengths);
        if data.segments().all(|segment| segment.at == At::All && turned(segment)) {
            for segment in data.content.iter_mut().flatten() {
                segment.link = self.links[segment.link].parents[0];
            }
            return Ok(data);
        }
        let first = data.segments().next().map_or(0, |segment| segment.link);
        let whole = data.segments().all(|segment| (segment.link, segment.at) == (first, At::All));
        match self.links.get(first).and_then(|_| self.stack(first)) {
            Some(stack) if whole && lengths.is_none() && stack.direction == Direction::Backwards => {
                let kind = Recurrent { direction: Direction::Reverse, ..stack.clone() };
                let link = self.instead(first, kind.into(), self.links[first].features);
                data.content.iter_mut().flatten().for_each(|segment| segment.link = link);
                Ok(data)
            }
            _ => self.through(data, What::Reversed(lengths), true),
        }
    }

    /// Adds a stack of both directions in place of `forward` and `reverse`, stacks of one each with the same input.
    pub(in crate::formats::onnx) fn pair(&mut self, forward: usize, reverse: usize, stack: Recurrent) {
        let old = self.links[forward].clone();
        let tensors = [&old.tensors[..], &self.links[reverse].tensors].concat();
        let (features, size, serial) = (stack.output().len(), old.features, self.links.len());
        let link = self.push(Link { what: What::Layer(stack.into()), features, tensors, serial, ..old });
        self.paired.insert(forward, (link, 0));
        self.paired.insert(reverse, (link, size));
    }

    /// Whether another link takes `link` already, but for its steps in reverse.
    pub(in crate::formats::onnx) fn is_taken(&self, link: usize) -> bool {
        let takes = |other: &Link| other.parents.contains(&link) || other.initial.contains(&Some(link));
        self.links.iter().any(|other| takes(other) && !matches!(other.what, What::Reversed(_)))
    }

    /// Returns `data` of the links that its own have become parts of.
    pub(in crate::formats::onnx) fn renewed(&self, mut data: Data) -> Data {
        if self.paired.is_empty() {
            return data;
        }
        for segment in data.content.iter_mut().flatten() {
            if let Some(&(link, start)) = self.paired.get(&segment.link) {
                *segment = Segment { link, start: start + segment.start, ..segment.clone() };
            }
        }
        data
    }
}
