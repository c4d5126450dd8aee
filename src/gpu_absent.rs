//! In the place of `gpu`, where it is not built: the same names, of which nothing can ever be made.
//!
//! So whoever opens, runs and checks devices is written once. Each function here that takes one of them has no body to
//! write: there is no such value.

#[expect(dead_code, unreachable_pub, reason = "of adapters that nobody lists")]
#[path = "gpu/info.rs"]
mod info;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use info::{AdapterInfo, AdapterKind, Choice, Timings, Wait};

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Medium;
use crate::pack::PackedBuffer;
use crate::plan::{Caller, Limits, Plan, Read, Results, SlotId, Spent, StateRow};

/// Why `Choice::Auto` finds nothing.
pub(crate) const NONE_HERE: &str = "built without the feature `gpu`";

/// Workgroups that are looked for on a device, of which there is none.
pub(crate) const MOST_RESIDENT: u32 = 1;

/// An open GPU, of which there is none.
pub(crate) enum Gpu {}

/// States on a GPU.
pub(crate) enum States {}

/// A run whose results are on their way.
pub(crate) enum Flight {}

/// A model's weights on a GPU.
#[derive(Default)]
pub(crate) struct Loaded {}

impl Gpu {
    /// None.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where a certain one is meant.
    pub(crate) async fn open(choice: Choice) -> Result<Option<Self>> {
        let name = match choice {
            Choice::Auto { .. } => return Ok(None),
            Choice::Named(name) => name,
            Choice::Noop => "noop".to_owned(),
        };
        let text = format!("device {name:?}: expected auto or cpu: this gatewave was built without the feature `gpu`");
        Err(Error::new(ErrorKind::Device, text))
    }

    pub(crate) fn info(&self) -> &AdapterInfo {
        match *self {}
    }

    pub(crate) fn limits(&self) -> Limits {
        match *self {}
    }

    pub(crate) async fn add(&self, _: &mut Loaded, _: PackedBuffer, _: Medium) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn replace(&self, _: &Loaded, _: usize, _: &PackedBuffer) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn keep(&self, _: &mut Loaded, _: &Plan) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn replace_kept(&self, _: &Loaded, _: usize, _: &PackedBuffer) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn run(&self, _: &Loaded, _: &Arc<Plan>, _: &mut dyn Caller, _: Wait) -> Result<Timings> {
        match *self {}
    }

    pub(crate) async fn run_clocked(&self, _: &Loaded, _: &Arc<Plan>, _: &mut dyn Caller, _: Wait) -> Result<Spent> {
        match *self {}
    }

    pub(crate) async fn send(
        &self,
        _: &Loaded,
        _: &Arc<Plan>,
        _: &mut dyn Caller,
        _: Option<(&mut States, usize)>,
        _: Results,
        _: Wait,
    ) -> Result<Option<Flight>> {
        match *self {}
    }

    pub(crate) async fn land(&self, _: &mut Flight, _: impl FnMut(Read, &[f32]), _: Wait) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn states(&self, _: &Plan, _: usize) -> Result<States> {
        match *self {}
    }

    pub(crate) async fn grow(&self, _: &mut States, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn set(&self, _: &mut States, _: &[StateRow]) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn trace(
        &self,
        _: &Loaded,
        _: &Arc<Plan>,
        _: &mut dyn Caller,
    ) -> Result<Option<Vec<(SlotId, Vec<f32>)>>> {
        match *self {}
    }

    pub(crate) fn stalled(&self) -> Arc<AtomicBool> {
        match *self {}
    }

    pub(crate) fn in_vain(&self) -> Error {
        match *self {}
    }

    pub(crate) fn objects(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn poison(&self) {
        match *self {}
    }

    pub(crate) fn is_lost(&self) -> bool {
        match *self {}
    }

    pub(crate) fn lose(&self) {
        match *self {}
    }
}

impl States {
    pub(crate) fn clear(&mut self, _: usize) {
        match *self {}
    }
}
