//! The declarations of the kernels across steps.

use super::{Access, Declaration, PARAMS, Role, When, binding};

/// For m < rows and n < steps: row m of the batch takes `source[source_0 + m + n · batch]` if that step is live, by
/// `live[live_0 + m + n · batch]`. `target[target_0 + m]` is the largest, the mean, the smallest or the sum of
/// these rows, element by element, and of the steps before. A program that is the first takes none before it.
///
/// - `counts[target_0 + m]` has how many steps have the largest or smallest element, else how many were live.
/// - A mean is a sum until the last program, which divides it. Without a live step, all of it is 0.
/// - A largest or smallest is NaN if any is. Rows have `units · directions` elements.
pub(super) const POOL: Declaration = Declaration {
    name: "pool",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Counts, Access::ReadWrite, When::Always),
    ],
    overrides: &["POOL", "FIRST", "LAST"],
};

/// For m < rows, with `b = (offset + m) % batch`: `target[target_0 + m] = delta[source_1 + b] / n`, and 0 if
/// `live[live_0 + m]` is 0. For a sum n is 1, else `counts[b]`, but at least 1. For a largest or smallest, an element is
/// also 0 unless that of `source[source_0 + m]` is equal to that of `other[b]`. Rows have `units · directions` elements.
pub(super) const POOL_BACK: Declaration = Declaration {
    name: "pool_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Other, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Counts, Access::Read, When::Always),
        binding(5, Role::Delta, Access::Read, When::Always),
        binding(6, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["POOL"],
};

/// For m < rows, with `o = (offset + m) / batch` and `b = (offset + m) % batch`: `target[target_0 + m]` is the largest,
/// the mean, the smallest or the sum, element by element, of what window o takes of row b. It takes steps
/// `t = o · time_step_0 + before_0 + j · time_step_1` for j < steps, where 0 <= t < count. `before_0` is signed.
///
/// - Step t is `source[source_0 + (t - gates_0) · batch + b]`. Rows have `units · directions` elements.
/// - With a mask, a window takes only steps that are live, by `live[live_0 + t · batch + b]`.
/// - A mean is divided by how many of these places are in `kept_0 .. kept_1`, which are signed, but at least by 1. With
///   a mask these are all steps, of which only those count that are live.
/// - A largest or smallest is NaN if any is. A window that takes no step is 0.
pub(super) const WINDOW_POOL: Declaration = Declaration {
    name: "window_pool",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
    ],
    overrides: &["POOL", "MASKED"],
};

/// The backward pass of `window_pool`. For m < rows, with `t = (offset + m) / batch` and `b = (offset + m) % batch`:
/// `target[target_0 + m]` is the sum over the windows o < count that take step t of `delta[d]`, with
/// `d = source_1 + (o - gates_1) · batch + b`. Of a mean, each is divided by what the window was divided by.
///
/// For a largest or smallest, an element of a window counts only if that of step t is equal to that of `other[d]`, and
/// that of no earlier step of the window is. Steps are found in `source` and `live` as `window_pool` finds them.
pub(super) const WINDOW_BACK: Declaration = Declaration {
    name: "window_back",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Other, Access::Read, When::Always),
        binding(3, Role::Live, Access::Read, When::Masked),
        binding(4, Role::Delta, Access::Read, When::Always),
        binding(5, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &["POOL", "MASKED"],
};

/// For m < rows, with `t = (offset + m) / batch` and `b = (offset + m) % batch`: feature f of `target[target_0 + m]` is
/// number `t · time_step_0 + f · time_step_1` of row b of the batch. The numbers of row b are the features of
/// `source[source_0 + b]`, then those of `source[source_0 + batch + b]`, and so on.
///
/// Features are counted as in `join`, and padding becomes 0. Rows of `source` have
/// `source_units · source_directions` elements, and those of `target` have `units · directions`.
pub(super) const REARRANGE: Declaration = Declaration {
    name: "rearrange",
    bindings: &[
        PARAMS,
        binding(1, Role::Source, Access::Read, When::Always),
        binding(2, Role::Result, Access::ReadWrite, When::Always),
    ],
    overrides: &[],
};
