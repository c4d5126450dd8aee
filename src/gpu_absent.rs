//! Replaces `gpu` if that is not built: it has the same names, but no GPU can be made.
//!
//! So the code that opens, runs and checks devices is written only once. A
//! function here that takes a GPU needs no body: there is no such value.

#[expect(dead_code, unreachable_pub, reason = "of adapters that nobody lists")]
#[path = "gpu/info.rs"]
mod info;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use info::{AdapterInfo, AdapterKind, Choice};

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Medium;
use crate::pack::PackedBuffer;
use crate::plan::{HostIo, Limits, Plan, Read, Results, SlotId, Spent, StateRow, Timings};

/// The reason why `Choice::Auto` finds nothing.
pub(crate) const NONE_HERE: &str = "built without the feature `gpu`";

/// Lists the adapters in words.
pub(crate) async fn listed() -> String {
    "none".to_owned()
}

/// The most workgroups that a self-check tries, on a device that does not exist.
pub(crate) const MOST_CO_RESIDENT: u32 = 1;

/// An open GPU, which does not exist.
pub(crate) enum Gpu {}

/// States on a GPU.
pub(crate) enum States {}

/// A run whose results are on their way.
pub(crate) enum PendingRead {}

/// A model's weights on a GPU.
#[derive(Default)]
pub(crate) struct Loaded {}

impl Gpu {
    /// Returns `None`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the choice names a device.
    pub(crate) async fn open(choice: Choice) -> Result<Option<Self>> {
        let name = match choice {
            Choice::Auto { .. } | Choice::Gpu { .. } => return Ok(None),
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

    pub(crate) async fn run(&self, _: &Loaded, _: &Arc<Plan>, _: &mut dyn HostIo) -> Result<Timings> {
        match *self {}
    }

    pub(crate) async fn run_clocked(&self, _: &Loaded, _: &Arc<Plan>, _: &mut dyn HostIo) -> Result<Spent> {
        match *self {}
    }

    pub(crate) async fn send(
        &self,
        _: &Loaded,
        _: &Arc<Plan>,
        _: &mut dyn HostIo,
        _: Option<(&mut States, usize)>,
        _: Results,
    ) -> Result<Option<PendingRead>> {
        match *self {}
    }

    pub(crate) async fn wait_for(&self, _: &mut PendingRead, _: impl FnMut(Read, &[f32])) -> Result<()> {
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
        _: &mut dyn HostIo,
    ) -> Result<Option<Vec<(SlotId, Vec<f32>)>>> {
        match *self {}
    }

    pub(crate) fn stalled(&self) -> Arc<AtomicBool> {
        match *self {}
    }

    pub(crate) fn stall_error(&self) -> Error {
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
