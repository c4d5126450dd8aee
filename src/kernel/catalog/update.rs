//! The kernels of an update: gradients become new weights, on the device, so that neither comes to the host.
//!
//! They go by the elements of a packed buffer of weights, `rows` rows of `units` elements from row `source_0` of the windows on.
//! A panel of a matrix has `count` rows: those of the depth, the bias, and peepholes. So the rows of a buffer are of three classes,
//! by their place r in the panel: 0 where r < `depth`, 1 where r = `depth`, else 2. A table has one class, since its `count` and
//! `depth` are the largest words. `gates_0`, `gates_1` and `live_0` say which of `scalars`, one a role of a parameter, the rows of
//! each class have: none where it is the largest word, and these rows are left alone.

use super::{Declaration, PARAMS, binding};
use crate::kernel::{Access, Role, When};

/// One tensor in two packed buffers, for two layers that share it and lay it out each in its way: `rows` rows of `features`
/// elements, from row `offset` on. Element (n, c) of it is added to the element of the other: `result[b(n, c)] += source[a(n, c)]`.
///
/// Where it is in a matrix whose panels have `p` elements, of G gates, units of `u` and parts of `s` features:
/// `first + n % u / 16 · p + (k · G + n / u) · 16 + n % u % 16`, k = `c / s · padded(s) + c % s`. `first` counts elements from the
/// start of the window. Where it is in a table, `p` is 0, and it is `first + n · u + c`.
/// Of `source`: `source_0` = first, `source_1` = p, `gates_0` = G, `source_units` = u, `source_features` = s. Of `result`:
/// `target_0`, `target_1`, `gates_1`, `units`, `source_directions`.
pub(super) const TIE: Declaration = Declaration {
    name: "tie",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// Sums of the squares of gradients, workgroup x of a grid: `result[target_0 + x] = Σ (g + penalty · w)²` over the elements i of the
/// rows, in fours, with `x · steps ≤ i / 4 < (x + 1) · steps`. w are in `source`, g in `delta`.
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

/// `result[target_0] += scale · Σ_{i < count} source[source_0 + i]`. So a scale of 0 leaves a sum as it is unless the numbers are
/// not finite: then it is NaN.
pub(super) const TOTAL: Declaration = Declaration {
    name: "total",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["FIRST"],
};

/// New weights in place of the old, by the equations of `rule.rs`, which names their sources: w are in `result`, g in `delta`, what
/// the rule keeps of each weight in `moment`, `second_moment` and `third_moment`. `norms[time_step_0]`, `[time_step_1]` and
/// `[live_1]` are the squares of the norms by which the rows of each class are clipped. Where `norms[0]` is not finite, all stays
/// as it is. The grid has `steps` workgroups in x.
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
