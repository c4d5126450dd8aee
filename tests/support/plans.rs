//! Plans of the table's cases, made for any device without having it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatewave::conformance::{Case, MaskKind};
use gatewave::layout::Layout;
use gatewave::plan::lower::lower;
use gatewave::plan::tune::Tuning;
use gatewave::plan::{Limits, Plan, Shape};
use gatewave::{Error, ErrorKind, Mask, Model, Result, Storage};

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
    plan(
        &case.model,
        case.storage,
        Shape::of_model(&case.model, |input| case.time_of(input), case.batch, mask),
        tuning,
        limits,
    )
}

/// Plans that there are, and those that each limit refuses.
pub type Counts = (usize, Vec<(&'static str, usize)>);

/// How many plans of a set there are, and how many are refused by which limit.
#[derive(Debug, Default)]
pub struct Outcomes {
    planned: usize,
    refused: BTreeMap<&'static str, usize>,
}

impl Outcomes {
    /// Counts what became of a plan, and gives the plan. Anything but a limit that is exceeded fails.
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

    /// How many there are, and by which limit how many are refused.
    pub fn counts(&self) -> Counts {
        (self.planned, self.refused.iter().map(|(limit, count)| (*limit, *count)).collect())
    }
}

/// The limit that a message speaks of.
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
