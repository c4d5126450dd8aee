//! The kernels of training. A padded feature or unit of what they write is 0, whatever stands in the padding of what they
//! read, which is finite: gradients of padding must not become weights. Of a step's kernels `features` of the `units` are
//! true.
//!
//! Rows of gates and of their gradients δ are `[D][C][B][P][G][16]`, as the hoisted product has them, direction d of
//! `directions` and step t of the chunk in row block `gates_z`.

use super::{Declaration, FUNCTION, PARAMS, binding};
use crate::kernel::{Access, Role, When};

/// Of the way back through a cell: those of a general cell alone.
const CELL_BACK_OVERRIDES: &[&str] =
    &["CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H", "H_ALPHA", "H_BETA"];
/// Of a step back: those of its product, then likewise.
const STEP_BACK_OVERRIDES: &[&str] = &[
    "PANELS", "SLICES", "CLIP", "COUPLED", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA", "H", "H_ALPHA", "H_BETA",
];
/// Of one half of a GRU's, likewise.
const HALF_BACK: &[&str] = &["CLIP", "F", "F_ALPHA", "F_BETA", "G", "G_ALPHA", "G_BETA"];

/// One timestep of RNN, LSTM or GRU (reset after) back, for b < batch, each direction d = direction + z, i < panels and each unit
/// n = 16 (panel + i) + u of the padded ones.
///
/// Reads `kept[kept_z][b][panel + i]`, what the step left there: see [`STEP`](super::STEP). `h =
/// hidden[before_z][b][d·units + n]` is the state before the step (GRU), `c₋ = memory[memory_in][b][d·units + n]` and `c =
/// memory[memory_out][b][d·units + n]` the cell state before and after it (LSTM).
///
/// The gradient of the state after the step, dh, is the sum of δ' · `weights`, `past[0][b][d·units + n]` and
/// `delta[target_z][b][d·units + n]`. δ' is row `[source_z][b]` of `recurrent` (GRU) or `gates`, its `depth` elements: the step
/// after has written it. `weights` is the recurrent matrix turned, as [`TRANSPOSE`] has it. That of the cell state is
/// `past[1][b][d·units + n]`.
///
/// Writes δ, the gradient of what goes into the gates, to `gates[gates_z][b][panel + i]`, and a GRU's of the recurrent product to
/// `recurrent[gates_z][b][panel + i]`; of an LSTM `past[1]` becomes the gradient of c₋; `past[0]` that part of the gradient of h that goes
/// past the products (`z ∘ dh` of a GRU, else 0). Where `live[live_z][b]` is 0: δ is 0, `past[0] = dh`, and `past[1]` stays.
/// `peepholes[weight_panel + z·weight_panels + i][units + 1]` are peepholes.
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
        binding(5, Role::Memory, Access::Read, When::Memory),
        binding(6, Role::Delta, Access::Read, When::Always),
        binding(7, Role::Kept, Access::Read, When::Always),
        binding(8, Role::Past, Access::ReadWrite, When::Always),
    ],
    overrides: STEP_BACK_OVERRIDES,
};

/// For each n < steps in turn, what [`STEP_BACK`] does for all panels of a layer, of the n-th step before that of the params: at
/// rows of `gates`, `recurrent`, `delta`, `live` and `kept` that go on by `time_step_z`, of `hidden` by `hidden_step_z`, and of
/// `memory` by −1. The first one multiplies row `[source_z]` of δ and takes `past`; each other one what the one before it left.
/// `past` is left by the last.
pub(super) const SCAN_BACK: Declaration =
    Declaration { name: "scan_back", bindings: STEP_BACK.bindings, overrides: STEP_BACK_OVERRIDES };

/// The way back through the cell of one timestep of an LSTM that projects its state, for b < batch, each direction d = direction + z
/// and each unit n < units.
///
/// Reads `a = gates[gates_z][b]`, what goes into the gates, and `c₋ = memory[memory_in][b][d·units + n]` and `c =
/// memory[memory_out][b][d·units + n]`, the cell state before and after the step. The gradient of the hidden state before its
/// projection, dh, is `product[d·batch + b][n]`. That of the cell state is `carry[d·batch + b][n]`.
/// `peepholes[weight_panel + z·weight_panels + n/16][depth + 1]` are peepholes.
///
/// Writes δ, the gradient of what goes into the gates, over `gates`; `carry` becomes the gradient of c₋, and
/// `result[gates_z][b][n] = o ∘ h(c)`. Where `live[live_z][b]` is 0: δ and `result` are 0, and `carry` stays.
///
/// The equations are those of backpropagation through time (Werbos 1990), every function f, g, h by its derivative at what
/// goes into it, 0 where that was clipped: docs/training.md has them.
pub(super) const CELL_BACK: Declaration = Declaration {
    name: "cell_back",
    bindings: &[
        PARAMS,
        binding(2, Role::Gates, Access::ReadWrite, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Peepholes, Access::Read, When::Peepholes),
        binding(5, Role::Memory, Access::Read, When::Always),
        binding(6, Role::Result, Access::ReadWrite, When::Always),
        binding(7, Role::Product, Access::Read, When::Always),
        binding(9, Role::Carry, Access::ReadWrite, When::Always),
    ],
    overrides: CELL_BACK_OVERRIDES,
};

/// Of GRU with the reset before the product, for m < rows and n < units:
/// `result[target_0 + m][n] = f(gates[target_0 + m][reset] + recurrent[target_0 + m][reset]) ∘
/// hidden[source_0 + m][direction·units + n]`. `gates` has G = 3, `recurrent` G = 2 (reset, update); rows of `hidden` have
/// `directions · units` elements, those of `result` `units`.
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

/// Of GRU with the reset before the product, the half that comes last, for b < batch, each direction d = direction + z and each unit
/// n < units.
///
/// The gradient of the state after the step, dh, is the sum of `product[d·batch + b][n]`, `direct[d·batch + b][n]` and
/// `delta[target_z][b][d·units + n]`; `h = hidden[source_z][b][d·units + n]` is the state before it. Gates are rows
/// `[gates_z][b]` of `gates`, of `recurrent` (G = 2: reset, update) and of `new` (G = 1): `n = g(gates_new + new)`,
/// `z = f(gates_update + recurrent_update)`. Writes δ of the new gate over `gates` and `new`, δ of the update gate over `gates`
/// and `recurrent`; `direct = z ∘ dh`. Of a padded unit and of a row without a step it leaves 0 in the place of the reset gate too;
/// such a row has `direct = dh`.
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

/// The other half: `dq = product[d·batch + b][n]` is the gradient of `r ∘ h`. Writes δ of the reset gate,
/// `dq ∘ h ∘ f'(…)`, over `gates` and `recurrent`, and adds `dq ∘ r` to `direct`.
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

/// The gradient of a projected state, for b < batch, each direction d = direction + z and n < units (the projection's):
/// `dh = product[d·batch + b][n] + direct[d·batch + b][n] + delta[target_z][b][d·units + n]`. Where there is a step
/// `result[gates_z][b][n] = dh` and `direct = 0`, else `result` is 0 and `direct = dh`.
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

/// For i < panels, k ≤ depth and units u: `target[weight_panel + i][k][g][u] += Σ_{m < rows} s_m[k] · delta[target_0 + m][i][g][u]`
/// with `s_m[k] = source[source_0 + m][source_offset + k]`, and 1 for k = depth, the bias. Rows of `source` have
/// `source_units` elements, those of `delta` `units = panels · G · 16`. The target is a matrix, whose panels have `depth +
/// after` rows. Its row k is 0 where k is padding: `depth` is `source_directions` parts, each with `features` true ones.
/// Its unit 16 i + u is 0 from `count` on. In a program that is apart `s_m[k]` of gate g is `source[source_0 + m][g]` at
/// `source_offset + k`, laid out as [`PROJECT`](super::PROJECT) says. Sums run over m in order, by parts that do not depend on the device's threads.
pub(super) const OUTER: Declaration = Declaration {
    name: "outer",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST", "GATES", "AFTER", "APART"],
};

/// The gradient of an LSTM's peepholes, row `depth + 1` of the panels of a matrix (G = 4) as [`OUTER`] has it, added to what
/// stands there and 0 for units from `count` on: for i < panels,
/// of gates input and forget `Σ_m δ ∘ c₋`, of output `Σ_m δ ∘ c`, of cell 0. Row m is step t = m / batch and b = m % batch:
/// δ is `gates[target_0 + m]`, `c₋ = memory[memory_in + t · hidden_step_0][b][direction·P·16 + n]`, c likewise from
/// `memory_out` on, modulo 2³²; rows of `memory` have `directions · P · 16` elements, P = `panels`.
pub(super) const PEEPHOLE_BACK: Declaration = Declaration {
    name: "peephole_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Memory, Access::Read, When::Always),
        binding(2, Role::Gates, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// A matrix turned: with w its panels from `weight_panel` on, `panels` of them, `depth` rows deep, and N = `panels · G · 16`:
/// `target[target_0 + k / 16][n][0][k % 16] = w[n / (16 G)][k][n / 16 % G][n % 16]` for k < depth, n < N, and 0 for n = N,
/// the bias. Panels of the target have N + 1 rows and one gate. In a program that is apart each gate is turned by itself:
/// `target[target_0 + k / 16][n][g][k % 16] = w[n / 16][k][g][n % 16]` for n < N = `panels · 16`, and 0 for n = N; panels have N + 1
/// rows of G gates.
pub(super) const TRANSPOSE: Declaration = Declaration {
    name: "transpose",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["GATES", "AFTER", "APART"],
};

/// For m < rows: `target[target_0 + m] = delta[source_1 + m] · f'(source[source_0 + m])`. Rows have `units · directions`
/// elements, of each part `features` true ones.
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

/// For m < rows with y = `source[source_0 + m]`, what softmax gave, and d = `delta[source_1 + m]`, over the true features:
/// `target[target_0 + m] = y ∘ (d − Σ d ∘ y)`, or of its logarithm `d − exp(y) · Σ d`. Rows as of [`ACTIVATE_BACK`].
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

/// For m < rows with a = `source[source_0 + m]`, b = `other[source_0 + m]` and d = `delta[source_1 + m]`:
/// `target[target_0 + m] = d` where a > b, `d / 2` where a = b, else 0. Rows as of [`ACTIVATE_BACK`].
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

/// For b < batch: `target[target_0 + b] += Σ_{t < steps} source[source_0 + t · batch + b]`, in order. Rows have `units ·
/// directions` elements.
pub(super) const SUM_STEPS: Declaration = Declaration {
    name: "sum_steps",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// The gradient of a table: for v < tokens, `target[target_0 + v] += Σ_i delta[order[i] − source_0]` over those i from
/// `starts[token + v]` up to `starts[token + v + 1]` that are in `offset .. offset + count` and whose `order[i]` is in
/// `source_0 .. source_0 + rows`, in order. Rows have `units` elements. `order` are the rows of a call by their tokens,
/// those of one token ascending.
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

/// Elements dropped at random, and on the way back their gradients. For m < rows and true feature n, counted over all parts:
/// `target[target_0 + m][n]` is 0 where the first word of Threefry for the counters (c, n) under the key `draws[0 .. 2]` is below
/// `token`, else `scale · source[source_0 + m][n]`. c is the row in the whole batch: `r = source_1 + m` is a row of the tile,
/// `c = r / batch · time_step_0 · draws[2] + draws[3] + r % batch`, so that `draws[2]` is B of the whole batch, `draws[3]` the row of it
/// where the tile begins, and `time_step_0` is 0 where all steps share what is dropped, else 1. Rows as of [`ACTIVATE_BACK`].
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

/// A copy of rows for each gate of a product, each with elements of its own dropped, the same at all steps. For m < rows, each part
/// p = direction + z, n < units and g < G: where n is a true feature, `target[target_z + m][p][g][n]` is 0 where the first word of
/// Threefry for the counters `(draws[3] + (offset + m) % batch, source_offset + g · directions · features + p · features + n)`
/// under the key `draws[0 .. 2]` is below `token`, else `scale · source[source_z + m][p][n]`; where not, 0. Rows of `source` have
/// `source_directions` parts of `units` elements, those of `target` `tokens`, each a row of gates as [`PROJECT`](super::PROJECT) says;
/// a row of one part has p in it.
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

/// The way back through [`SPREAD`], whose counters it has: `target[target_z + m][p][n]` takes `scale · Σ_g source[source_z + m][p][g][n]`
/// over the gates in whose copy it is kept, added to what stands there. Rows of `source` have `source_directions` parts, those of
/// `target` `tokens`.
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

/// For i < `count`: number i of the target, a texture of four numbers a texel, is `source[offset + i]`. `offset` and `count` are
/// multiples of 4.
pub(super) const TO_TEXTURE: Declaration = Declaration {
    name: "to_texture",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::WriteTexture, When::Always),
    ],
    overrides: &[],
};

/// For m < rows with z = `source[source_0 + m]`, its true features alone: `losses[source_1 + m] = s · ℓ`, and
/// `target[target_0 + m] = s · ∂ℓ/∂z`, s = `scale[source_1 + m]`; where s is 0 both are 0, whatever z. ℓ is what
/// [`RowLoss`](super::super::RowLoss) says; of the cross-entropy with class y = `classes[source_1 + m]`,
/// `q_c = w_c · ((1 − smoothing) · [c = y] + smoothing / C)`, w = 1 or `class_weights`, and ∂ℓ/∂z = `softmax(z) · Σ q − q`;
/// of the others with `values[source_1 + m]`. Rows of `source`, `target` and `values` have `units · directions` elements, of
/// each part `features` true ones; `scale`, `losses` and `classes` have one.
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
