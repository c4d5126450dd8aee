//! Results of pushes that are fetched later: the device goes on while they are on their way, and several pushes follow each
//! other before the first of them is read.

use std::collections::VecDeque;
use std::ops::Deref;

use ndarray::ArrayView2;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{MOST_LATER, Read};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Engine;
use super::executor::Wait;
use super::push::{Part, Place, output_of};
use super::resident::Flight;
use super::streams::{Streams, shape};

/// Pushes whose results are on their way, or here and not fetched.
#[derive(Default)]
pub(super) struct Later {
    /// The first is fetched first.
    pushes: VecDeque<Pushed>,
    /// Of the push under way.
    flights: Vec<(Flight, Part)>,
    /// The memory of those that were fetched.
    spare: Vec<Pushed>,
}

/// One of them.
#[derive(Default)]
struct Pushed {
    places: Vec<Place>,
    order: Vec<usize>,
    /// `[frames][features]` of each output, but for what the flights bring.
    outputs: Vec<f32>,
    flights: Vec<(Flight, Part)>,
}

impl Later {
    /// One more push is under way; what is left of one that failed is forgotten.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where as many wait as may.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.flights.clear();
        if self.pushes.len() < MOST_LATER {
            return Ok(());
        }
        let text = format!("results for later: expected at most {MOST_LATER} pushes that wait, got one more");
        Err(Error::new(ErrorKind::Limits, text).hint("receive the first of them"))
    }

    /// A part of the push under way is on its way.
    pub(super) fn add(&mut self, flight: Flight, part: Part) {
        self.flights.push((flight, part));
    }

    /// The push is submitted: takes what is known of it, and leaves vectors that are used up.
    pub(super) fn push(&mut self, places: &mut Vec<Place>, order: &mut Vec<usize>, outputs: &mut Vec<f32>) {
        let mut pushed = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut pushed.places, places);
        std::mem::swap(&mut pushed.order, order);
        std::mem::swap(&mut pushed.outputs, outputs);
        std::mem::swap(&mut pushed.flights, &mut self.flights);
        outputs.clear();
        self.pushes.push_back(pushed);
    }
}

impl<E: Deref<Target = Engine>> Streams<E> {
    /// What the first push gave whose results were for [`Later`](crate::Results::Later), and were not received yet: waits
    /// for it.
    ///
    /// So the host lays out frames and reads results of one push while the device computes others. Up to 16 pushes may wait;
    /// between them others may be wanted at once or not at all, and what a stream gave is there though it has left.
    /// (On the CPU a push computes before it returns.)
    ///
    /// # Shapes
    ///
    /// The result is `[frames, F]`, a row for each frame of that push.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where no push waits; `Device` or `Lost`, where the device fails.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Device, Engine, Gru, Model, Results, Streams, Weights};
    ///
    /// let model = Model::new().layer(Gru::new(3, 16));
    /// let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
    /// let mut streams = Streams::new(&engine, 1)?;
    /// let id = streams.join();
    ///
    /// streams.push(&[(id, [0.1, 0.2, 0.3])], Results::Later)?;
    /// for frame in [[0.4, 0.5, 0.6], [0.7, 0.8, 0.9]] {
    ///     streams.push(&[(id, frame)], Results::Later)?;
    ///     let outputs = streams.receive()?; // of the push before
    ///     assert_eq!(outputs.shape(), [1, 16]);
    /// }
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn receive(&mut self) -> Result<ArrayView2<'_, f32>> {
        block_on(self.fetch(Wait::Here))?;
        Ok(self.view())
    }

    /// [`receive`](Self::receive), without blocking on a GPU. Where the future is dropped before it is ready, the results stay the
    /// first.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub async fn receive_async(&mut self) -> Result<ArrayView2<'_, f32>> {
        self.fetch(Wait::Aside).await?;
        Ok(self.view())
    }

    async fn fetch(&mut self, wait: Wait) -> Result<()> {
        // It stays the first until all of it is here: whoever drops this future receives it with the next.
        let Some(pushed) = self.later.pushes.front_mut() else {
            return Err(shape("receive: expected a push whose results are for later, got none that waits"));
        };
        let (engine, outputs) = (&*self.engine, &self.forward.outputs);
        for (flight, part) in &mut pushed.flights {
            let cut = |read: Read, data: &[f32]| {
                if let Some(output) = output_of(read.fetch) {
                    part.cut(data, (&pushed.places, &pushed.order), &outputs[output], &mut pushed.outputs);
                }
            };
            if let Err(error) = engine.executor.land(flight, cut, wait).await {
                self.later.pushes.pop_front();
                return Err(engine.device().explain(error));
            }
        }
        let Some(mut pushed) = self.later.pushes.pop_front() else { unreachable!("it is the first") };
        pushed.flights.clear();
        std::mem::swap(&mut self.outputs, &mut pushed.outputs);
        self.later.spare.push(pushed);
        Ok(())
    }
}
