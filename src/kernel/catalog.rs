//! The list of all kernels: one declaration each, with its full meaning and the linking of its WGSL.
//!
//! `z` counts the directions of a dispatch, and `d = direction + z` is the direction in the features.
//! A pair `source_z` is `source_0` or `source_1`. `W = 16 G` is the width of a panel's row.

mod across;
mod attention;
mod convolve;
mod training;
mod update;

use super::{Access, Binding, Kernel, Role, When};

/// The part of a kernel that is the same in all its programs.
#[derive(Debug)]
pub struct Declaration {
    /// The file stem, entry point and label.
    pub name: &'static str,
    /// Every binding that it can have.
    pub bindings: &'static [Binding],
    /// The names of the override constants that it can have.
    /// [`Program::overrides`](super::Program::overrides) returns those of one program.
    pub overrides: &'static [&'static str],
}

const fn binding(index: u32, role: Role, access: Access, when: When) -> Binding {
    Binding { index, role, access, when }
}

/// The overrides of a product.
const TILE: &[&str] = &["PANELS", "SLICES"];
/// The overrides of a step: those of its tile, then those of a general cell.
const CELL: &[&str] = &[
    "PANELS", "SLICES", "CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H", "H_ALPHA", "H_BETA",
];
/// The overrides of one half of a GRU's step.
const HALF: &[&str] = &["PANELS", "SLICES", "CLIP", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA"];
/// The overrides of a kernel that ends in a function.
const FUNCTION: &[&str] = &["ACTIVATION", "ALPHA", "BETA"];

const PARAMS: Binding = binding(0, Role::Params, Access::Uniform, When::Always);

/// `target[target_z + m][panel + i][g][u] = f(Σ_k source[source_z + m][source_offset + k] · weights[weight_panel +
/// z·weight_panels + i][k][g][u] + bias)` for m < rows, i < panels, k < depth. A row of `source` has `source_units`
/// elements. A row of `target` has `units` elements, G included. Units from `count` on become 0, if that is not 0: their
/// weights are 0, and a product with an infinity would be NaN. A program that adds has `+=` instead of `=`. In a
/// program per gate, each gate multiplies elements of its own. A row of `source` then has G times as many, laid out as
/// gates are: `source[row][g][k]` is its element `(k / 16 · G + g) · 16 + k % 16`.
const GEMM: Declaration = Declaration {
    name: "gemm",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Source, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["PANELS", "SLICES", "AFTER", "ADD", "ACTIVATION", "ALPHA", "BETA"],
};

/// For b < batch, i < panels: `r = hidden[source_z][b][d·depth ..][..depth] · weights + bias`,
/// `x = gates[gates_z][b][panel + i]`, `s = (hidden[source_z][b][d·units + n], cell_state[cell_in][b][d·units + n])`,
/// and `s' = cell_update(x, r, s)` by the program's variant. If `live[live_z][b]` is 0, `s' = s`. The step writes
/// `hidden[target_z][b][d·units + n] = s'_0` and `cell_state[cell_out][b][d·units + n] = s'_1`.
///
/// A projected step writes `s'_0` to `cell_state[CELL_UNPROJECTED]`, or 0 in dead rows. It only reads
/// `hidden`, whose rows have `directions · depth` elements. In a program per gate, gate g multiplies
/// `source[d · batch + b][g]` instead of the hidden state: `depth` elements, laid out as [`GEMM`] says.
///
/// A program that keeps writes what the backward pass needs to `kept[kept_z][b][panel + i]`. That is `x + r`
/// of all gates. A GRU keeps four numbers: the sums of reset and update, then x and r of the new gate.
const STEP: Declaration = Declaration {
    name: "step",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Unprojected),
        binding(4, Role::Hidden, Access::Read, When::Projected),
        binding(5, Role::CellState, Access::ReadWrite, When::CellState),
        binding(6, Role::Kept, Access::ReadWrite, When::Kept),
        binding(7, Role::Source, Access::Read, When::PerGate),
    ],
    overrides: CELL,
};

/// One timestep of each layer l = direction + z of a wavefront's
/// `directions` layers, each at its own time t, for b < batch, i < panels.
///
/// `r` is the product of `hidden[l_in][b]` with matrix 2l of the wavefront, which
/// is at `weight_panel + z·weight_panels`. `x` is `gates[gates_0][b]` if l is 0.
/// Else it is the product of `hidden[(l − 1)_in][b]` with matrix 2l − 1,
/// `weight_panels / 2` panels before. `s = (hidden[l_in][b], cell_state[l_in][b])`
/// and `s' = cell_update(x, r, s)`. If `live[live_0 − z][b]` is 0, `s' = s`.
///
/// The step writes `hidden[l_out][b] = s'_0` and `cell_state[l_out][b] = s'_1`; the last layer
/// also writes `output[target_0][b] = s'_0`. Rows `l_in` and `l_out` of `[2 · directions][B][H]`
/// are 2l and 2l + 1 in either order: `2l + (cell_in + l) % 2` and `2l + (cell_out + l) % 2`.
const WAVEFRONT: Declaration = Declaration {
    name: "wavefront",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
        binding(5, Role::CellState, Access::ReadWrite, When::CellState),
        binding(6, Role::Output, Access::ReadWrite, When::Always),
    ],
    overrides: CELL,
};

/// What [`STEP`] does for each n < steps in turn, for all panels of a layer whose `depth` is its `units`.
/// Rows advance by `hidden_step_z` and `time_step_z`: step n writes `hidden[target_z + n · hidden_step_z]`.
/// It reads `gates[gates_z + n · time_step_z]` and `live[live_z + n · time_step_z]`.
///
/// The first step reads `hidden[source_z]` and `cell_state[cell_in]`, and each later one the states of the step before.
/// The last cell state is written to `cell_state[cell_out]` as well. A program that keeps writes every step's cell
/// state, to `cell_state[cell_out + n]`. It writes what the backward pass needs to `kept[kept_z + n · time_step_z]`.
const SCAN: Declaration = Declaration {
    name: "scan",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
        binding(5, Role::CellState, Access::ReadWrite, When::CellState),
        binding(6, Role::Kept, Access::ReadWrite, When::Kept),
    ],
    overrides: CELL,
};

/// What [`SCAN`] does, by workgroups that each have some of the panels. The workgroups of a tile of
/// rows hand each other `s'_0` of every step, in `mailbox[1 + (z · steps + n) · batch + b][u]`. They
/// wait while [`EMPTY`](super::EMPTY) is there, so all of them must be co-resident. If one stalled,
/// `mailbox[0][0]` is another word afterwards, and nothing that the dispatch wrote may be used.
const PERSISTENT: Declaration = Declaration {
    name: "persistent",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
        binding(5, Role::CellState, Access::ReadWrite, When::CellState),
        binding(6, Role::Mailbox, Access::ReadWrite, When::Always),
    ],
    overrides: &[
        "PANELS", "SLICES", "LAYER", "CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H",
        "H_ALPHA", "H_BETA",
    ],
};

/// For m < rows: `mailbox[target_0 + m] = EMPTY`. Rows have `units` words.
const RESET_MAILBOX: Declaration = Declaration {
    name: "reset_mailbox",
    bindings: &[PARAMS, binding(1, Role::Mailbox, Access::ReadWrite, When::Always)],
    overrides: &[],
};

/// `rz = hidden[source_z][b][d] · weights (G = 2) + bias`, `r = f(x_r + rz_0)`,
/// `z = f(x_z + rz_1)`. Writes `scratch[SCRATCH_RESET] = r ∘ h` and `scratch[SCRATCH_UPDATE] = z`,
/// in dead rows too. `gates` has G = 3. A program per gate multiplies `source`, as [`STEP`] does.
const STEP_RESET: Declaration = Declaration {
    name: "step_reset",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Hidden, Access::Read, When::Always),
        binding(4, Role::Scratch, Access::ReadWrite, When::Always),
        binding(7, Role::Source, Access::Read, When::PerGate),
    ],
    overrides: HALF,
};

/// `n = g(x_n + scratch[SCRATCH_RESET][b][d] · weights (G = 1) + bias)`, `h' = (1 − z) ∘ n + z ∘ h`. Dead rows keep
/// `hidden[source_z]`. A program per gate multiplies `source[d · batch + b]` instead of `scratch[SCRATCH_RESET]`.
const STEP_NEW: Declaration = Declaration {
    name: "step_new",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Scratch, Access::Read, When::Always),
        binding(5, Role::Hidden, Access::ReadWrite, When::Always),
        binding(7, Role::Source, Access::Read, When::PerGate),
    ],
    overrides: HALF,
};

/// `h' = cell_state[CELL_UNPROJECTED][b][d·depth ..][..depth] · weights (G = 1)`. Dead rows keep `hidden[source_z]`.
/// A row of `hidden` has `directions · units` elements, and a row of `cell_state` has `directions · depth`.
const STEP_PROJECT: Declaration = Declaration {
    name: "step_project",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::CellState, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
    ],
    overrides: TILE,
};

/// For m < rows, `v = tokens[source_z + m]`: if `token ≤ v < token + tokens`,
/// `target[target_z + m] = table[weight_panel + z·weight_panels + v − token]`. Rows have `units` elements.
const GATHER: Declaration = Declaration {
    name: "gather",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Tokens, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For m < rows: `target[target_0 + m][c] = 1` if `c == tokens[source_0 + m]`, else 0. Rows have `units` elements.
const ONE_HOT: Declaration = Declaration {
    name: "one_hot",
    bindings: &[
        PARAMS,
        binding(1, Role::Tokens, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For b < batch, each direction d: `target[b][d·units + n] = source[source_z][b][d·units + n]`.
const FINAL_STATE: Declaration = Declaration {
    name: "final_state",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For m < rows, each direction z:
/// `target[target_0 + m][z·units ..] = live[live_z + m] ? source[source_0 + m][z·units ..] : 0`. Rows have
/// `units · directions` elements, and the grid's z counts the directions.
const MASK_OUTPUTS: Declaration = Declaration {
    name: "mask_outputs",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Live, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For m < rows: `target[target_0 + m][n] = a ∘ b`, the sum, the mean or the product of
/// a and b. These are the `units` elements of each direction of `source[source_0 + m]`.
/// Rows of `source` have `2 · units` elements, and those of `target` have `units`.
const MERGE: Declaration = Declaration {
    name: "merge",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["COMBINE"],
};

/// For m < rows and e < count: `target = (old ∘ source) · scale`, for feature
/// `offset + e` of `target[target_0 + m]` and feature `source_offset + e` of the source.
///
/// - Features are counted over all parts of a row, without padding. Column c of the target,
///   with `i = c % units`, is feature `c / units · features + i` if `i < features`, else
///   padding. Columns of the source likewise follow from `source_units` and `source_features`.
/// - ∘ gives the source, the sum, `old − source`, the product or the larger one. It gives NaN if either is NaN.
/// - The row of the source is `source_0 + m`, or `source_0 + (target_0 + m) % batch` if it is broadcast.
/// - The first program of a target takes it for zeros: `old = 0`,
///   and every other column becomes 0. Later ones leave those alone.
/// - Rows of `source` have `source_units · source_directions`
///   elements, and those of `target` have `units · directions`.
const JOIN: Declaration = Declaration {
    name: "join",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["JOIN", "FIRST", "BROADCAST"],
};

/// For m < rows, over the features c with `c % units < features`:
/// `target[target_0 + m] = softmax(source[source_0 + m])`. The
/// padding becomes 0. Rows have `units · directions` elements.
const SOFTMAX: Declaration = Declaration {
    name: "softmax",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["ACTIVATION"],
};

/// For m < rows: `target[target_0 + m] = f(source[source_0 + m])`. Rows have `units · directions` elements.
const ACTIVATE: Declaration = Declaration {
    name: "activate",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: FUNCTION,
};

/// For m < rows: `target[target_0 + m] = y` for x = `source[source_0 + m]`, by the equation of the program's
/// [`Norm`](super::Norm) over `features` features, with ε = `scale`. The padding becomes 0. Rows have `units` elements.
/// `weights` has a and b: `source_units` elements each. If `count` is 1, the first a serves all features.
const NORMALIZE: Declaration = Declaration {
    name: "normalize",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Source, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["NORM"],
};

/// For m < rows, with `n = target_0 + m`, `b = n % batch`, `t = n / batch − 1` and
/// `x = source[source_0 + m]`: `tokens[n] = argmax_v x_v + τ · g_v` over v < features, and the
/// first of equals. So v is drawn with the probability `softmax(x / τ)_v` (Gumbel's maximum).
///
/// - `g_v = −ln(−ln(1 − w_v))`, and τ is `draws[b].temperature`.
/// - `2³² w_v − 1/2` is the first word of Threefry-2x32-20 under the
///   key `draws[b].seed` for the counter `(draws[b].position + t, v)`.
/// - If 0 < k = `draws[b].top_k` < features, the candidates are those v whose
///   logit is not below the k-th largest. A logit of −∞ never is a candidate.
/// - If a logit is NaN, or there is no candidate, `tokens[n] = NO_TOKEN`. Rows of `source` have `units` elements.
const SAMPLE: Declaration = Declaration {
    name: "sample",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Draws, Access::Read, When::Always),
        binding(3, Role::Tokens, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

impl Kernel {
    /// Every kernel.
    pub const ALL: [Self; 57] = [
        Self::Gemm,
        Self::Step,
        Self::Wavefront,
        Self::Scan,
        Self::Persistent,
        Self::ResetMailbox,
        Self::StepReset,
        Self::StepNew,
        Self::StepProject,
        Self::Gather,
        Self::OneHot,
        Self::FinalState,
        Self::MaskOutputs,
        Self::Merge,
        Self::Join,
        Self::Softmax,
        Self::Activate,
        Self::Normalize,
        Self::Sample,
        Self::Pool,
        Self::PoolBack,
        Self::Rearrange,
        Self::WindowPool,
        Self::WindowBack,
        Self::Scores,
        Self::Shares,
        Self::Blend,
        Self::ScoresBack,
        Self::Conv,
        Self::ConvBack,
        Self::ConvOuter,
        Self::StepBack,
        Self::ScanBack,
        Self::CellBack,
        Self::ResetRows,
        Self::NewBack,
        Self::ResetBack,
        Self::StateBack,
        Self::Outer,
        Self::PeepholeBack,
        Self::Transpose,
        Self::ActivateBack,
        Self::SoftmaxBack,
        Self::NormalizeBack,
        Self::MaximumBack,
        Self::SumSteps,
        Self::Scatter,
        Self::Drop,
        Self::Spread,
        Self::SpreadBack,
        Self::Zero,
        Self::ToTexture,
        Self::Loss,
        Self::Tie,
        Self::Squares,
        Self::Total,
        Self::Update,
    ];

    /// Returns the kernel's declaration.
    pub fn declaration(self) -> &'static Declaration {
        match self {
            Self::Gemm => &GEMM,
            Self::Step => &STEP,
            Self::Wavefront => &WAVEFRONT,
            Self::Scan => &SCAN,
            Self::Persistent => &PERSISTENT,
            Self::ResetMailbox => &RESET_MAILBOX,
            Self::StepReset => &STEP_RESET,
            Self::StepNew => &STEP_NEW,
            Self::StepProject => &STEP_PROJECT,
            Self::Gather => &GATHER,
            Self::OneHot => &ONE_HOT,
            Self::FinalState => &FINAL_STATE,
            Self::MaskOutputs => &MASK_OUTPUTS,
            Self::Merge => &MERGE,
            Self::Join => &JOIN,
            Self::Softmax => &SOFTMAX,
            Self::Activate => &ACTIVATE,
            Self::Normalize => &NORMALIZE,
            Self::Sample => &SAMPLE,
            Self::Pool => &across::POOL,
            Self::PoolBack => &across::POOL_BACK,
            Self::Rearrange => &across::REARRANGE,
            Self::WindowPool => &across::WINDOW_POOL,
            Self::WindowBack => &across::WINDOW_BACK,
            Self::Scores => &attention::SCORES,
            Self::Shares => &attention::SHARES,
            Self::Blend => &attention::BLEND,
            Self::ScoresBack => &attention::SCORES_BACK,
            Self::Conv => &convolve::CONV,
            Self::ConvBack => &convolve::CONV_BACK,
            Self::ConvOuter => &convolve::CONV_OUTER,
            Self::StepBack => &training::STEP_BACK,
            Self::ScanBack => &training::SCAN_BACK,
            Self::CellBack => &training::CELL_BACK,
            Self::ResetRows => &training::RESET_ROWS,
            Self::NewBack => &training::NEW_BACK,
            Self::ResetBack => &training::RESET_BACK,
            Self::StateBack => &training::STATE_BACK,
            Self::Outer => &training::OUTER,
            Self::PeepholeBack => &training::PEEPHOLE_BACK,
            Self::Transpose => &training::TRANSPOSE,
            Self::ActivateBack => &training::ACTIVATE_BACK,
            Self::SoftmaxBack => &training::SOFTMAX_BACK,
            Self::NormalizeBack => &training::NORMALIZE_BACK,
            Self::MaximumBack => &training::MAXIMUM_BACK,
            Self::SumSteps => &training::SUM_STEPS,
            Self::Scatter => &training::SCATTER,
            Self::Drop => &training::DROP,
            Self::Spread => &training::SPREAD,
            Self::SpreadBack => &training::SPREAD_BACK,
            Self::Zero => &training::ZERO,
            Self::ToTexture => &training::TO_TEXTURE,
            Self::Loss => &training::LOSS,
            Self::Tie => &update::TIE,
            Self::Squares => &update::SQUARES,
            Self::Total => &update::TOTAL,
            Self::Update => &update::UPDATE,
        }
    }

    /// Returns the file stem, entry point and label.
    pub fn name(self) -> &'static str {
        self.declaration().name
    }
}
