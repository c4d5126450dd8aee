//! Plans of the table's cases, made for any device without having it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatewave::conformance::{Case, MaskKind};
use gatewave::inspect::kernel::Mask;
use gatewave::inspect::layout::Layout;
use gatewave::inspect::plan::lower::lower;
use gatewave::inspect::plan::tune::Tuning;
use gatewave::inspect::plan::{Limits, Plan, Shape};
use gatewave::{Error, ErrorKind, Model, Precision, Result};

/// A device with such small limits that weights, tables, sequences and time are cut.
pub const NARROW: Limits = Limits { binding_bytes: 64 << 10, ..Limits::WEBGPU };

/// Returns the plan of `model` for a device with `limits`.
pub fn plan(
    model: &Model,
    precision: Precision,
    shape: Shape,
    tuning: impl Into<Tuning>,
    limits: &Limits,
) -> Result<Arc<Plan>> {
    let tuning = tuning.into();
    let layout = Layout::of(model, precision)?.with_medium(tuning.medium());
    lower(model, &layout, shape, limits, &tuning).map(Arc::new)
}

/// The plan of a case.
pub fn plan_of(case: &Case, tuning: impl Into<Tuning>, limits: &Limits) -> Result<Arc<Plan>> {
    let mask = if case.mask == MaskKind::All { Mask::All } else { Mask::Live };
    plan(
        &case.model,
        case.precision,
        Shape::of_model(&case.model, |input| case.time_of(input), case.batch, mask),
        tuning,
        limits,
    )
}

/// The number of plans, and the number that each limit refuses.
pub type Counts = (usize, Vec<(&'static str, usize)>);

/// Counts the plans of a set, and those that are refused by each limit.
#[derive(Debug, Default)]
pub struct Outcomes {
    planned: usize,
    refused: BTreeMap<&'static str, usize>,
}

impl Outcomes {
    /// Counts a plan or its refusal, and returns the plan. Any error but an exceeded limit fails.
    #[track_caller]
    pub fn count<P>(&mut self, what: &str, result: Result<P, Error>) -> Option<P> {
        match result {
            Ok(plan) => {
                self.planned += 1;
                Some(plan)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Limits, "{what}: {error}");
                *self.refused.entry(limit(&error.to_string())).or_default() += 1;
                None
            }
        }
    }

    /// Returns the number of plans, and how many each limit refused.
    pub fn counts(&self) -> Counts {
        (self.planned, self.refused.iter().map(|(limit, count)| (*limit, *count)).collect())
    }
}

/// Returns the limit that a message names.
#[track_caller]
fn limit(message: &str) -> &'static str {
    let limits = [
        (" needs a binding of ", "binding"),
        (" needs a buffer of ", "buffer"),
        (" a plan has at most ", "dispatches"),
        (" elements of it, kernels count to ", "elements"),
        (" iterations of loops an invocation", "loops"),
        (" a grid of ", "grid"),
        (" invocations a workgroup", "invocations"),
        (" bytes of workgroup memory", "workgroup memory"),
        (" workgroups that wait for each other", "workgroups side by side"),
    ];
    let known = limits.into_iter().find(|(text, _)| format!(" {message}").contains(text));
    known.unwrap_or_else(|| panic!("no limit is in {message:?}")).1
}
