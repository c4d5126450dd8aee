//! The kernels of training.
//!
//! Each kernel writes 0 to padded features and units, because gradients of padding must not become weights. The
//! padding that it reads may be anything finite. The kernels of a step have `features` true units of `units`.
//!
//! Rows of gates and of their gradients δ are `[D][C][B][P][G][16]`, like the input
//! product. Direction d of `directions` and step t of the chunk are in row block `gates_z`.

use super::{Declaration, FUNCTION, PARAMS, binding};
use crate::kernel::{Access, Role, When};

/// The overrides of a backward pass through a cell: those of a general cell.
const CELL_BACK_OVERRIDES: &[&str] =
    &["CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H", "H_ALPHA", "H_BETA"];
/// The overrides of a step back: those of its product, then those of a general cell.
const STEP_BACK_OVERRIDES: &[&str] = &[
    "PANELS", "SLICES", "CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H", "H_ALPHA", "H_BETA",
];
/// The overrides of one half of a GRU's step back.
const HALF_BACK: &[&str] = &["CLIP", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA"];

/// The backward pass of one timestep of RNN, LSTM or GRU (reset after). It is for b < batch,
/// each direction d = direction + z, i < panels and each padded unit n = 16 (panel + i) + u.
///
/// Reads `kept[kept_z][b][panel + i]`, which the step left there: see [`STEP`](super::STEP). A GRU's state
/// before the step is `h = hidden[before_z][b][d·units + n]`. An LSTM's cell states before and after the
/// step are `c₋ = cell_state[cell_in][b][d·units + n]` and `c = cell_state[cell_out][b][d·units + n]`.
///
/// The gradient of the state after the step, dh, is the sum of δ' · `weights`, `past[0][b][d·units + n]`
/// and `delta[target_z][b][d·units + n]`. δ' is row `[source_z][b]` of `recurrent` (GRU) or `gates`:
/// `depth` elements, which the backward pass of the next timestep wrote. `weights` is the recurrent
/// matrix, transposed by [`TRANSPOSE`]. The gradient of the cell state is `past[1][b][d·units + n]`.
///
/// Writes δ, the gradient of the gates' input, to `gates[gates_z][b][panel + i]`. A GRU's gradient
/// of the recurrent product goes to `recurrent[gates_z][b][panel + i]`. An LSTM's `past[1]`
/// becomes the gradient of c₋. `past[0]` becomes the part of the gradient of h that bypasses the
/// products: `z ∘ dh` of a GRU, else 0. If `live[live_z][b]` is 0, δ is 0, `past[0] = dh`, and
/// `past[1]` stays. The peepholes are `peepholes[weight_panel + z·weight_panels + i][units + 1]`.
///
/// The equations are those of [`CELL_BACK`].
pub(super) const STEP_BACK: Declaration = Declaration {
    name: "step_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Gates, Access::ReadWrite, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Recurrent, Access::ReadWrite, When::Recurrent),
        binding(4, Role::Peepholes, Access::Read, When::Peepholes),
        binding(5, Role::Hidden, Access::Read, When::Recurrent),
        binding(5, Role::CellState, Access::Read, When::CellState),
        binding(6, Role::Delta, Access::Read, When::Always),
        binding(7, Role::Kept, Access::Read, When::Always),
        binding(8, Role::Past, Access::ReadWrite, When::Always),
    ],
    overrides: STEP_BACK_OVERRIDES,
};

/// What [`STEP_BACK`] does for each n < steps in turn, for all panels of a layer, n steps before that of
/// the params. Rows of `gates`, `recurrent`, `delta`, `live` and `kept` advance by `time_step_z`, those of
/// `hidden` by `hidden_step_z`, and those of `cell_state` by −1. The first step multiplies row `[source_z]`
/// of δ and takes `past`. Each later one takes what the one before it left, and the last one leaves `past`.
pub(super) const SCAN_BACK: Declaration =
    Declaration { name: "scan_back", bindings: STEP_BACK.bindings, overrides: STEP_BACK_OVERRIDES };

/// The backward pass through the cell of one timestep of an LSTM that projects its
/// state. It is for b < batch, each direction d = direction + z and each unit n < units.
///
/// Reads the gates' input `a = gates[gates_z][b]`. The cell states before and after the step are
/// `c₋ = cell_state[cell_in][b][d·units + n]` and `c = cell_state[cell_out][b][d·units + n]`. The gradient
/// of the hidden state before its projection, dh, is `product[d·batch + b][n]`. That of the cell state is
/// `carry[d·batch + b][n]`. The peepholes are `peepholes[weight_panel + z·weight_panels + n/16][depth + 1]`.
///
/// Writes δ, the gradient of the gates' input, over `gates`. `carry` becomes the gradient of c₋, and
/// `result[gates_z][b][n] = o ∘ h(c)`. If `live[live_z][b]` is 0, δ and `result` are 0, and `carry` stays.
///
/// The equations are those of backpropagation through time (Werbos 1990): docs/training.md has
/// them. Each function f, g, h contributes its derivative at its input, or 0 if that was clipped.
pub(super) const CELL_BACK: Declaration = Declaration {
    name: "cell_back",
    bindings: &[
        PARAMS,
        binding(2, Role::Gates, Access::ReadWrite, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Peepholes, Access::Read, When::Peepholes),
        binding(5, Role::CellState, Access::Read, When::Always),
        binding(6, Role::Result, Access::ReadWrite, When::Always),
        binding(7, Role::Product, Access::Read, When::Always),
        binding(9, Role::Carry, Access::ReadWrite, When::Always),
    ],
    overrides: CELL_BACK_OVERRIDES,
};

/// The reset hidden state of a GRU with the reset before the product, for m < rows and n < units:
/// `result[target_0 + m][n] = f(gates[target_0 + m][reset] + recurrent[target_0 + m][reset]) ∘ hidden[source_0 +
/// m][direction·units + n]`. `gates` has G = 3, and `recurrent` has G = 2 (reset, update). Rows of `hidden` have
/// `directions · units` elements, and those of `result` have `units`.
pub(super) const RESET_ROWS: Declaration = Declaration {
    name: "reset_rows",
    bindings: &[
        PARAMS,
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(4, Role::Recurrent, Access::Read, When::Always),
        binding(5, Role::Hidden, Access::Read, When::Always),
        binding(6, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: HALF_BACK,
};

/// The backward pass of the second half of a timestep, of a GRU with the reset before the product. It is for b < batch,
/// each direction d = direction + z and each unit n < units.
///
/// The gradient of the state after the step, dh, is the sum of `product[d·batch + b][n]`,
/// `direct[d·batch + b][n]` and `delta[target_z][b][d·units + n]`. The state before the step is
/// `h = hidden[source_z][b][d·units + n]`. Gates are rows `[gates_z][b]` of `gates`, of `recurrent` (G = 2:
/// reset, update) and of `new` (G = 1): `n = g(gates_new + new)`, `z = f(gates_update + recurrent_update)`.
///
/// Writes δ of the new gate over `gates` and `new`, and δ of the update gate over
/// `gates` and `recurrent`. `direct = z ∘ dh`. For a padded unit, and for a row without
/// a step, the reset gate becomes 0 too. A row without a step has `direct = dh`.
pub(super) const NEW_BACK: Declaration = Declaration {
    name: "new_back",
    bindings: &[
        PARAMS,
        binding(1, Role::New, Access::ReadWrite, When::Always),
        binding(2, Role::Gates, Access::ReadWrite, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Recurrent, Access::ReadWrite, When::Always),
        binding(5, Role::Hidden, Access::Read, When::Always),
        binding(6, Role::Delta, Access::Read, When::Always),
        binding(7, Role::Product, Access::Read, When::Always),
        binding(8, Role::Direct, Access::ReadWrite, When::Always),
    ],
    overrides: HALF_BACK,
};

/// The backward pass of the first half: `dq = product[d·batch + b][n]` is the gradient of `r ∘ h`. Writes
/// δ of the reset gate, `dq ∘ h ∘ f'(…)`, over `gates` and `recurrent`, and adds `dq ∘ r` to `direct`.
pub(super) const RESET_BACK: Declaration = Declaration {
    name: "reset_back",
    bindings: &[
        PARAMS,
        binding(2, Role::Gates, Access::ReadWrite, When::Always),
        binding(4, Role::Recurrent, Access::ReadWrite, When::Always),
        binding(5, Role::Hidden, Access::Read, When::Always),
        binding(7, Role::Product, Access::Read, When::Always),
        binding(8, Role::Direct, Access::ReadWrite, When::Always),
    ],
    overrides: HALF_BACK,
};

/// The gradient of a projected state, for b < batch, each direction d = direction + z and each unit n < units of
/// the projection: `dh = product[d·batch + b][n] + direct[d·batch + b][n] + delta[target_z][b][d·units + n]`. If
/// there is a step, `result[gates_z][b][n] = dh` and `direct = 0`. Else `result` is 0 and `direct = dh`.
pub(super) const STATE_BACK: Declaration = Declaration {
    name: "state_back",
    bindings: &[
        PARAMS,
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(5, Role::Result, Access::ReadWrite, When::Always),
        binding(6, Role::Delta, Access::Read, When::Always),
        binding(7, Role::Product, Access::Read, When::Always),
        binding(8, Role::Direct, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// For i < panels, k ≤ depth and units u:
/// `target[weight_panel + i][k][g][u] += Σ_{m < rows} s_m[k] · delta[target_0 + m][i][g][u]` with
/// `s_m[k] = source[source_0 + m][source_offset + k]`, and 1 for k = depth, the bias.
///
/// - Rows of `source` have `source_units` elements, and those of `delta` have `units = panels · G · 16`.
/// - The target is a matrix, whose panels have `depth + after` rows. Its row k is 0 if k is padding: `depth`
///   is `source_directions` parts, each with `features` true ones. Its unit 16 i + u is 0 from `count` on.
/// - In a program per gate, `s_m[k]` of gate g is `source[source_0 + m][g]`
///   at `source_offset + k`, laid out as [`GEMM`](super::GEMM) says.
/// - Sums run over m in order, by parts that do not depend on the device's threads.
pub(super) const OUTER: Declaration = Declaration {
    name: "outer",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST", "GATES", "AFTER", "GATEWISE"],
};

/// The gradient of an LSTM's peepholes, added to row `depth + 1` of the panels of a matrix (G = 4) as in [`OUTER`].
/// It is 0 for units from `count` on. For i < panels: `Σ_m δ ∘ c₋` of the input and forget gates, `Σ_m δ ∘ c` of
/// the output gate, and 0 of the cell gate. Row m is step t = m / batch and b = m % batch. δ is
/// `gates[target_0 + m]`, and `c₋ = cell_state[cell_in + t · hidden_step_0][b][direction·P·16 + n]`. c is read
/// likewise from `cell_out` on, modulo 2³². Rows of `cell_state` have `directions · P · 16` elements, P = `panels`.
pub(super) const PEEPHOLE_BACK: Declaration = Declaration {
    name: "peephole_back",
    bindings: &[
        PARAMS,
        binding(1, Role::CellState, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// A matrix transposed. w are its `panels` panels from `weight_panel` on, `depth` rows deep, and N = `panels · G · 16`.
/// For k < depth and n < N, `target[target_0 + k / 16][n][0][k % 16] = w[n / (16 G)][k][n / 16 % G][n % 16]`. For n =
/// N, the bias, it is 0. Panels of the target have N + 1 rows and one gate.
///
/// In a program per gate, each gate is transposed by itself:
/// `target[target_0 + k / 16][n][g][k % 16] = w[n / 16][k][g][n % 16]` for n < N =
/// `panels · 16`, and 0 for n = N. Panels of the target then have N + 1 rows of G gates.
pub(super) const TRANSPOSE: Declaration = Declaration {
    name: "transpose",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["GATES", "AFTER", "GATEWISE"],
};

/// For m < rows: `target[target_0 + m] = delta[source_1 + m] · f'(source[source_0 + m])`.
/// Rows have `units · directions` elements, and each part has `features` true ones.
pub(super) const ACTIVATE_BACK: Declaration = Declaration {
    name: "activate_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: FUNCTION,
};

/// For m < rows, with y = `source[source_0 + m]`, the softmax, and d = `delta[source_1 + m]`,
/// over the true features: `target[target_0 + m] = y ∘ (d − Σ d ∘ y)`. Of the logarithm it is
/// `d − exp(y) · Σ d`. Rows are as in [`ACTIVATE_BACK`].
pub(super) const SOFTMAX_BACK: Declaration = Declaration {
    name: "softmax_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["ACTIVATION"],
};

/// For m < rows, with x = `source[source_0 + m]` and d = `delta[source_1 + m]`, of [`NORMALIZE`](super::NORMALIZE) with
/// the same params: `target[target_0 + m]` is the gradient of x, and `product[target_1 + m] = d ∘ ∂y/∂a`, the row's
/// part of the gradient of a. The padding of both becomes 0. Rows have `units` elements.
pub(super) const NORMALIZE_BACK: Declaration = Declaration {
    name: "normalize_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Source, Access::Read, When::Always),
        binding(3, Role::Delta, Access::Read, When::Always),
        binding(4, Role::Result, Access::ReadWrite, When::Always),
        binding(5, Role::Product, Access::ReadWrite, When::Always),
    ],
    overrides: &["NORM"],
};

/// For m < rows, with a = `source[source_0 + m]`, b = `other[source_0 + m]` and d = `delta[source_1 + m]`:
/// `target[target_0 + m] = d` if a > b, `d / 2` if a = b, else 0. Rows are as in [`ACTIVATE_BACK`].
pub(super) const MAXIMUM_BACK: Declaration = Declaration {
    name: "maximum_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
        binding(4, Role::Other, Access::Read, When::Always),
    ],
    overrides: &[],
};

/// For b < batch: `target[target_0 + b] += Σ_{t < steps} source[source_0 + t · batch + b]`,
/// in order. Rows have `units · directions` elements.
pub(super) const SUM_STEPS: Declaration = Declaration {
    name: "sum_steps",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// The gradient of a table: for v < tokens, `target[target_0 + v] += Σ_i delta[order[i] − source_0]`, in
/// order. The sum is over those i from `starts[token + v]` up to `starts[token + v + 1]` that are in
/// `offset .. offset + count` and whose `order[i]` is in `source_0 .. source_0 + rows`. Rows have `units`
/// elements. `order` lists the rows of a call by their tokens, and the rows of one token in ascending order.
pub(super) const SCATTER: Declaration = Declaration {
    name: "scatter",
    bindings: &[
        PARAMS,
        binding(1, Role::Delta, Access::Read, When::Always),
        binding(2, Role::Order, Access::Read, When::Always),
        binding(3, Role::Starts, Access::Read, When::Always),
        binding(4, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// Elements dropped at random, and their gradients in the backward pass. For m <
/// rows and true feature n, counted over all parts: `target[target_0 + m][n]` is
/// 0 if the random word is below `token`, else `scale · source[source_0 + m][n]`.
///
/// The word is the first of Threefry for the counters (c, n) under the key `draws[0 .. 2]`. c is the row in the whole
/// batch: row `r = source_1 + m` of the tile has `c = r / batch · time_step_0 · draws[2] + draws[3] + r % batch`.
/// `draws[2]` is B of the whole batch, and `draws[3]` is its first row in the tile. `time_step_0` is 0 if all steps
/// share what is dropped, else 1. Rows are as in [`ACTIVATE_BACK`].
pub(super) const DROP: Declaration = Declaration {
    name: "drop",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Draws, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// A copy of rows for each gate of a product. Each copy has elements of its own dropped, the same ones at all
/// steps. For m < rows, each part p = direction + z, n < units and g < G, `target[target_z + m][p][g][n]` is an element
/// of copy g. It is 0 if n is padding or the random word is below `token`. Else it is
/// `scale · source[source_z + m][p][n]`.
///
/// The word is the first of Threefry under the key `draws[0 .. 2]`, for the counters
/// `(draws[3] + (offset + m) % batch, source_offset + g · directions · features + p · features + n)`.
/// Rows of `source` have `source_directions` parts of `units` elements. Rows of `target` have
/// `tokens` parts, each a row of gates as [`GEMM`](super::GEMM) says. A row of one part holds part p.
pub(super) const SPREAD: Declaration = Declaration {
    name: "spread",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Draws, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["GATES"],
};

/// The backward pass of [`SPREAD`], with the same counters:
/// `target[target_z + m][p][n] += scale · Σ_g source[source_z + m][p][g][n]`, over the gates whose copy
/// keeps the element. Rows of `source` have `source_directions` parts, and those of `target` have `tokens`.
pub(super) const SPREAD_BACK: Declaration = Declaration {
    name: "spread_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Draws, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["GATES", "FIRST"],
};

/// For m < rows: `target[target_0 + m] = 0`. Rows have `units` elements.
pub(super) const ZERO: Declaration = Declaration {
    name: "zero",
    bindings: &[PARAMS, binding(1, Role::Result, Access::ReadWrite, When::Always)],
    overrides: &[],
};

/// For i < `count`: number i of the target is `source[offset + i]`. The target is a
/// texture with four numbers in each texel, and `offset` and `count` are multiples of 4.
pub(super) const TO_TEXTURE: Declaration = Declaration {
    name: "to_texture",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::WriteTexture, When::Always),
    ],
    overrides: &[],
};

/// For m < rows, with z the true features of `source[source_0 + m]`: `losses[source_1 + m] = s · ℓ` and
/// `target[target_0 + m] = s · ∂ℓ/∂z`, with s = `scale[source_1 + m]`. If s is 0, both are 0 for any z.
///
/// [`RowLoss`](super::super::RowLoss) has ℓ. The cross-entropy takes class y =
/// `classes[source_1 + m]`: `q_c = w_c · ((1 − smoothing) · [c = y] + smoothing / C)`, w = 1 or
/// `class_weights`, and ∂ℓ/∂z = `softmax(z) · Σ q − q`. The others take `values[source_1 + m]`.
/// Rows of `source`, `target` and `values` have `units · directions` elements, and each part
/// has `features` true ones. Rows of `scale`, `losses` and `classes` have one.
pub(super) const LOSS: Declaration = Declaration {
    name: "loss",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Tokens, Access::Read, When::Classes),
        binding(2, Role::Values, Access::Read, When::Values),
        binding(3, Role::Scale, Access::Read, When::Always),
        binding(4, Role::ClassWeights, Access::Read, When::Weighted),
        binding(5, Role::Result, Access::ReadWrite, When::Always),
        binding(6, Role::Losses, Access::ReadWrite, When::Always),
    ],
    overrides: &["LOSS", "CONSTANT"],
};
