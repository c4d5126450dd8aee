//! Concatenations of features whose parts are written in place, so that nothing is copied.
//!
//! A product writes its panels into a row of any width, from any panel on. So a linear layer that only a concatenation
//! takes is computed in its place there. Other parts have rows of their own width, and `join` copies them.

use super::groups::{Use, User};
use super::ops::{OpKind, Ops, Source, Span};
use super::{HostInput, Lowering};
use crate::kernel::LANES;
use crate::model::Join;

/// Where an operation writes its result: into that of concatenation `op`, from panel `panel` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    pub(super) op: usize,
    pub(super) panel: usize,
}

impl Lowering<'_> {
    /// Returns the place of each operation that writes its part of a concatenation in place, and `None` for the others.
    pub(super) fn insides(&self, all: &Ops, uses: &[Use], users: &[Vec<User>]) -> Vec<Option<Inside>> {
        let mut insides = vec![None; all.ops.len()];
        for index in 0..all.ops.len() {
            for (part, panel) in self.parts_inside(all, uses, users, index) {
                insides[part] = Some(Inside { op: index, panel });
            }
        }
        insides
    }

    /// Returns the operations that write their parts of operation `index`'s result, and the first panel of each.
    fn parts_inside(&self, all: &Ops, uses: &[Use], users: &[Vec<User>], index: usize) -> Vec<(usize, usize)> {
        let op = &all.ops[index];
        // The backward pass takes every part by itself.
        let (OpKind::Join(Join::Concat), false) = (&op.kind, self.keeps) else { return Vec::new() };
        let whole = self.span(op, uses[index]) == Span::Whole;
        let writes = |part: usize| {
            matches!(all.ops[part].kind, OpKind::Linear { .. })
                && users[part] == [User::Op(index)]
                && all.ops[part].axis == op.axis
                // A slot of one chunk serves only operations that run chunk by chunk together.
                && (whole || uses[part].group == uses[index].group)
        };
        let (mut column, mut parts) = (0, Vec::new());
        for source in &op.from {
            let end = column + self.size_of(all, *source);
            let by_panels = column.is_multiple_of(LANES) && (end.is_multiple_of(LANES) || end == op.features.len());
            match *source {
                Source::Op(part) if by_panels && writes(part) => parts.push((part, column / LANES)),
                Source::Op(_) | Source::Input(_) => {}
            }
            column = end;
        }
        // The padding behind the last part must be written: by that part, or by the first copy.
        let ends = parts.last().map(|&(part, _)| Source::Op(part)) == op.from.last().copied();
        if ends || op.features.len().is_multiple_of(LANES) { parts } else { Vec::new() }
    }

    fn size_of(&self, all: &Ops, source: Source) -> usize {
        match source {
            Source::Op(op) => all.ops[op].features.len(),
            Source::Input(input) => match self.inputs.get(input) {
                Some(Some(HostInput::Features(sequence))) => sequence.features.len(),
                Some(Some(HostInput::Tokens(_)) | None) | None => 0,
            },
        }
    }
}
