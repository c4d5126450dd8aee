//! The whole list of kernels, one declaration each, with the meaning of each in full, and the linking of its WGSL.
//!
//! `z` counts the directions of a dispatch; `d = direction + z` is the direction in the features. A pair written
//! `source_z` is `source_0` or `source_1`. `W = 16 G` is the width of a panel's row.

mod training;
mod update;

use super::{Access, Binding, Kernel, Role, When};

/// What is fixed about a kernel whatever it is linked with.
#[derive(Debug)]
pub struct Declaration {
    /// File stem, entry point and label.
    pub name: &'static str,
    /// Every binding it can have.
    pub bindings: &'static [Binding],
    /// The names of the override constants that it can have: [`Program::overrides`](super::Program::overrides) gives those
    /// of a program.
    pub overrides: &'static [&'static str],
}

const fn binding(index: u32, role: Role, access: Access, when: When) -> Binding {
    Binding { index, role, access, when }
}

/// Of a kernel that is a product.
const TILE: &[&str] = &["PANELS", "SLICES"];
/// Of a step: those after the tile's are a general cell's.
const CELL: &[&str] = &[
    "PANELS", "SLICES", "CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H", "H_ALPHA", "H_BETA",
];
/// Of one half of a GRU's step, likewise.
const HALF: &[&str] = &["PANELS", "SLICES", "CLIP", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA"];
/// Of a kernel that ends in a function.
const FUNCTION: &[&str] = &["ACTIVATION", "ALPHA", "BETA"];

const PARAMS: Binding = binding(0, Role::Params, Access::Uniform, When::Always);

/// `target[target_z + m][panel + i][g][u] = f(Σ_k source[source_z + m][source_offset + k] · weights[weight_panel + z·weight_panels + i][k][g][u] + bias)`
/// for m < rows, i < panels, k < depth. A row of `source` has `source_units` elements, a row of `target` has `units` (G
/// included). A program that adds has `+=` in place of `=`. In one that is apart gate g multiplies elements of its own: a row of
/// `source` has G times as many, laid out as gates are, and `source[row][g][k]` is its element `(k / 16 · G + g) · 16 + k % 16`.
const PROJECT: Declaration = Declaration {
    name: "project",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Source, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["PANELS", "SLICES", "AFTER", "ADD", "ACTIVATION", "ALPHA", "BETA"],
};

/// For b < batch, i < panels: `r = hidden[source_z][b][d·depth ..][..depth] · weights + bias`,
/// `x = gates[gates_z][b][panel + i]`, `s = (hidden[source_z][b][d·units + n], memory[memory_in][b][d·units + n])`,
/// `s' = cell_update(x, r, s)` by the program's variant; where `live[live_z][b]` is 0, `s' = s`. Then `hidden[target_z][b][d·units + n] = s'_0` and
/// `memory[memory_out][b][d·units + n] = s'_1`. Projected: `s'_0`, 0 in dead rows, goes to `memory[MEMORY_UNPROJECTED]`
/// instead, `hidden` is only read, and its rows have `directions · depth` elements. In a program that is apart the product of gate g
/// is that of `source[d · batch + b][g]` in place of the hidden state, `depth` elements laid out as [`PROJECT`] says.
///
/// A program that keeps leaves what its way back needs in `kept[kept_z][b][panel + i]`: `x + r`, all gates; of a GRU the
/// sums of reset and update, then x and r of the new gate, four in all.
const STEP: Declaration = Declaration {
    name: "step",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Unprojected),
        binding(4, Role::Hidden, Access::Read, When::Projected),
        binding(5, Role::Memory, Access::ReadWrite, When::Memory),
        binding(6, Role::Kept, Access::ReadWrite, When::Kept),
        binding(7, Role::Source, Access::Read, When::Apart),
    ],
    overrides: CELL,
};

/// For each layer l = direction + z of the `directions` of a run, at its own time t, for b < batch, i < panels: `r` is the
/// product of `hidden[l_in][b]` with matrix 2l of the run, that at `weight_panel + z·weight_panels`; `x` is
/// `gates[gates_0][b]` where l is 0, else the product of `hidden[(l − 1)_in][b]` with matrix 2l − 1, `weight_panels / 2`
/// panels before; `s = (hidden[l_in][b], memory[l_in][b])`, `s' = cell_update(x, r, s)`; where `live[live_0 − z][b]` is 0,
/// `s' = s`. Then `hidden[l_out][b] = s'_0`, `memory[l_out][b] = s'_1`, and of the last layer `output[target_0][b] = s'_0`.
/// Rows `l_in` and `l_out` of `[2 · directions][B][H]` are 2l and 2l + 1, or the other way round:
/// `2l + (memory_in + l) % 2` and `2l + (memory_out + l) % 2`.
const DIAGONAL: Declaration = Declaration {
    name: "diagonal",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
        binding(5, Role::Memory, Access::ReadWrite, When::Memory),
        binding(6, Role::Output, Access::ReadWrite, When::Always),
    ],
    overrides: CELL,
};

/// For each n < steps in turn, what [`STEP`] does for all panels of a layer whose `depth` is its `units`, at rows that go on
/// by `hidden_step_z` and `time_step_z`: its n-th step writes `hidden[target_z + n · hidden_step_z]`, and its `x` and `live`
/// are `gates[gates_z + n · time_step_z]` and `live[live_z + n · time_step_z]`. The first step reads `hidden[source_z]` and
/// `memory[memory_in]`, each other one the states of the one before it; those of the last are left in
/// `memory[memory_out]` as well. A program that keeps leaves those of every step, in `memory[memory_out + n]`, and what its way back
/// needs in `kept[kept_z + n · time_step_z]`.
const SCAN: Declaration = Declaration {
    name: "scan",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
        binding(5, Role::Memory, Access::ReadWrite, When::Memory),
        binding(6, Role::Kept, Access::ReadWrite, When::Kept),
    ],
    overrides: CELL,
};

/// What [`SCAN`] does, by workgroups that have some of the panels each. Those of a tile of rows hand each other `s'_0` of
/// every step, `exchange[1 + (z · steps + n) · batch + b][u]`, and wait for what is [`EMPTY`](super::EMPTY)
/// there: so all of them must run side by side. Where one waited in vain, `exchange[0][0]` is another word afterwards, and
/// nothing that the dispatch wrote is worth anything.
const PERSISTENT: Declaration = Declaration {
    name: "persistent",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
        binding(5, Role::Memory, Access::ReadWrite, When::Memory),
        binding(6, Role::Exchange, Access::ReadWrite, When::Always),
    ],
    overrides: &[
        "PANELS", "SLICES", "LAYER", "CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H",
        "H_ALPHA", "H_BETA",
    ],
};

/// For m < rows: `exchange[target_0 + m] = EMPTY`. Rows have `units` words.
const CLEAR: Declaration = Declaration {
    name: "clear",
    bindings: &[PARAMS, binding(1, Role::Exchange, Access::ReadWrite, When::Always)],
    overrides: &[],
};

/// `rz = hidden[source_z][b][d] · weights (G = 2) + bias`; `r = f(x_r + rz_0)`, `z = f(x_z + rz_1)`;
/// `memory[MEMORY_RESET] = r ∘ h`, `memory[MEMORY_UPDATE] = z`, dead rows too. `gates` has G = 3. A program that is apart multiplies
/// `source`, as [`STEP`] does.
const STEP_RESET: Declaration = Declaration {
    name: "step_reset",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Hidden, Access::Read, When::Always),
        binding(4, Role::Memory, Access::ReadWrite, When::Always),
        binding(7, Role::Source, Access::Read, When::Apart),
    ],
    overrides: HALF,
};

/// `n = g(x_n + memory[MEMORY_RESET][b][d] · weights (G = 1) + bias)`, `h' = (1 − z) ∘ n + z ∘ h`; dead rows keep
/// `hidden[source_z]`. A program that is apart multiplies `source[d · batch + b]` in place of `memory[MEMORY_RESET]`.
const STEP_NEW: Declaration = Declaration {
    name: "step_new",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Memory, Access::Read, When::Always),
        binding(5, Role::Hidden, Access::ReadWrite, When::Always),
        binding(7, Role::Source, Access::Read, When::Apart),
    ],
    overrides: HALF,
};

/// `h' = memory[MEMORY_UNPROJECTED][b][d·depth ..][..depth] · weights (G = 1)`; dead rows keep `hidden[source_z]`.
/// A row of `hidden` has `directions · units` elements, a row of `memory` `directions · depth`.
const STEP_PROJECT: Declaration = Declaration {
    name: "step_project",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Memory, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Hidden, Access::ReadWrite, When::Always),
    ],
    overrides: TILE,
};

/// For m < rows, `v = tokens[source_z + m]`: where `token ≤ v < token + tokens`,
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

/// For m < rows: `target[target_0 + m][c] = 1` where `c == tokens[source_0 + m]`, else 0. Rows have `units` elements.
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
const PICK: Declaration = Declaration {
    name: "pick",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For m < rows, each direction z: `target[target_0 + m][z·units ..] = live[live_z + m] ? source[source_0 + m][z·units ..] : 0`.
/// Rows have `units · directions` elements, and the grid's z counts the directions.
const BLANK: Declaration = Declaration {
    name: "blank",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Live, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For m < rows: `target[target_0 + m][n] = a ∘ b`, a and b the `units` elements of each direction of `source[source_0 + m]`:
/// their sum, their mean or their product. Rows of `source` have `2 · units` elements, those of `target` `units`.
const MERGE: Declaration = Declaration {
    name: "merge",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["COMBINE"],
};

/// Features are counted over all parts of a row, without padding: column c of the target, with `i = c % units`, is feature
/// `c / units · features + i` where `i < features`, and padding elsewhere; likewise of the source by `source_units` and
/// `source_features`. For m < rows and e < count, features `offset + e` of `target[target_0 + m]` and `source_offset + e` of
/// the source: `target = (old ∘ source) · scale`; ∘ gives the source, the sum, `old − source`, the product or the larger one,
/// a NaN where one of them is. The row of the source is `source_0 + m`, or `source_0 + (target_0 + m) % batch` where it is
/// broadcast. The first program of a target takes it for zeros: `old = 0`, and every other column becomes 0. Any other
/// leaves those alone. Rows of `source` have `source_units · source_directions` elements, those of `target`
/// `units · directions`.
const JOIN: Declaration = Declaration {
    name: "join",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["JOIN", "FIRST", "BROADCAST"],
};

/// For m < rows, over the features c with `c % units < features`: `target[target_0 + m] = softmax(source[source_0 + m])`;
/// the padding becomes 0. Rows have `units · directions` elements.
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

/// For m < rows, with `n = target_0 + m`, `b = n % batch` and `t = n / batch − 1`: `tokens[n] = argmax_v x_v + τ · g_v`, the
/// first of equals, over v < features, `x = source[source_0 + m]` and `g_v = −ln(−ln(1 − w_v))`, where `2³² w_v − 1/2` is the
/// first word of Threefry-2x32-20 under the key `draws[b].seed` for the counter `(draws[b].position + t, v)`, and τ is
/// `draws[b].temperature`: v is drawn with the probability `softmax(x / τ)_v` (Gumbel's maximum). Where
/// 0 < k = `draws[b].top_k` < features, only those v are candidates whose logit is not below the k-th largest; −∞ never
/// is one. Where a logit is NaN, or there is no candidate, `tokens[n] = NO_TOKEN`. Rows of `source` have `units` elements.
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
    pub const ALL: [Self; 43] = [
        Self::Project,
        Self::Step,
        Self::Diagonal,
        Self::Scan,
        Self::Persistent,
        Self::Clear,
        Self::StepReset,
        Self::StepNew,
        Self::StepProject,
        Self::Gather,
        Self::OneHot,
        Self::Pick,
        Self::Blank,
        Self::Merge,
        Self::Join,
        Self::Softmax,
        Self::Activate,
        Self::Sample,
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

    /// What is fixed about the kernel.
    pub fn declaration(self) -> &'static Declaration {
        match self {
            Self::Project => &PROJECT,
            Self::Step => &STEP,
            Self::Diagonal => &DIAGONAL,
            Self::Scan => &SCAN,
            Self::Persistent => &PERSISTENT,
            Self::Clear => &CLEAR,
            Self::StepReset => &STEP_RESET,
            Self::StepNew => &STEP_NEW,
            Self::StepProject => &STEP_PROJECT,
            Self::Gather => &GATHER,
            Self::OneHot => &ONE_HOT,
            Self::Pick => &PICK,
            Self::Blank => &BLANK,
            Self::Merge => &MERGE,
            Self::Join => &JOIN,
            Self::Softmax => &SOFTMAX,
            Self::Activate => &ACTIVATE,
            Self::Sample => &SAMPLE,
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

    /// File stem, entry point and label.
    pub fn name(self) -> &'static str {
        self.declaration().name
    }
}
