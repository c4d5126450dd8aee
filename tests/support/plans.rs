//! Plans of the table's cases, made for any device without having it.

use std::sync::Arc;

use gatewave::conformance::{Case, MaskKind};
use gatewave::layout::Layout;
use gatewave::plan::lower::lower;
use gatewave::plan::tune::Tuning;
use gatewave::plan::{Limits, Plan, Shape};
use gatewave::{Mask, Model, Result, Storage};

/// A device that takes so little at once that weights, tables, sequences and time are cut.
pub const NARROW: Limits = Limits { binding_bytes: 64 << 10, ..Limits::WEBGPU };

/// The plan of `model` for a device of `limits`.
pub fn plan(
    model: &Model,
    storage: Storage,
    shape: Shape,
    tuning: impl Into<Tuning>,
    limits: &Limits,
) -> Result<Arc<Plan>> {
    let tuning = tuning.into();
    let layout = Layout::of(model, storage)?.with_medium(tuning.medium());
    lower(model, &layout, shape, limits, &tuning).map(Arc::new)
}

/// The plan of a case.
pub fn plan_of(case: &Case, tuning: impl Into<Tuning>, limits: &Limits) -> Result<Arc<Plan>> {
    let mask = if case.mask == MaskKind::All { Mask::All } else { Mask::Live };
    plan(&case.model, case.storage, Shape { time: case.time, batch: case.batch, mask }, tuning, limits)
}
