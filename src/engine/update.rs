//! New weights in place of the old, on the device: an update of what a runner keeps, and
//! what is written there and read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gradient_runner::GradientRunner;
use super::planner::Planner;
use super::sent::Sent;
use super::training_io::sum;
use crate::error::{Error, Result};
use crate::pack::{PackedBuffer, pack, unpack};
use crate::plan::{Feed, Fetch, HostIo, Plan, Read, SlotKind, TrainedBuffer, Write, lower, train_state};
use crate::platform::compute;
use crate::rule::Scalars;
use crate::weights::{LearnedStates, Weights};

/// The host's side of an update.
struct Numbers<'a> {
    /// The numbers of each role of a parameter.
    scalars: &'a [Scalars],
    /// The sum of the squares of gradients that the host knows.
    squares: f32,
    /// The square of the norm of all gradients.
    norm: f32,
}

impl HostIo for Numbers<'_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match write.feed {
            Feed::Scalars => words.copy_from_slice(bytemuck::cast_slice(self.scalars)),
            Feed::Squares => words.fill(self.squares.to_bits()),
            feed => {
                return Err(Error::internal(format!("an update: expected its numbers to be asked for, got {feed}")));
            }
        }
        Ok(())
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        if let (Fetch::Norm, [norm]) = (read.fetch, data) {
            self.norm = *norm;
        }
    }
}

/// The host's side of reading what is stored: writes nothing, and reads each packed buffer.
struct Packed(Vec<Vec<f32>>);

impl HostIo for Packed {
    fn write(&mut self, write: Write, _: &mut [u32]) -> Result<()> {
        Err(Error::internal(format!("what is stored: expected nothing to be asked for, got {}", write.feed)))
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        if let Fetch::Weights(buffer) = read.fetch {
            self.0[buffer] = data.to_vec();
        }
    }
}

impl GradientRunner {
    /// Sets the weights.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Weights` if they belong to another model, or of kind
    /// `ErrorKind::Lost` if the device is lost.
    pub(crate) async fn set(&mut self, weights: &Weights) -> Result<()> {
        let packed = pack(weights, &self.planner.model, &self.planner.layout)?;
        self.executor.replace(packed.buffers).await?;
        self.initial.clone_from(&weights.initial);
        Ok(())
    }

    /// Sets the learned initial states of stacks.
    pub(crate) fn set_initial(&mut self, initial: BTreeMap<usize, LearnedStates>) {
        self.initial = initial;
    }

    /// Reads the current weights.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Lost` if the device is lost.
    pub(crate) async fn weights(&self) -> Result<Weights> {
        let mut weights = self.stored(TrainedBuffer::Weights).await?;
        weights.initial.clone_from(&self.initial);
        Ok(weights)
    }

    /// Reads moment `moment` of each weight; zero before the first update.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Lost` if the device is lost.
    pub(crate) async fn moment(&self, moment: usize) -> Result<Weights> {
        if self.update.is_none() {
            return Ok(Weights::zeros(&self.planner.model));
        }
        self.stored(TrainedBuffer::Moment(moment)).await
    }

    /// Sets moment `moment` of each weight.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub(crate) async fn set_moment(&mut self, moment: usize, values: &Weights) -> Result<()> {
        let buffers = self.planner.layout.buffers.len();
        self.keep(values, |buffer| train_state::moment(buffers, buffer, moment)).await
    }

    /// Keeps `gradients` for an update. The gradients of tensors that layers share are
    /// in the first of these layers alone.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub(crate) async fn set_gradients(&mut self, gradients: &Weights) -> Result<()> {
        self.keep(gradients, train_state::gradient).await?;
        // No loss that is not finite was found here.
        let plan = self.moving().await?;
        let sums = plan.slots.iter().find(|slot| slot.kind == SlotKind::TrainState(train_state::SUMS));
        let elems = sums.map_or(0, |slot| usize::try_from(slot.bytes / 4).unwrap_or(usize::MAX));
        self.executor.replace_kept(vec![(train_state::SUMS, PackedBuffer::zeros(elems)?)]).await
    }

    /// Updates the weights by the gradients that are kept. `sent` gets the square of their norm, with the
    /// `squares` of gradients that the host knows. If it is not finite, nothing changes. `scalars` are
    /// the numbers of each role of a parameter.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for what is kept, or of kind
    /// `ErrorKind::Lost` if the device is lost.
    pub(crate) async fn update(&mut self, scalars: &[Scalars], squares: f64, sent: &mut Sent) -> Result<()> {
        let plan = self.moving().await?;
        #[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
        let mut numbers = Numbers { scalars, squares: squares as f32, norm: f32::NAN };
        let pending = self.executor.send_update(&plan, &mut numbers).await;
        sent.reads.extend(pending.map_err(|e| self.planner.device.explain(e))?);
        sent.norm = numbers.norm;
        Ok(())
    }

    /// Waits for the numbers of `sent`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` or `ErrorKind::Lost` if the device fails.
    pub(crate) async fn wait_for(&self, sent: &mut Sent) -> Result<()> {
        // Each read is removed once it is here: if this future is dropped, the next one waits for the others only.
        while let Some(pending) = sent.reads.first_mut() {
            let (loss, norm) = (&mut sent.loss, &mut sent.norm);
            let take = |read: Read, data: &[f32]| match (read.fetch, data) {
                (Fetch::Norm, [of_all]) => *norm = *of_all,
                (Fetch::Losses(_), losses) => *loss += sum(losses),
                _ => {}
            };
            self.executor.wait_for(pending, take).await.map_err(|e| self.planner.device.explain(e))?;
            sent.reads.remove(0);
        }
        Ok(())
    }

    /// Returns the plan of an update, after making room for what it keeps.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for it.
    pub(super) async fn moving(&mut self) -> Result<Arc<Plan>> {
        if let Some(plan) = &self.update {
            return Ok(Arc::clone(plan));
        }
        let (planner, update_rule) = (Arc::clone(&self.planner), self.update_rule);
        let lower = move || {
            let Planner { model, layout, limits, tuning, .. } = &*planner;
            lower::lower_update(model, layout, limits, tuning, update_rule)
        };
        let device = &self.planner.device;
        let plan = compute(lower).await?.map_err(|e| device.explain(e))?;
        self.executor.keep(&plan).await.map_err(|e| device.explain(e))?;
        Ok(Arc::clone(self.update.insert(Arc::new(plan))))
    }

    async fn keep(&mut self, values: &Weights, index: impl Fn(usize) -> usize) -> Result<()> {
        self.moving().await?;
        let packed = pack(values, &self.planner.model, &self.planner.layout)?;
        let buffers = packed.buffers.into_iter().enumerate().map(|(buffer, values)| (index(buffer), values));
        self.executor.replace_kept(buffers.collect()).await
    }

    async fn stored(&self, stored: TrainedBuffer) -> Result<Weights> {
        let Planner { model, layout, limits, tuning, device, .. } = &*self.planner;
        let plan = Arc::new(lower::lower_store(model, layout, limits, tuning, stored));
        let mut packed = Packed(vec![Vec::new(); layout.buffers.len()]);
        self.executor.run(&plan, &mut packed).await.map_err(|e| device.explain(e))?;
        Ok(unpack(model, layout, &packed.0, stored == TrainedBuffer::Weights))
    }
}
