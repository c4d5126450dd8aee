//! The kernels of an update: gradients become new weights on the device, so that neither comes to the host.
//!
//! Each works on `rows` rows of `units` elements of a packed buffer of weights, from row `source_0` of the windows on.
//! A panel of a matrix has `count` rows: those of the depth, the bias, and peepholes. Rows have one of three classes,
//! by their place r in the panel: 0 if r < `depth`, 1 if r = `depth`, else 2. A table has one class, since its `count`
//! and `depth` are the largest words. `scalars` has an entry for each role of a parameter, and `gates_0`, `gates_1`
//! and `live_0` say which entry each class takes. The largest word means none: rows of that class are left alone.

use super::{Declaration, PARAMS, binding};
use crate::kernel::{Access, Role, When};

/// Adds one tensor to another in two packed buffers, for two layers that share it but lay it
/// out differently. It has `rows` rows of `features` elements, from row `offset` on. Element
/// (n, c) of one is added to that of the other: `result[b(n, c)] += source[a(n, c)]`.
///
/// A matrix has panels of `p` elements, G gates, units of `u` and parts of `s` features. Its element is at
/// `first + n % u / 16 · p + (k · G + n / u) · 16 + n % u % 16`, with k = `c / s · padded(s) + c % s`. `first`
/// counts elements from the start of the window. For a table, `p` is 0, and the element is at `first + n · u + c`.
/// The numbers of `source`: `source_0` = first, `source_1` = p, `gates_0` = G, `source_units` = u, `source_features`
/// = s. Those of `result`, in the same order: `target_0`, `target_1`, `gates_1`, `units`, `source_directions`.
pub(super) const TIE: Declaration = Declaration {
    name: "tie",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// Sums of the squares of gradients, one for each workgroup x of a grid:
/// `result[target_0 + x] = Σ (g + penalty · w)²`. The sum is over the elements i of the rows,
/// in fours, with `x · steps ≤ i / 4 < (x + 1) · steps`. w are in `source`, and g in `delta`.
pub(super) const SQUARES: Declaration = Declaration {
    name: "squares",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Delta, Access::Read, When::Always),
        binding(3, Role::Scalars, Access::Read, When::Always),
        binding(4, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};

/// `result[target_0] += scale · Σ_{i < count} source[source_0 + i]`. A scale
/// of 0 leaves a sum of finite numbers as it is, and otherwise makes it NaN.
pub(super) const TOTAL: Declaration = Declaration {
    name: "total",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// Replaces the weights by new ones. The equations are in `rule.rs`, which names their sources. w are in `result`,
/// and g in `delta`. The numbers that the rule keeps of each weight are in `moment`, `second_moment` and
/// `third_moment`. The rows of each class are clipped by the squared norms in `norms[time_step_0]`, `[time_step_1]`
/// and `[live_1]`. If `norms[0]` is not finite, everything stays as it is. The grid has `steps` workgroups in x.
pub(super) const UPDATE: Declaration = Declaration {
    name: "update",
    bindings: &[
        PARAMS,
        binding(1, Role::Delta, Access::Read, When::Always),
        binding(2, Role::Scalars, Access::Read, When::Always),
        binding(3, Role::Norms, Access::Read, When::Always),
        binding(4, Role::Result, Access::ReadWrite, When::Always),
        binding(5, Role::Moment, Access::ReadWrite, When::Moments(0)),
        binding(6, Role::SecondMoment, Access::ReadWrite, When::Moments(1)),
        binding(7, Role::ThirdMoment, Access::ReadWrite, When::Moments(2)),
    ],
    overrides: &["BOUNDED"],
};
