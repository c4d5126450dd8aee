//! The declarations of the kernels of a convolution.
//!
//! Row n = offset + m of a sequence is row `b = n % batch` of its step `t = n / batch`. A convolution has `steps` taps,
//! and `W = depth / steps` rows of the depth for each. Panel p multiplies W elements of a row of the source from
//! [`Band::first`](super::super::Band::first) on: `c_p`. Groups have `tokens` features of the source, whose parts have
//! `source_features` true ones, and `features` of the result. Rows of the source have `source_units` elements, and
//! those of the result have `units`.

use super::{Access, Declaration, PARAMS, Role, When, binding};

/// For m < rows and i < panels: `target[target_0 + m][panel + i][u] = f(Σ_j Σ_{k < W} s_j[k] · weights[weight_panel +
/// i][j · W + k][u] + bias)` over the taps j, with `s_j[k] = source[r_j][c + k]`, c that of panel `panel + i`.
///
/// `r_j = source_0 + (t · time_step_0 + j · time_step_1) · batch + b`, modulo 2³². A row that is none of the `kept_1`
/// rows from `kept_0` on is taken for zeros. Units from `count` on become 0, as in `gemm`.
pub(super) const CONV: Declaration = Declaration {
    name: "conv",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Source, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["PANELS", "SLICES", "ACTIVATION", "ALPHA", "BETA"],
};

/// The gradient of the source of [`CONV`]. For m < rows and columns c of its row: `target[target_0 + m][c] +=
/// Σ_i Σ_j Σ_u delta[d_j][i][u] · weights[weight_panel + i][j · W + c − c_i][u]`, over the panels i < panels whose band
/// has c, in order, and the taps j.
///
/// `d_j = source_1 + (s_j − kept_0) · batch + b` with `s_j = (before_0 + t − j · time_step_1) / time_step_0`. A tap
/// for which that is no whole number, or none of the `kept_1` steps from `kept_0` on, is left out. Weights of other
/// groups' features and of padding are 0, so that the padding stays as it is.
pub(super) const CONV_BACK: Declaration = Declaration {
    name: "conv_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// The gradient of the matrix of [`CONV`], whose bias is row `depth`. For i < panels, k ≤ depth and units u:
/// `target[weight_panel + i][k][u] += Σ_{m < rows} s_m[k] · delta[target_0 + m][panel + i][u]`. Here `s_m[k]` is what
/// row k of the depth is multiplied with for row m, and 1 for the bias. Sums run over m in order.
///
/// An element of the depth is 0 unless it is a true feature of the unit's own group. Units are 0 from `count` on.
pub(super) const CONV_OUTER: Declaration = Declaration {
    name: "conv_outer",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};
