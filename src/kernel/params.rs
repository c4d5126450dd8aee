//! `Params`: what a dispatch is told at run time. Its twin is `shaders/part/params.wgsl`, and a test compares them.

use bytemuck::{Pod, Zeroable};

/// The uniform of a dispatch. The kernels of a convolution use some members in a way of their own, which `catalog`
/// tells. Rows, panels and elements count from the start of the bound window.
/// A pair `…_0`, `…_1` holds the values for workgroup z = 0 and z = 1, the directions of a dispatch.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Params {
    /// Rows to compute: B for a step, timesteps · B for every other kernel.
    pub rows: u32,
    /// B, the batch.
    pub batch: u32,
    /// D: how many directions a hidden or a cell state has side by side.
    pub directions: u32,
    /// The direction of z = 0: it decides which features a step reads and writes.
    pub direction: u32,
    /// K, the depth of the product (padded).
    pub depth: u32,
    /// Padded features of one direction's output: a row of the target has
    /// `units · directions`. `Gemm`, `Gather`: elements of a row of the target.
    pub units: u32,
    /// The first panel to compute.
    pub panel: u32,
    /// How many panels to compute.
    pub panels: u32,
    /// The panel of the bound weights that belongs to `panel` at z = 0. `Gather`: the table's row for token `token`.
    pub weight_panel: u32,
    /// Panels from the weights of one direction to those of the next. `Gather`: rows of the table.
    pub weight_panels: u32,
    /// The first row that is read.
    pub source_0: u32,
    /// The first row that is read at z = 1.
    pub source_1: u32,
    /// The first row that is written.
    pub target_0: u32,
    /// The first row that is written at z = 1.
    pub target_1: u32,
    /// The timestep of `gates`. `WindowPool`, `WindowBack`: the step of the source that is at `source_0`.
    pub gates_0: u32,
    /// The timestep of `gates` at z = 1. `WindowBack`: the window that is at `source_1`.
    pub gates_1: u32,
    /// The row of `live`. `WindowPool`, `WindowBack`: that of the first step.
    pub live_0: u32,
    /// The row of `live` at z = 1.
    pub live_1: u32,
    /// The timestep of `kept`. `WindowPool`, `WindowBack`: the first step that a mean counts, signed.
    pub kept_0: u32,
    /// The timestep of `kept` at z = 1. `WindowPool`, `WindowBack`: the first step after them, signed.
    pub kept_1: u32,
    /// The row of `hidden` that holds the state before the step whose gradients are computed.
    /// `WindowPool`, `WindowBack`: the first step of the first window, signed.
    pub before_0: u32,
    /// The same row at z = 1.
    pub before_1: u32,
    /// The row of `cell_state` that holds the cell state before the step.
    pub cell_in: u32,
    /// The row of `cell_state` that takes the cell state after the step.
    pub cell_out: u32,
    /// `Gather`: the first token of the bound table. `Drop`,
    /// `Spread`: an element is dropped if its word is less than this.
    pub token: u32,
    /// `Gather`: how many tokens the bound table has. `Spread`: how many parts a row of the target has.
    pub tokens: u32,
    /// `Softmax`, `Join`, `Spread`, `Rearrange`: the true features of a part, without padding.
    pub features: u32,
    /// `Scan`, `ScanBack`, `Pool`: how many timesteps. `WindowPool`, `WindowBack`: how many a window takes.
    pub steps: u32,
    /// `Scan`: rows from the target of one step to that of the
    /// next, modulo 2³². `ScanBack`: the same for rows of `hidden`.
    pub hidden_step_0: u32,
    /// The same step of rows at z = 1.
    pub hidden_step_1: u32,
    /// `Scan`: timesteps of `gates` and `kept`, and rows of `live`, from one step to the next, modulo
    /// 2³². `ScanBack`: rows of `delta` as well. `Drop`: 0 if all steps share what is dropped, else 1.
    /// `Rearrange`: numbers of a row of the batch from one step of the target to the next.
    /// `WindowPool`, `WindowBack`: steps from one window to the next.
    pub time_step_0: u32,
    /// The same step of time at z = 1. `Rearrange`: numbers from one feature of the target to the next.
    /// `WindowPool`, `WindowBack`: steps from one that a window takes to the next.
    pub time_step_1: u32,
    /// `Join`: padded features of a part of the source, whose row has
    /// `source_units · source_directions`. `Gemm`, `Outer`: elements of a row of the source.
    /// `Normalize`: elements of a and of b.
    pub source_units: u32,
    /// `Join`: the true features of a part of the source.
    pub source_features: u32,
    /// `Join`, `Spread`: how many parts a row of the source has.
    pub source_directions: u32,
    /// `Join`: the first true feature that is taken from the source, counted over all parts. `Gemm`, `Outer`:
    /// the first element that is taken from a row of the source. `Spread`: the first counter of features.
    pub source_offset: u32,
    /// `Join`: the first true feature of the target that takes one, counted over
    /// all parts. `Spread`: how many rows of the call come before the first.
    /// `Rearrange`, `PoolBack`, `WindowPool`, `WindowBack`: how many rows of the target come before the first.
    pub offset: u32,
    /// `Join`: how many features are taken. `Normalize`: 1 if one number serves all features.
    /// `WindowPool`: how many steps there are. `WindowBack`: how many windows.
    /// `Gemm`, `Conv`: how many units there are, counted from the first panel of a row; 0 if all are.
    pub count: u32,
    /// `Join`, `Drop`, `Spread`: the factor of each joined or kept feature, as the bits of an f32. `Normalize`: ε.
    pub scale: u32,
    /// Unused: it makes the size a multiple of 16 bytes.
    pub reserved: u32,
}

impl Params {
    /// Returns the params with each pair's second value in its first place.
    pub(crate) fn second(self) -> Self {
        Self {
            source_0: self.source_1,
            target_0: self.target_1,
            gates_0: self.gates_1,
            live_0: self.live_1,
            kept_0: self.kept_1,
            before_0: self.before_1,
            hidden_step_0: self.hidden_step_1,
            time_step_0: self.time_step_1,
            ..self
        }
    }
}

const _: () = assert!(size_of::<Params>().is_multiple_of(16));
