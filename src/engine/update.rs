//! New weights in place of the old, where they are: an update of what a learner keeps, and what goes there and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::executor::Wait;
use super::learner::Learner;
use super::lesson::sum;
use super::planner::Planner;
use super::sent::Sent;
use crate::error::{Error, Result};
use crate::pack::{PackedBuffer, pack, unpack};
use crate::plan::{Caller, Feed, Fetch, Plan, Read, SlotKind, Stored, Write, kept, lower};
use crate::rule::Scalars;
use crate::weights::{LearnedStates, Weights};

/// The caller of an update.
struct Numbers<'a> {
    /// Those of each role of a parameter.
    scalars: &'a [Scalars],
    /// The squares of gradients that the host knows.
    squares: f32,
    /// The square of the norm of all.
    norm: f32,
}

impl Caller for Numbers<'_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match write.feed {
            Feed::Scalars => words.copy_from_slice(bytemuck::cast_slice(self.scalars)),
            Feed::Squares => words.fill(self.squares.to_bits()),
            feed => {
                return Err(Error::internal(format!("an update: expected its numbers to be asked for, got {feed}")));
            }
        }
        Ok(())
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        if let (Fetch::Norm, [norm]) = (read.fetch, data) {
            self.norm = *norm;
        }
    }
}

/// The caller of what is stored: nothing goes there, and each packed buffer comes back.
struct Packed(Vec<Vec<f32>>);

impl Caller for Packed {
    fn give(&mut self, write: Write, _: &mut [u32]) -> Result<()> {
        Err(Error::internal(format!("what is stored: expected nothing to be asked for, got {}", write.feed)))
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        if let Fetch::Weights(buffer) = read.fetch {
            self.0[buffer] = data.to_vec();
        }
    }
}

impl Learner {
    /// Sets the weights.
    ///
    /// # Errors
    ///
    /// Kind `Weights`, where they are another model's; `Lost`, where the device is lost.
    pub(crate) async fn set(&mut self, weights: &Weights) -> Result<()> {
        let packed = pack(weights, &self.planner.model, &self.planner.layout)?;
        for (index, buffer) in packed.buffers.into_iter().enumerate() {
            self.executor.replace(index, buffer).await?;
        }
        self.initial.clone_from(&weights.initial);
        Ok(())
    }

    /// Sets where stacks have learned to begin.
    pub(crate) fn set_initial(&mut self, initial: BTreeMap<usize, LearnedStates>) {
        self.initial = initial;
    }

    /// The weights of now.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is lost.
    pub(crate) async fn weights(&self) -> Result<Weights> {
        let mut weights = self.stored(Stored::Weights).await?;
        weights.initial.clone_from(&self.initial);
        Ok(weights)
    }

    /// What is kept of each weight as moment `moment`; zero before the first update.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is lost.
    pub(crate) async fn moment(&self, moment: usize) -> Result<Weights> {
        if self.update.is_none() {
            return Ok(Weights::zeros(&self.planner.model));
        }
        self.stored(Stored::Moment(moment)).await
    }

    /// Sets what is kept of each weight as moment `moment`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub(crate) async fn set_moment(&mut self, moment: usize, values: &Weights) -> Result<()> {
        let buffers = self.planner.layout.buffers.len();
        self.keep(values, |buffer| kept::moment(buffers, buffer, moment)).await
    }

    /// Keeps `gradients`, those of tensors that layers share in the first of them alone, for an update.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub(crate) async fn set_gradients(&mut self, gradients: &Weights) -> Result<()> {
        self.keep(gradients, kept::gradient).await?;
        // No loss was found here that is not finite.
        let plan = self.moving().await?;
        let sums = plan.slots.iter().find(|slot| slot.kind == SlotKind::Kept(kept::SUMS));
        let elems = sums.map_or(0, |slot| usize::try_from(slot.bytes / 4).unwrap_or(usize::MAX));
        self.executor.replace_kept(kept::SUMS, PackedBuffer::zeros(elems)?).await
    }

    /// Changes the weights by the gradients that are kept, into `sent`: the square of their norm, with `squares` of those that the
    /// host knows. Where it is not finite, nothing is changed. `scalars` are the numbers of each role of a parameter.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for what is kept; `Lost`, where the device is lost.
    pub(crate) async fn update(&mut self, scalars: &[Scalars], squares: f64, sent: &mut Sent) -> Result<()> {
        let plan = self.moving().await?;
        #[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
        let mut numbers = Numbers { scalars, squares: squares as f32, norm: f32::NAN };
        let flight = self.executor.send_update(&plan, &mut numbers).await;
        sent.flights.extend(flight.map_err(|e| self.planner.device.explain(e))?);
        sent.norm = numbers.norm;
        Ok(())
    }

    /// Waits for the numbers of what was sent.
    ///
    /// # Errors
    ///
    /// Kind `Device` or `Lost`, where the device fails.
    pub(crate) async fn land(&self, sent: &mut Sent) -> Result<()> {
        // Each is forgotten when it is here: whoever drops this future waits for the others alone.
        while let Some(flight) = sent.flights.first_mut() {
            let (loss, norm) = (&mut sent.loss, &mut sent.norm);
            let take = |read: Read, data: &[f32]| match (read.fetch, data) {
                (Fetch::Norm, [of_all]) => *norm = *of_all,
                (Fetch::Losses(_), losses) => *loss += sum(losses),
                _ => {}
            };
            self.executor.land(flight, take, Wait::Aside).await.map_err(|e| self.planner.device.explain(e))?;
            sent.flights.remove(0);
        }
        Ok(())
    }

    /// The plan of an update; what it keeps is there.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for it.
    pub(super) async fn moving(&mut self) -> Result<Arc<Plan>> {
        if let Some(plan) = &self.update {
            return Ok(Arc::clone(plan));
        }
        let Planner { model, layout, limits, tuning, device, .. } = &self.planner;
        let plan = lower::lower_update(model, layout, limits, tuning, self.moves).map_err(|e| device.explain(e))?;
        self.executor.keep(&plan).await.map_err(|e| device.explain(e))?;
        Ok(Arc::clone(self.update.insert(Arc::new(plan))))
    }

    async fn keep(&mut self, values: &Weights, index: impl Fn(usize) -> usize) -> Result<()> {
        self.moving().await?;
        let packed = pack(values, &self.planner.model, &self.planner.layout)?;
        for (buffer, values) in packed.buffers.into_iter().enumerate() {
            self.executor.replace_kept(index(buffer), values).await?;
        }
        Ok(())
    }

    async fn stored(&self, stored: Stored) -> Result<Weights> {
        let Planner { model, layout, limits, tuning, device, .. } = &self.planner;
        let plan = Arc::new(lower::lower_store(model, layout, limits, tuning, stored));
        let mut packed = Packed(vec![Vec::new(); layout.buffers.len()]);
        self.executor.run(&plan, &mut packed, Wait::Aside).await.map_err(|e| device.explain(e))?;
        Ok(unpack(model, layout, &packed.0, stored == Stored::Weights))
    }
}
