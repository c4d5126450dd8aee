//! The backward pass of operations that make rows of rows: products, functions, masks, merges, slices, tables.

use super::Back;
use super::weights::Outside;
use crate::cell::Activation;
use crate::error::{Error, Result};
use crate::kernel::{Combine, JoinOp, Params, Program, Role, Training};
use crate::layout::{MatrixRef, depth};
use crate::model::Slice;
use crate::plan::SlotId;
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::{lanes, word};
use crate::plan::lower::join::{Part, Rows};
use crate::plan::lower::ops::{Axis, Drop, Sequence, Source, VisibleSteps};
use crate::plan::lower::stage::Stage;

impl Back<'_, '_> {
    /// Returns the source of an operation of one value.
    pub(super) fn only(&self, stage: &Stage<'_>) -> Result<Source> {
        let first = stage.op.from.first().copied();
        first.ok_or_else(|| Error::internal(format!("layer {}: expected what it takes", stage.op.layer)))
    }

    /// Emits the backward pass of a linear layer: the gradients of
    /// its matrix and bias, and `delta` times the matrix transposed.
    pub(super) fn linear(
        &mut self,
        stage: &Stage<'_>,
        (matrix, source): (MatrixRef, Sequence),
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let given = self.given(self.only(stage)?);
        let target = given.map(|given| self.begin(given, true)).transpose()?;
        let batch = self.low.shape.batch;
        for chunk in self.chunks(time) {
            let (source_window, first_source) = self.low.rows_of_chunk(source, chunk);
            let (delta_window, first_delta) = self.low.rows_of_chunk(delta, chunk);
            self.outer(
                matrix,
                0,
                &Outside {
                    rows: chunk.len * batch,
                    source: source_window,
                    first_source,
                    width: depth(source.features),
                    column: 0,
                    delta: delta_window,
                    first_delta,
                    per_gate: false,
                },
            )?;
            if let Some((target, first)) = target {
                let from = (delta_window, first_delta);
                self.times_transposed((matrix, false, 0), from, chunk.len * batch, (target, chunk, first))?;
            }
        }
        Ok(())
    }

    /// Emits the backward pass of a function. Softmax takes its result, and any other function its input.
    pub(super) fn rowwise(
        &mut self,
        stage: &Stage<'_>,
        activation: Activation,
        source: Sequence,
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        let (program, seen, x) = if activation.is_elementwise() {
            (Training::ActivateBack(activation), source, lanes(depth(source.features)))
        } else {
            (Training::SoftmaxBack { log: activation == Activation::LogSoftmax }, stage.result, 1)
        };
        self.each_row(given, delta, time, |back, target, chunk| {
            back.by_rows(program, x, (seen, None), delta, target, chunk)
        })
    }

    /// Calls `make` for each chunk, to write an addend of the gradient of
    /// `given`. The first addend is written in place, and others into scratch.
    pub(super) fn each_row(
        &mut self,
        given: super::GradientOf,
        like: Sequence,
        time: usize,
        make: impl Fn(&mut Self, Sequence, Chunk) -> Result<()>,
    ) -> Result<()> {
        let (target, first) = self.begin(given, true)?;
        if first {
            return self.chunks(time).into_iter().try_for_each(|chunk| make(self, target, chunk));
        }
        let scratch = self.scratch("addend", like.axis, target.features);
        for chunk in self.chunks(time) {
            make(self, scratch, chunk)?;
            let part = Part { combine: JoinOp::Add, taken: [0, target.features.len()], offset: 0, scale: 1.0 };
            self.low.join_part(&part, false, scratch, target, chunk)?;
        }
        Ok(())
    }

    /// Emits a kernel that makes rows of a gradient from rows of another, and from values.
    pub(super) fn by_rows(
        &mut self,
        program: Training,
        x: usize,
        (source, other): (Sequence, Option<Sequence>),
        delta: Sequence,
        target: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let batch = self.low.shape.batch;
        let [(source, first_source), (delta, first_delta), (result, first_target)] =
            [source, delta, target].map(|rows| self.low.rows_of_chunk(rows, chunk));
        let other = match other.map(|other| self.low.rows_of_chunk(other, chunk)) {
            Some((_, first)) if first != first_source => {
                return Err(Error::internal("the larger of two values: expected their rows side by side"));
            }
            other => other.map(|(window, _)| window),
        };
        for (first, rows) in self.low.pieces(chunk.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                directions: word(target.features.parts),
                units: word(depth(target.features) / target.features.parts),
                features: word(target.features.size),
                source_0: word(first_source + first),
                source_1: word(first_delta + first),
                target_0: word(first_target + first),
                ..Params::default()
            };
            let windows = [
                (Role::Source, Some(source)),
                (Role::Delta, Some(delta)),
                (Role::Result, Some(result)),
                (Role::Other, other),
            ];
            self.low.dispatch(Program::Training(program), params, [x, rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Emits the backward pass of a mask: zeros at the steps that it hides.
    pub(super) fn mask_outputs(
        &mut self,
        stage: &Stage<'_>,
        visible: VisibleSteps,
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        self.each_row(given, delta, time, |back, target, chunk| back.low.mask_outputs(visible, delta, target, chunk))
    }

    /// Emits the backward pass of dropout: the same words are
    /// drawn again, and the same elements dropped of the gradient.
    pub(super) fn dropped(
        &mut self,
        stage: &Stage<'_>,
        drop: (Drop, SlotId),
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        if drop.0.gates > 1 {
            return self.each_copy(given, drop, delta, time);
        }
        self.each_row(given, delta, time, |back, target, chunk| back.low.drop(drop, delta, target, chunk))
    }

    /// Emits the backward pass of a merge. Each direction takes the
    /// gradient, times the other direction if they were multiplied.
    pub(super) fn merge(
        &mut self,
        stage: &Stage<'_>,
        combine: Combine,
        source: Sequence,
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        let size = delta.features.size;
        let scale = if combine == Combine::Average { 0.5 } else { 1.0 };
        self.each_row(given, delta, time, |back, target, chunk| {
            for direction in 0..2 {
                let part = Part { combine: JoinOp::Set, taken: [0, size], offset: direction * size, scale };
                back.low.join_part(&part, direction == 0, delta, target, chunk)?;
            }
            if combine == Combine::Product {
                for direction in 0..2 {
                    let taken = [(1 - direction) * size, size];
                    let part = Part { combine: JoinOp::Multiply, taken, offset: direction * size, scale: 1.0 };
                    back.low.join_part(&part, false, source, target, chunk)?;
                }
            }
            Ok(())
        })
    }

    /// Emits the backward pass of a slice of features.
    pub(super) fn slice(&mut self, stage: &Stage<'_>, slice: Slice, delta: Sequence, time: usize) -> Result<()> {
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        let (target, _) = self.begin(given, false)?;
        for chunk in self.chunks(time) {
            let part = Part { combine: JoinOp::Add, taken: [0, slice.count], offset: slice.first, scale: 1.0 };
            self.low.join_part(&part, false, delta, target, chunk)?;
        }
        Ok(())
    }

    /// Emits the backward pass of pieces of time: each value takes back its own steps.
    pub(super) fn pieces(
        &mut self,
        stage: &Stage<'_>,
        pieces: &[(Sequence, usize, usize)],
        delta: Sequence,
    ) -> Result<()> {
        let mut begin = 0;
        for (&source, &(_, first, count)) in stage.op.from.iter().zip(pieces) {
            if let Some(given) = self.given(source) {
                let (target, _) = self.begin(given, false)?;
                let part = Part { combine: JoinOp::Add, taken: [0, delta.features.len()], offset: 0, scale: 1.0 };
                let rows = Rows { read: begin, steps: count, written: first, len: count };
                // These are plain rows: no chunk of a sequence that is cut is one of its pieces.
                let rows_of = |sequence: Sequence| Sequence { axis: Axis::Rows, ..sequence };
                self.low.join_rows(&part, false, (rows_of(delta), rows_of(target)), rows, false)?;
            }
            begin += count;
        }
        Ok(())
    }

    /// Emits the backward pass of a table: each row takes the gradients of the rows with its token.
    pub(super) fn gather(&mut self, stage: &Stage<'_>, buffer: usize, delta: Sequence) -> Result<()> {
        let Source::Input(input) = self.only(stage)? else {
            return Err(Error::internal(format!("layer {}: expected tokens", stage.op.layer)));
        };
        let [order, starts] = self.sorted(stage.op.layer, input)?;
        let (tokens, width) = crate::plan::lower::windows::table(self.low.layout, buffer)?;
        let (gradient, first) = self.gradient_of(buffer, 0);
        let time = stage.time(self.low.shape);
        let batch = self.low.shape.batch;
        let all = time * batch;
        let most = self.low.most_iterations(16);
        let mut first = first;
        for chunk in self.chunks(time) {
            let at = self.low.row_of(delta, chunk, 0);
            let (window, base) = self.low.rows(delta, at, chunk.len);
            // A window holds all rows from its base on.
            let (from, rows) = (base * batch, (at - base + chunk.len) * batch);
            let whole = base == 0 && rows >= all;
            for offset in (0..all).step_by(most) {
                for table in self.tables(gradient, tokens, width) {
                    for (token, count) in self.low.pieces(table.tokens, 1) {
                        let rows_of = |n: usize| table.at + n;
                        debug_assert!(rows_of(token) >= table.at);
                        let params = Params {
                            rows: word(if whole { all } else { rows }),
                            units: word(width),
                            source_0: word(from),
                            target_0: word(table.at + token),
                            token: word(table.token + token),
                            tokens: word(count),
                            offset: word(offset),
                            count: word(most.min(all - offset)),
                            ..Params::default()
                        };
                        let windows = [
                            (Role::Delta, Some(window)),
                            (Role::Order, Some(self.low.whole(order))),
                            (Role::Starts, Some(self.low.whole(starts))),
                            (Role::Result, Some(table.window)),
                        ];
                        let program = Program::Training(Training::Scatter { first });
                        self.low.dispatch(program, params, [lanes(width), count, 1], &windows)?;
                    }
                }
                first = false;
            }
            if whole {
                break;
            }
        }
        Ok(())
    }
}
