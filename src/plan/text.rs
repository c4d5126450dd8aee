//! The plan as text. It is stable, so that a review shows a change of strategy as a change of text.

use std::fmt;

use super::{Dispatch, Feed, Fetch, Plan, SlotKind};
use crate::cell::{Activation, Cell, Coupling, Peepholes, Variant};
use crate::kernel::{
    Access, Attend, Combine, Convolve, Gemm, JoinOp, Loads, Mask, Outer, Params, PoolOp, Program, RowLoss,
    ScoresBackOf, Scoring, StateKind, Tile, Training,
};
use crate::precision::Precision;

/// Consecutive dispatches that differ only in their params are shown by the first two and the last.
const SHOWN: usize = 3;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {}", self.title)?;
        for (id, slot) in self.slots.iter().enumerate() {
            let what = match slot.kind {
                SlotKind::Weights(_) => "weights",
                SlotKind::Input => "input",
                SlotKind::Index => "index",
                SlotKind::Mailbox => "mailbox",
                SlotKind::Scratch => "scratch",
                SlotKind::Texture => "texture",
                SlotKind::Output => "output",
                SlotKind::TrainState(_) => "kept",
            };
            writeln!(f, " s{id:<3} {:<20} {what:<8} {:?} {} bytes", slot.name, slot.dims, slot.bytes)?;
        }
        for write in &self.writes {
            writeln!(f, " write {} → s{} +{} {} bytes", write.feed, write.slot, write.offset, write.bytes)?;
        }
        let mut index = 0;
        while index < self.steps.len() {
            let alike = self.repeats(index);
            let shown = if alike > SHOWN { SHOWN - 1 } else { alike };
            for step in index..index + shown {
                self.step(f, step)?;
            }
            if alike > shown {
                writeln!(f, " … {} more, one step each", alike - shown - 1)?;
                self.step(f, index + alike - 1)?;
            }
            index += alike;
        }
        for read in &self.reads {
            writeln!(f, " read s{} +{} {} bytes as {}", read.slot, read.offset, read.bytes, read.fetch)?;
        }
        Ok(())
    }
}

impl Plan {
    /// Returns how many dispatches from `index` on differ only in their params.
    fn repeats(&self, index: usize) -> usize {
        let first = &self.steps[index];
        let alike =
            |step: &&Dispatch| (step.program, step.grid, &step.windows) == (first.program, first.grid, &first.windows);
        self.steps[index..].iter().take_while(alike).count()
    }

    fn step(&self, f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
        let step = &self.steps[index];
        let program = &self.programs[step.program];
        let [x, y, z] = step.grid;
        write!(f, " {index:<4} {program} grid {x}x{y}x{z} ")?;
        for (binding, window) in program.bindings().skip(1).zip(&step.windows) {
            let access = match binding.access {
                Access::Texture | Access::IntegerTexture => "texture",
                Access::WriteTexture => "to texture",
                Access::Read | Access::Uniform => "r",
                Access::ReadWrite => "rw",
            };
            write!(f, " {access} s{}", window.slot)?;
            if window.bytes != self.slots[window.slot].bytes {
                write!(f, "[{}..{}]", window.offset, window.offset + window.bytes)?;
            }
        }
        writeln!(f, "  {}", Brief(&self.params[step.params], program))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel().name())?;
        if let Some((cell, variant)) = self.cell() {
            write!(f, " {cell}")?;
            if self.kernel().is_step() || self.training().is_some() {
                departures(f, cell, &variant)?;
            }
        }
        if self.states() == Some(StateKind::Projected) {
            f.write_str(" projected")?;
        }
        if self.activation() != Activation::Linear {
            write!(f, " {}", self.activation())?;
        }
        match self.combine() {
            Some(Combine::Sum) => f.write_str(" sum")?,
            Some(Combine::Average) => f.write_str(" average")?,
            Some(Combine::Product) => f.write_str(" product")?,
            None => {}
        }
        if let Some(join) = self.join() {
            f.write_str(match join.combine {
                JoinOp::Set => " set",
                JoinOp::Add => " add",
                JoinOp::Subtract => " subtract",
                JoinOp::Multiply => " multiply",
                JoinOp::Maximum => " maximum",
            })?;
            let flags = [(join.first, " first"), (join.broadcast, " broadcast")];
            flags.into_iter().filter(|flag| flag.0).try_for_each(|flag| f.write_str(flag.1))?;
        }
        if let Some(norm) = self.norm() {
            write!(f, " {}", norm.name())?;
        }
        if let Some(across) = self.across() {
            let (first, last) = across.ends().unwrap_or_default();
            let words = [across.op().map(PoolOp::name), first.then_some("first"), last.then_some("last")];
            words.into_iter().flatten().try_for_each(|word| write!(f, " {word}"))?;
        }
        if let Some(training) = self.training() {
            trained(f, training)?;
        }
        if let Some(attend) = self.attend() {
            attended(f, attend)?;
        }
        if let Self::Gemm(Gemm { add: true, .. }) = self {
            f.write_str(" add")?;
        }
        if self.is_per_gate() {
            f.write_str(" per gate")?;
        }
        if let Some(storage) = self.storage().filter(|&storage| storage != Precision::F32) {
            write!(f, " {}", storage.name())?;
        }
        if self.mask() == Mask::Live {
            f.write_str(" masked")?;
        }
        if let Some(tile) = self.tile().filter(|&tile| tile != Tile::NONE) {
            write!(f, " tile {}r{}p{}s", tile.rows, tile.panels, tile.slices)?;
            if tile.layer > 0 {
                write!(f, " of {}", tile.layer)?;
            }
            if tile.wide > 1 {
                write!(f, " {} wide", tile.wide)?;
            }
            if tile.loads == Loads::Subgroup {
                f.write_str(" subgroups")?;
            }
            if tile.held > 0 {
                write!(f, " held {}", tile.held)?;
            }
        }
        Ok(())
    }
}

/// Prints what fixes a program of attention: ` additive`, ` causal`, ` transposed first`.
fn attended(f: &mut fmt::Formatter<'_>, attend: Attend) -> fmt::Result {
    let words: &[(bool, &str)] = match attend {
        Attend::Scores(Scoring::Dot) => &[(true, " dot")],
        Attend::Scores(Scoring::Additive) => &[(true, " additive")],
        Attend::Scores(Scoring::Weighted(_)) => &[(true, " additive weighted")],
        Attend::Scores(Scoring::Given) => &[(true, " given")],
        Attend::Shares { causal, .. } => &[(causal, " causal")],
        Attend::ScoresBack { of, weighted, first } => {
            let word = match of {
                ScoresBackOf::Query => " query",
                ScoresBackOf::Key => " key",
                ScoresBackOf::Weight => " weight",
                ScoresBackOf::Given => " given",
            };
            &[(true, word), (weighted, " weighted"), (first, " first")]
        }
        Attend::Blend { transposed, first } => &[(transposed, " transposed"), (first, " first")],
    };
    words.iter().filter(|word| word.0).try_for_each(|word| f.write_str(word.1))
}

/// Prints what else fixes a training program: ` cross_entropy first`.
fn trained(f: &mut fmt::Formatter<'_>, training: Training) -> fmt::Result {
    match training.loss() {
        Some(RowLoss::CrossEntropy { smoothing, weighted }) => {
            write!(f, " cross_entropy smoothing {smoothing}{}", if weighted { " weighted" } else { "" })?;
        }
        Some(RowLoss::BinaryCrossEntropy { smoothing }) => write!(f, " binary_cross_entropy smoothing {smoothing}")?,
        Some(RowLoss::Squared) => f.write_str(" squared")?,
        Some(RowLoss::Absolute) => f.write_str(" absolute")?,
        Some(RowLoss::Huber { delta }) => write!(f, " huber delta {delta}")?,
        Some(RowLoss::SumOfSquares) => f.write_str(" sum_of_squares")?,
        None => {}
    }
    if training.first() == Some(true) {
        f.write_str(" first")?;
    }
    if let Training::Outer(Outer { loads: Loads::Subgroup, .. }) = training {
        f.write_str(" subgroups")?;
    }
    Ok(())
}

/// Prints how a variant departs from its cell's plain equations: ` peepholes clip 0.6 f hard_sigmoid`.
fn departures(f: &mut fmt::Formatter<'_>, cell: Cell, variant: &Variant) -> fmt::Result {
    if variant.coupling == Coupling::InputForget {
        f.write_str(" coupled")?;
    }
    if variant.peepholes == Peepholes::Diagonal {
        f.write_str(" peepholes")?;
    }
    if let Some(clip) = variant.clip {
        write!(f, " clip {clip}")?;
    }
    let functions = variant.functions.each().into_iter().zip(cell.functions().each());
    for (letter, (function, plain)) in ["f", "g", "h"].into_iter().zip(functions).take(cell.function_count()) {
        if function != plain {
            write!(f, " {letter} {function}")?;
        }
    }
    Ok(())
}

/// The params of a program that are not zero.
struct Brief<'a>(&'a Params, &'a Program);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = self.0;
        let both = [
            ("source", p.source_0, p.source_1),
            ("target", p.target_0, p.target_1),
            ("gates", p.gates_0, p.gates_1),
            ("live", p.live_0, p.live_1),
        ];
        write!(f, "rows {}", p.rows)?;
        if p.depth > 0 {
            write!(f, " depth {}", p.depth)?;
        }
        if p.panels > 0 {
            write!(f, " panels {}..{}", p.panel, u64::from(p.panel) + u64::from(p.panels))?;
        }
        if p.steps > 0 {
            write!(f, " steps {}", p.steps)?;
        }
        for (name, first, second) in both {
            if (first, second) != (0, 0) {
                write!(f, " {name} {first}/{second}")?;
            }
        }
        if p.count > 0 && matches!(self.1, Program::Gemm(_) | Program::Convolve(Convolve::Forward { .. })) {
            write!(f, " of {} units", p.count)?;
        } else if p.count > 0 {
            let features = |first: u32| u64::from(first)..u64::from(first) + u64::from(p.count);
            write!(f, " features {:?} to {:?}", features(p.source_offset), features(p.offset))?;
        }
        if p.scale > 0 {
            write!(f, " scale {}", f32::from_bits(p.scale))?;
        }
        Ok(())
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features => f.write_str("features"),
            Self::Other(input) => write!(f, "input {input}"),
            Self::Tokens => f.write_str("tokens"),
            Self::Draws => f.write_str("draws"),
            Self::Live(clock) => by_clock(f, "live", *clock),
            Self::LiveBackwards(clock) => by_clock(f, "live backwards", *clock),
            Self::Started(clock) => by_clock(f, "started", *clock),
            Self::StartedReversed(clock) => by_clock(f, "started reversed", *clock),
            Self::Targets(loss) => write!(f, "targets of loss {loss}"),
            Self::Scale(loss) => write!(f, "scale of loss {loss}"),
            Self::ClassWeights(loss) => write!(f, "class weights of loss {loss}"),
            Self::Order(input) => write!(f, "order of layer {input}"),
            Self::Starts(input) => write!(f, "starts of layer {input}"),
            Self::Dropped { layer, place: 0 } => write!(f, "dropped in layer {layer}"),
            Self::Dropped { layer, place } => write!(f, "dropped in layer {layer} place {place}"),
            Self::Scalars => f.write_str("scalars"),
            Self::Squares => f.write_str("squares"),
            Self::Hidden { stack, layer } => write!(f, "h_0 of stack {stack} layer {layer}"),
            Self::Cell { stack, layer } => write!(f, "c_0 of stack {stack} layer {layer}"),
        }
    }
}

/// Prints a mask with its clock, which is left out for the first.
fn by_clock(f: &mut fmt::Formatter<'_>, mask: &str, clock: usize) -> fmt::Result {
    if clock == 0 { f.write_str(mask) } else { write!(f, "{mask} {clock}") }
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output => f.write_str("output"),
            Self::Other(output) => write!(f, "output {output}"),
            Self::Tokens => f.write_str("tokens"),
            Self::Losses(loss) => write!(f, "loss {loss}"),
            Self::Weights(buffer) => write!(f, "gradient of weights {buffer}"),
            Self::Norm => f.write_str("norm"),
            Self::Input(input) => write!(f, "gradient of input {input}"),
            Self::InitialHidden { stack, layer } => write!(f, "gradient of h_0 of stack {stack} layer {layer}"),
            Self::InitialCell { stack, layer } => write!(f, "gradient of c_0 of stack {stack} layer {layer}"),
            Self::Hidden { stack, layer } => write!(f, "h_n of stack {stack} layer {layer}"),
            Self::HiddenPart { stack, layer, direction } => {
                write!(f, "h_n of stack {stack} layer {layer} direction {direction}")
            }
            Self::Cell { stack, layer } => write!(f, "c_n of stack {stack} layer {layer}"),
        }
    }
}
