//! What follows from a program: the gates and rows of its product, its override constants, its workgroup and its loops.
//!
//! `plan::check` compares these numbers with a device's limits, and `tests/shaders.rs` with the WGSL.

use super::{
    Convolve, Gemm, Half, Mask, Params, Program, RELU, SPIN_LIMIT, Step, StepProject, Tile, Training, WORKGROUP, finite,
};
use crate::cell::{Activation, Cell, Constant, Functions, Peepholes, Variant};

impl Program {
    /// Returns G of the product that the program computes, or 1 if it has none.
    #[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
    pub fn product_gates(&self) -> u32 {
        match self {
            Self::Gemm(product) => product.gates,
            Self::Step(step) | Self::Wavefront(step) | Self::Scan(step) | Self::Persistent(step) => {
                step.cell.gates() as u32
            }
            Self::StepReset(_) => 2,
            Self::StepNew(..) | Self::StepProject(_) => 1,
            Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_)
            | Self::Convolve(_) => 1,
            Self::Training(training) => training.gates(),
        }
    }

    /// Returns the rows of a panel of the weights after those of the depth: the bias, and an LSTM's peepholes.
    pub fn rows_after_depth(&self) -> u32 {
        match self {
            Self::Step(step) | Self::Scan(step) | Self::Persistent(step) => match step.variant.peepholes {
                Peepholes::None => 1,
                Peepholes::Diagonal => 2,
            },
            // No layer of a wavefront has peepholes.
            Self::Wavefront(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_)
            | Self::Convolve(_) => 1,
            Self::Gemm(product) => product.after,
            Self::Training(training) => training.rows_after_depth(),
        }
    }

    /// Whether the cell of a step has parts of its own: the plain equations,
    /// or an RNN of relu. Other cells are linked from the general parts.
    pub fn is_plain(&self) -> bool {
        let plain = |(cell, variant): (Cell, Variant)| {
            let relu = cell == Cell::Rnn && variant == Variant { functions: RELU, ..Variant::NONE };
            relu || variant == Variant::plain(cell)
        };
        !(self.kernel().is_step() || self.training().is_some()) || self.cell().is_none_or(plain)
    }

    /// Returns the override constants and their values. A function has its code and two constants, 0 if it has none.
    pub fn overrides(&self) -> Vec<(&'static str, f64)> {
        let names = self.kernel().declaration().overrides.iter();
        names.filter_map(|&name| Some((name, self.override_value(name)?))).collect()
    }

    /// Returns the value of an override constant, or `None` if the program's parts do not declare it.
    fn override_value(&self, name: &str) -> Option<f64> {
        let general = self.cell().filter(|_| !self.is_plain());
        let functions = general.map_or(0, |(cell, _)| cell.function_count());
        let variant = general.map_or(Variant::NONE, |(_, variant)| variant);
        let Functions { f, g, h } = variant.functions;
        let (function, part) = name.split_once('_').unwrap_or((name, ""));
        let function = match function {
            "PANELS" => return Some(self.tile()?.panels.into()),
            "SLICES" => return Some(self.tile()?.slices.into()),
            "ADD" => return Some(u32::from(matches!(self, Self::Gemm(Gemm { add: true, .. }))).into()),
            "GATEWISE" => return Some(u32::from(self.is_per_gate()).into()),
            "CAUSAL" | "TRANSPOSED" => return self.attend()?.override_value(name).map(f64::from),
            "LAYER" => return Some(self.tile()?.layer.into()),
            "NORM" => return Some((self.norm()? as u32).into()),
            "COMBINE" => return Some((self.combine()? as u32).into()),
            "JOIN" => return Some((self.join()?.combine as u32).into()),
            "FIRST" => return Some(u32::from(self.first()?).into()),
            "POOL" => return Some((self.across()?.op()? as u32).into()),
            "MASKED" => return Some(u32::from(self.across()?.mask() == Mask::Live).into()),
            "LAST" => return Some(u32::from(self.across()?.ends()?.1).into()),
            "GATES" => return Some(self.product_gates().into()),
            "AFTER" => return Some(self.rows_after_depth().into()),
            "LOSS" => return Some(self.training()?.loss()?.code().into()),
            "CONSTANT" => return Some(finite(self.training()?.loss()?.constant())),
            "BOUNDED" => return Some(u32::from(self.training()?.rule()?.clips_value).into()),
            "BROADCAST" => return Some(u32::from(self.join()?.broadcast).into()),
            "CLIP" if functions > 0 => return Some(finite(variant.clip.unwrap_or(Constant::new(0.0)))),
            "COUPLED" if matches!(general, Some((Cell::Lstm, _))) => return Some((variant.coupling as u32).into()),
            "F" if functions > 0 => f,
            "G" if functions > 1 => g,
            "H" if functions > 2 => h,
            "ACTIVATION" | "ALPHA" | "BETA" if self.ends_in_function() => self.activation(),
            _ => return None,
        };
        let constant = |at: usize| function.constants().get(at).map_or(0.0, |&(_, constant)| finite(constant));
        Some(match (name, part) {
            ("ALPHA", _) | (_, "ALPHA") => constant(0),
            ("BETA", _) | (_, "BETA") => constant(1),
            _ => function.code().into(),
        })
    }

    /// Whether the program is linked with a function for its results. A product may have none.
    pub(crate) fn ends_in_function(&self) -> bool {
        match self {
            Self::Gemm(product) => product.activation != Activation::Linear,
            Self::Softmax { .. } | Self::Activate(_) => true,
            Self::Training(training) => matches!(training, Training::ActivateBack(_) | Training::SoftmaxBack { .. }),
            Self::Step(_)
            | Self::Wavefront(_)
            | Self::Scan(_)
            | Self::Persistent(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_) => false,
            Self::Convolve(convolve) => convolve.activation() != Activation::Linear,
        }
    }

    /// Returns the invocations of a workgroup in x, y and z.
    pub fn workgroup_size(&self) -> [u32; 3] {
        let own = if let Self::Training(Training::Outer(outer)) = self { Some(outer.invocations()) } else { None };
        [own.or_else(|| self.tile().map(invocations)).unwrap_or(WORKGROUP), 1, 1]
    }

    /// Returns the bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        let shared = |tile| shared_bytes(tile, self.product_gates());
        match self {
            Self::Softmax { .. } => 4 * WORKGROUP,
            Self::Normalize(norm) => norm.workgroup_bytes(),
            // Each lane's best value and its place, and the counts of a digit.
            Self::Sample => 4 * (2 * WORKGROUP + 16),
            Self::Scan(Step { tile, .. }) => shared(*tile) + 16 * 4 * tile.panels * tile.rows,
            // The last word is how long it has waited.
            Self::Persistent(Step { tile, .. }) => shared(*tile) + 16 * 4 * tile.layer * tile.rows + 4,
            Self::Step(Step { tile, .. })
            | Self::Wavefront(Step { tile, .. })
            | Self::StepReset(Half { tile, .. })
            | Self::StepNew(Half { tile, .. }, _)
            | Self::StepProject(StepProject { tile, .. }) => shared(*tile),
            Self::Gemm(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Activate(_)
            | Self::Across(_)
            | Self::Convolve(_) => 0,
            Self::Attend(attend) => attend.workgroup_bytes(),
            Self::Training(training) => training.workgroup_bytes(),
        }
    }

    /// Returns the most loop iterations that one invocation runs, with no loop unrolled.
    pub fn loop_iterations(&self, params: &Params) -> u64 {
        let gates = u64::from(self.product_gates());
        let product = |tile: Tile, sharing: u32| product_iterations(tile, gates, params.depth, sharing);
        match self {
            Self::Softmax { .. } => {
                3 * u64::from(params.units * params.directions).div_ceil(u64::from(WORKGROUP))
                    + 2 * u64::from(WORKGROUP)
            }
            Self::Normalize(norm) => norm.iterations((params.units * params.directions).into()),
            Self::Sample => {
                // The highest logit, eight digits of the k-th largest, and the draw; then what lanes tell each other.
                let fours = u64::from(params.units / 4).div_ceil(u64::from(WORKGROUP));
                (1 + 8 + 1) * fours + 2 * u64::from(WORKGROUP) + 8 * (1 + 16)
            }
            Self::Scan(Step { tile, keeps, .. }) => {
                let kept = if *keeps { u64::from(tile.rows) * gates } else { 0 };
                u64::from(params.steps) * (walked_step(*tile, gates, params) + kept) + 2 * u64::from(tile.rows)
            }
            Self::Persistent(Step { tile, .. }) => {
                // The rows handed on and taken, four units each, and the turns of waiting.
                let rows = u64::from(tile.rows);
                let handed = rows + (rows * u64::from(params.units / 4)).div_ceil(invocations(*tile).into());
                u64::from(params.steps) * (walked_step(*tile, gates, params) + handed)
                    + 2 * rows
                    + handed
                    + u64::from(SPIN_LIMIT)
            }
            Self::Gemm(Gemm { tile, .. }) => product(*tile, 1),
            // Each half has a product of its own.
            Self::Wavefront(Step { tile, .. }) => product(*tile, tile.slices / 2),
            Self::Step(Step { tile, .. })
            | Self::StepReset(Half { tile, .. })
            | Self::StepNew(Half { tile, .. }, _)
            | Self::StepProject(StepProject { tile, .. }) => product(*tile, tile.slices),
            Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Activate(_) => 0,
            Self::Across(across) => across.loop_iterations(params),
            Self::Attend(attend) => attend.loop_iterations(params),
            Self::Convolve(convolve) => convolve.loop_iterations(params),
            Self::Training(training) => training.loop_iterations(params),
        }
    }

    /// Whether it is the first dispatch of its target, if the program depends on it.
    fn first(&self) -> Option<bool> {
        let across = || Some(self.across()?.ends()?.0);
        let of_attention = || self.attend().and_then(|attend| attend.first());
        let of_convolution = || self.convolve().and_then(Convolve::first);
        let first = self.join().map(|join| join.first).or_else(across).or_else(of_attention).or_else(of_convolution);
        first.or_else(|| self.training()?.first())
    }
}

/// Iterations of a product: the depth in fours, split among
/// `sharing` lanes, then sharing, adding and finishing each row.
pub(super) fn product_iterations(tile: Tile, gates: u64, depth: u32, sharing: u32) -> u64 {
    u64::from(depth / 4).div_ceil(u64::from(sharing))
        + u64::from(tile.rows * tile.wide) * (1 + gates * (3 + u64::from(sharing)))
}

/// Iterations of each step of a walk: itself, the depth in fours, then sharing,
/// adding and finishing each row. The states go in and out row by row.
pub(super) fn walked_step(tile: Tile, gates: u64, params: &Params) -> u64 {
    let slices = u64::from(tile.slices);
    let loads = if tile.held > 0 { 0 } else { u64::from(params.depth / 4).div_ceil(slices) };
    1 + loads + u64::from(tile.rows) * (1 + gates * (3 + slices))
}

/// The invocations of a workgroup that computes a tile, with four units each.
pub(super) fn invocations(tile: Tile) -> u32 {
    4 * tile.panels * tile.slices
}

/// The bytes of workgroup memory that slices share.
pub(super) fn shared_bytes(tile: Tile, gates: u32) -> u32 {
    if tile.slices == 1 {
        return 0;
    }
    16 * invocations(tile) * tile.rows * tile.wide * gates
}
