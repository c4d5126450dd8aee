//! The kernels of attention.
//!
//! The value and the key have as many steps of B rows. Row m of a dispatch is row `n = target_0 + m`
//! of the result's window, of batch row `b = n % batch`. Rows of features have `units` elements.

use super::{Declaration, PARAMS, binding};
use crate::kernel::{Access, Role, When};

/// The scores of steps for rows of a query. For m < rows and i < steps:
/// `target[n][offset + i] = scale · s(source[source_0 + m], key[source_1 + i · batch + b])`.
///
/// s is the product of both rows, or `Σ tanh(q + k)`, or `Σ w ∘ tanh(q + k)` with w = `weights`, over their first
/// `features` elements. Given scores are the first element of `key`. Rows of the target have `source_units`.
pub(super) const SCORES: Declaration = Declaration {
    name: "scores",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Scaled),
        binding(2, Role::Source, Access::Read, When::Queried),
        binding(3, Role::Key, Access::Read, When::Always),
        binding(4, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// The shares of steps: a softmax over those that a row sees. For m < rows, `target[n] = softmax(source[source_0 + m])`
/// over the columns c < features with `live[live_0 + c · batch + b]`. If the program is causal, `c ≤ offset + n / batch`
/// too. Every other column becomes 0, and so do all if the row sees none. Rows have `units` elements.
pub(super) const SHARES: Declaration = Declaration {
    name: "shares",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["CAUSAL"],
};

/// Sums of rows by shares. For m < rows: `target[n] += scale · Σ_{i < steps} a_i · source[source_0 + i · batch + b]`, in
/// order. Of steps, `a_i = shares[source_1 + m][source_offset + i]`. Transposed, the sum is over rows of the query, and
/// `a_i = shares[source_1 + i · batch + b][source_offset + n / batch]`. Rows of `shares` have `source_units` elements.
/// The elements of the target from `features` on become 0.
pub(super) const BLEND: Declaration = Declaration {
    name: "blend",
    bindings: &[
        PARAMS,
        binding(1, Role::Shares, Access::Read, When::Always),
        binding(2, Role::Source, Access::Read, When::Always),
        binding(3, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST", "TRANSPOSED"],
};

/// The backward pass of scores that are no products. `shares` has the gradients of scores, with places as in [`BLEND`].
/// For m < rows: `target[n] += scale · w ∘ Σ_{i < steps} a_i · s_i`, over the first `features` elements; others become 0.
///
/// With `r = tanh(other[kept_0 + m] + source[source_0 + i · batch + b])`, s is `1 − r²` of query and key, which
/// are summed as [`BLEND`] sums steps and, transposed, rows of the query. s is r of the weight, and 1 of given scores. w
/// is `weights`, or 1.
pub(super) const SCORES_BACK: Declaration = Declaration {
    name: "scores_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Weights, Access::Read, When::Scaled),
        binding(2, Role::Shares, Access::Read, When::Always),
        binding(3, Role::Source, Access::Read, When::Queried),
        binding(4, Role::Other, Access::Read, When::Queried),
        binding(5, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST", "TRANSPOSED"],
};
