//! Streams that go on by themselves: a token is drawn from the output of each step and is the
//! input of the next. All of it happens where the engine computes.
//!
//! Lays out the input of a plan that draws, and cuts out what it drew. The kernel `sample` has the rule for drawing.

use std::ops::{Deref, Range};

use ndarray::ArrayView2;

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Draw, Mask, NO_TOKEN};
use crate::plan::{Feed, Fetch, Goal, HostIo, Read, Results, Shape, Write};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Engine;
use super::forward::Forward;
use super::frames::is_token;
use super::push::FramePos;
use super::streams::{Slot, StreamId, Streams, shape};
use super::tiles::{Tile, Tiles};

/// The largest temperature: above it, the random numbers alone decide, and would overflow.
const HOTTEST: f32 = 1e30;

/// How the next token of a stream is drawn from the logits x of its last step.
///
/// At the temperature τ, token v is drawn with the probability `softmax(x / τ)_v`. It is the v with the largest
/// `x_v + τ · g_v`, or the first of equals; the g are numbers of the standard Gumbel distribution. They come from
/// Threefry-2x32-20 (Salmon et al. 2011). Its key is the seed and its counter is (p, v), where p is the number of
/// tokens that the stream was given before. So a draw depends on the seed, p and x alone. It does not depend on the
/// device, on other streams, or on how many tokens one call draws. (Logits differ between devices within rounding, so
/// two scores that agree in some six digits may change places.)
///
/// # Example
///
/// ```
/// use gatewave::stream::Sampling;
///
/// let freely = Sampling::default().seed(7); // at temperature 1, from all tokens
/// let carefully = Sampling::default().temperature(0.7).top_k(40);
/// let likeliest = Sampling::default().temperature(0.0);
/// # drop((freely, carefully, likeliest));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sampling {
    /// τ, 0 or more: 0 takes the likeliest token, 1 draws from the model's own distribution.
    pub temperature: f32,
    /// How many of the likeliest tokens to draw from, 1 or more; `None` draws from all.
    /// Tokens that tie with the last of them are included.
    pub top_k: Option<usize>,
    /// The key of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    /// Temperature 1, all tokens, seed 0.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, seed: 0 }
    }
}

impl Sampling {
    /// Sets the temperature.
    #[must_use]
    pub fn temperature(self, temperature: f32) -> Self {
        Self { temperature, ..self }
    }

    /// Sets how many of the likeliest tokens to draw from; `None` is all of them.
    #[must_use]
    pub fn top_k(self, top_k: impl Into<Option<usize>>) -> Self {
        Self { top_k: top_k.into(), ..self }
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Checks the settings.
    fn check(self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(shape(format!("temperature: expected a number, 0 or more, got {}", self.temperature)));
        }
        match self.top_k {
            Some(0) => Err(shape("top_k: expected 1 or more, got 0")),
            _ => Ok(()),
        }
    }

    /// The parameters of the kernel, for a stream that was given `position` tokens.
    #[allow(clippy::cast_possible_truncation, reason = "the halves of the seed")]
    fn draw(self, position: u32) -> Draw {
        Draw {
            seed_low: self.seed as u32,
            seed_high: (self.seed >> 32) as u32,
            position,
            temperature: self.temperature.min(HOTTEST),
            // More tokens than any model has: keeps all.
            top_k: self.top_k.map_or(0, |k| u32::try_from(k).unwrap_or(u32::MAX)),
        }
    }
}

impl<E: Deref<Target = Engine>> Streams<E> {
    /// Gives each of some streams its next token, and lets them go on by themselves for `steps` steps. In
    /// each step a stream draws a token from its last output and takes it as its next input. The host
    /// talks to the device once at the beginning and once at the end.
    ///
    /// The last token that is drawn has not yet been given to the stream: pass it as the first token of the next call.
    /// Then the tokens do not depend on how many steps each call has.
    ///
    /// # Shapes
    ///
    /// The result is `[streams, steps]`, in the order of `streams`.
    ///
    /// # Errors
    ///
    /// Returns an error of one of these kinds, and nothing has changed:
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if a stream has left or is there twice, a token is not one of
    ///   the model's, or a [`Sampling`] is invalid;
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the model does not take tokens, or takes another sequence
    ///   besides them, or its output is not one number for each token (linear, softmax or log-softmax);
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if the steps do not fit the device.
    ///
    /// Returns an error of kind [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if the model gave NaN, or −∞ for
    /// every token: reset the streams then. Returns one of kind [`ErrorKind::Device`](crate::ErrorKind::Device) or
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device failed, and the states are lost.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::stream::Sampling;
    /// use gatewave::{Device, Embedding, Engine, Gru, Linear, Model, Results, Streams, Weights};
    ///
    /// let model = Model::new().layer(Embedding::new(65, 8)).layer(Gru::new(8, 16)).layer(Linear::new(16, 65));
    /// let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
    /// let mut streams = Streams::new(&engine, 2)?;
    /// let (a, b) = (streams.join(), streams.join());
    /// streams.push_tokens(&[(a, 17), (a, 3)], Results::Unwanted)?; // the beginning of a text
    ///
    /// let sampling = Sampling::default().temperature(0.8);
    /// let tokens = streams.generate(&[(a, 5, sampling.seed(1)), (b, 9, sampling.seed(2))], 32)?;
    /// assert_eq!(tokens.shape(), [2, 32]);
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn generate(&mut self, streams: &[(StreamId, i64, Sampling)], steps: usize) -> Result<ArrayView2<'_, i64>> {
        block_on(self.go_on(streams, steps))?;
        Ok(self.drawn(streams.len(), steps))
    }

    /// [`generate`](Self::generate), without blocking. If the future is dropped before it is ready, reset the streams
    /// that it was given: some may have gone on. The other streams are as they were.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub async fn generate_async(
        &mut self,
        streams: &[(StreamId, i64, Sampling)],
        steps: usize,
    ) -> Result<ArrayView2<'_, i64>> {
        self.go_on(streams, steps).await?;
        Ok(self.drawn(streams.len(), steps))
    }

    /// Sets the output that tokens are drawn from, by its name. By default it is the first one.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the model has no such output.
    pub fn draw_from(&mut self, output: &str) -> Result<()> {
        self.drawn_from = self.find_output(output)?;
        Ok(())
    }

    fn drawn(&self, streams: usize, steps: usize) -> ArrayView2<'_, i64> {
        ArrayView2::from_shape((streams, steps), &self.drawn).expect("a row for each stream")
    }

    async fn go_on(&mut self, streams: &[(StreamId, i64, Sampling)], steps: usize) -> Result<()> {
        self.drawn.clear();
        self.admit(streams)?;
        if streams.is_empty() || steps == 0 {
            return Ok(());
        }
        let batch = self.slots.len();
        let mask = if streams.len() == batch { Mask::All } else { Mask::Live };
        let (shape, goal) = (Shape::new(steps, batch, mask), Goal::Tokens(self.drawn_from));
        // A call that no device can run needs no memory for its tokens or states.
        self.engine.planner.planned(goal, shape).await?;
        self.settle(goal, steps).await?;
        self.drawn.resize(streams.len() * steps, 0);
        // However the run ends, a row that begins anew is cleared.
        self.places.iter().for_each(|place| self.slots[place.row].is_used = true);
        let engine = &*self.engine;
        let states = self.states.as_mut().expect("they have been made");
        let mut generation = Generation {
            streams,
            places: &self.places,
            slots: &self.slots,
            forward: &self.forward,
            once: self.begun.rows(),
            steps,
            rows: 0..0,
            drawn: &mut self.drawn,
        };
        let mut tiles = Tiles::to(&engine.planner, goal, shape);
        while let Some(Tile { rows, plan }) = tiles.next().await? {
            generation.rows = rows.clone();
            let states = (&mut *states, rows.start);
            let run = engine.executor.run_on(&plan, &mut generation, states, Results::Wanted);
            run.await.map_err(|e| engine.device().explain(e))?;
        }
        let given = u32::try_from(steps).expect("a plan has fewer steps");
        for place in &self.places {
            let slot = &mut self.slots[place.row];
            slot.lived = u16::MAX;
            slot.position = slot.position.wrapping_add(given);
        }
        self.all_drawn(streams, steps)
    }

    /// Checks everything before anything changes, and finds the row of each stream.
    fn admit(&mut self, streams: &[(StreamId, i64, Sampling)]) -> Result<()> {
        // The plan refuses a model that does not take tokens.
        let bound = self.engine.model().input()?.tokens().unwrap_or(1);
        for (index, (_, token, sampling)) in streams.iter().enumerate() {
            sampling.check().map_err(|e| e.at(format!("frame {index}")))?;
            if !is_token(*token, bound) {
                return Err(shape(format!("frame {index}: expected a token from 0 to {}, got {token}", bound - 1)));
            }
        }
        self.place(streams.iter().map(|(stream, ..)| *stream))?;
        match self.places.iter().position(|place| place.step > 0) {
            Some(index) => Err(shape(format!("frame {index}: stream {}: it is there twice", streams[index].0))),
            None => Ok(()),
        }
    }

    /// Checks that there was a token to draw at every step.
    fn all_drawn(&self, streams: &[(StreamId, i64, Sampling)], steps: usize) -> Result<()> {
        let Some(at) = self.drawn.iter().position(|&token| token == i64::from(NO_TOKEN)) else { return Ok(()) };
        let (stream, step) = (streams[at / steps].0, at % steps);
        let text = format!(
            "stream {stream}, step {step}: the output: expected numbers to draw from, got NaN, or −∞ for every token; \
             are the weights sound?"
        );
        Err(Error::new(ErrorKind::Numeric, text))
    }
}

/// Some rows of a generation, as the host's side of a plan.
struct Generation<'a> {
    streams: &'a [(StreamId, i64, Sampling)],
    /// The row of each stream.
    places: &'a [FramePos],
    slots: &'a [Slot],
    forward: &'a Forward,
    /// The features that each row of the batch was given once, `[rows][features]`.
    once: &'a [f32],
    steps: usize,
    rows: Range<usize>,
    /// `[streams][steps]`.
    drawn: &'a mut [i64],
}

impl Generation<'_> {
    /// The streams in these rows: the index of each, and its place in the batch.
    fn here(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let place = |(index, place): (usize, &FramePos)| Some((index, place.row.checked_sub(self.rows.start)?));
        self.places.iter().enumerate().filter_map(place).filter(|&(_, b)| b < self.rows.len())
    }
}

impl HostIo for Generation<'_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        words.fill(0);
        let batch = self.rows.len();
        for (index, b) in self.here() {
            let (_, token, sampling) = self.streams[index];
            match write.feed {
                Feed::Tokens => words[b] = u32::try_from(token).expect("a checked token"),
                Feed::Draws => {
                    let draws: &mut [Draw] = bytemuck::cast_slice_mut(words);
                    draws[b] = sampling.draw(self.slots[self.places[index].row].position);
                }
                Feed::Other(input) => drop(self.forward.give_row(input, self.once, &self.rows, words)),
                Feed::Live(_) => words.chunks_exact_mut(batch).for_each(|live| live[b] = 1),
                _ => unreachable!("a plan that draws takes tokens, and states stay where they are"),
            }
        }
        Ok(())
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        if read.fetch != Fetch::Tokens {
            return;
        }
        let (tokens, batch, steps): (&[u32], _, _) = (bytemuck::cast_slice(data), self.rows.len(), self.steps);
        for (index, place) in self.places.iter().enumerate() {
            let Some(b) = place.row.checked_sub(self.rows.start).filter(|&b| b < batch) else { continue };
            for (drawn, tokens) in self.drawn[index * steps..][..steps].iter_mut().zip(tokens.chunks_exact(batch)) {
                *drawn = i64::from(tokens[b]);
            }
        }
    }
}
