//! Deferred results of pushes. The device goes on while they are on their way, so several
//! pushes may follow each other before the first result is read.

use std::collections::VecDeque;
use std::ops::Deref;

use ndarray::ArrayView2;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{MAX_PENDING, Read};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Engine;
use super::device_states::PendingRead;
use super::push::{FramePos, Part, output_of};
use super::streams::{Streams, shape};

/// Pushes whose results are on their way, or are here but not received.
#[derive(Default)]
pub(super) struct Pending {
    /// In order: the first is received first.
    pushes: VecDeque<Pushed>,
    /// The reads of the push under way.
    reads: Vec<(PendingRead, Part)>,
    /// Memory of pushes that were received, for new ones.
    spare: Vec<Pushed>,
}

/// One push.
#[derive(Default)]
struct Pushed {
    places: Vec<FramePos>,
    order: Vec<usize>,
    /// `[frames][features]` of each output, except what the pending reads will bring.
    outputs: Vec<f32>,
    reads: Vec<(PendingRead, Part)>,
}

impl Pending {
    /// Starts one more push; forgets what a failed one left.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Busy` if the most pushes allowed already wait.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.reads.clear();
        if self.pushes.len() < MAX_PENDING {
            return Ok(());
        }
        let text = format!("deferred results: expected at most {MAX_PENDING} pushes that wait, got one more");
        Err(Error::new(ErrorKind::Busy, text).hint("receive the first of them"))
    }

    /// Adds a read for a part of the push under way.
    pub(super) fn add(&mut self, pending: PendingRead, part: Part) {
        self.reads.push((pending, part));
    }

    /// Takes the data of the push, which has been submitted, and leaves empty vectors for the next.
    pub(super) fn push(&mut self, places: &mut Vec<FramePos>, order: &mut Vec<usize>, outputs: &mut Vec<f32>) {
        let mut pushed = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut pushed.places, places);
        std::mem::swap(&mut pushed.order, order);
        std::mem::swap(&mut pushed.outputs, outputs);
        std::mem::swap(&mut pushed.reads, &mut self.reads);
        outputs.clear();
        self.pushes.push_back(pushed);
    }
}

impl<E: Deref<Target = Engine>> Streams<E> {
    /// Returns the results of the oldest push whose results were
    /// [deferred](crate::Results::Deferred) and not yet received. Waits for them.
    ///
    /// So the host lays out frames and reads results of one push while the device computes others. Up to 16 pushes may
    /// wait. Between them, other pushes may want their results at once or not at all. The results of a stream can be
    /// received after it has left. (On the CPU a push is done when it returns, or when its future is ready.)
    ///
    /// # Shapes
    ///
    /// The result is `[frames, F]`, a row for each frame of that push.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if no push waits, or of
    /// kind [`ErrorKind::Device`](crate::ErrorKind::Device) or
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device fails.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Device, Engine, Gru, Model, Results, Streams, Weights};
    ///
    /// let model = Model::new().layer(Gru::new(3, 16));
    /// let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
    /// let mut streams = Streams::new(&engine, 1)?;
    /// let id = streams.join();
    ///
    /// streams.push(&[(id, [0.1, 0.2, 0.3])], Results::Deferred)?;
    /// for frame in [[0.4, 0.5, 0.6], [0.7, 0.8, 0.9]] {
    ///     streams.push(&[(id, frame)], Results::Deferred)?;
    ///     let outputs = streams.receive()?; // of the push before
    ///     assert_eq!(outputs.shape(), [1, 16]);
    /// }
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn receive(&mut self) -> Result<ArrayView2<'_, f32>> {
        block_on(self.fetch())?;
        Ok(self.view())
    }

    /// [`receive`](Self::receive), without blocking. If the future is dropped before it
    /// is ready, the next call receives the same results.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub async fn receive_async(&mut self) -> Result<ArrayView2<'_, f32>> {
        self.fetch().await?;
        Ok(self.view())
    }

    async fn fetch(&mut self) -> Result<()> {
        // It stays the first until all of it is here: if this future is dropped, the next one receives it.
        let Some(pushed) = self.pending.pushes.front_mut() else {
            return Err(shape("receive: expected a push whose results are deferred, got none that waits"));
        };
        let (engine, outputs) = (&*self.engine, &self.forward.outputs);
        for (pending, part) in &mut pushed.reads {
            let cut = |read: Read, data: &[f32]| {
                if let Some(output) = output_of(read.fetch) {
                    part.cut(data, (&pushed.places, &pushed.order), &outputs[output], &mut pushed.outputs);
                }
            };
            if let Err(error) = engine.executor.wait_for(pending, cut).await {
                self.pending.pushes.pop_front();
                return Err(engine.device().explain(error));
            }
        }
        let Some(mut pushed) = self.pending.pushes.pop_front() else { unreachable!("it is the first") };
        pushed.reads.clear();
        std::mem::swap(&mut self.outputs, &mut pushed.outputs);
        self.pending.spare.push(pushed);
        Ok(())
    }
}
