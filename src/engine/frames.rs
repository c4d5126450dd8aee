//! The ways to give streams their frames and to get the results: for a model's one sequence, or by name.
//!
//! Refuses frames that do not fit the model before anything changes. Knows no plan and no device.

use std::ops::Deref;

use ndarray::ArrayView2;

use crate::error::Result;
use crate::model::Flow;
use crate::plan::Results;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Engine;
use super::push::{FrameValue, Frames};
use super::streams::{StreamId, Streams, shape};

impl<E: Deref<Target = Engine>> Streams<E> {
    /// Gives streams their next frames, and returns the results. Several frames of one stream must be in order of time.
    ///
    /// If results are [`Unwanted`](Results::Unwanted), there are none, and a GPU may still compute when this returns.
    /// If they are [deferred](Results::Deferred), there are none yet: [`receive`](Self::receive) waits for them.
    ///
    /// # Shapes
    ///
    /// A frame is `[I]`; the result is `[frames, F]`, a row for each frame.
    ///
    /// # Errors
    ///
    /// Returns an error of one of these kinds, and nothing has changed:
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if a stream has left, or a frame does not fit the model;
    /// - [`ErrorKind::Busy`](crate::ErrorKind::Busy) if 16 pushes already wait for [`receive`](Self::receive);
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if no plan of the batch fits the device.
    ///
    /// Returns an error of one of these kinds, and the states are lost:
    ///
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if the device's memory ran out;
    /// - [`ErrorKind::Device`](crate::ErrorKind::Device) or
    ///   [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        block_on(self.features(frames, results))?;
        Ok(self.view())
    }

    /// [`push`](Self::push), without blocking; on the CPU as [`Engine::run_async`] does.
    ///
    /// If the future is dropped before it is ready, some of its frames may have been computed and others not. Reset the
    /// streams that these frames belong to. The other streams are as they were.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_async<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.features(frames, results).await?;
        Ok(self.view())
    }

    /// [`push`](Self::push) for a model that takes tokens: a frame is one token.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push_tokens(&mut self, tokens: &[(StreamId, i64)], results: Results) -> Result<ArrayView2<'_, f32>> {
        block_on(self.tokens(tokens, results))?;
        Ok(self.view())
    }

    /// [`push_tokens`](Self::push_tokens), without blocking, as [`push_async`](Self::push_async).
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_tokens_async(
        &mut self,
        tokens: &[(StreamId, i64)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.tokens(tokens, results).await?;
        Ok(self.view())
    }

    /// [`push`](Self::push) for a model of several sequences, or by name: a frame has a part of each sequence.
    ///
    /// A frame is a list of (name, value) pairs, in any order. A name is that of an input of the model, or of one of
    /// its [`ports`](crate::Model::ports). Inputs without a time axis are no part of a frame: see
    /// [`set_row`](Self::set_row). This returns the first output; [`output`](Self::output) returns the others.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::layer::Join;
    /// use gatewave::stream::FrameValue;
    /// use gatewave::{Device, Embedding, Engine, Gru, Linear, Model, Results, Streams, Weights};
    ///
    /// let mut g = Model::graph();
    /// let (words, sensor) = (g.tokens("words", 20), g.sequence("sensor", 2));
    /// let vectors = g.add("vectors", Embedding::new(20, 4), words);
    /// let both = g.add("both", Join::Concat, [vectors.y(), sensor]);
    /// let stack = g.add("stack", Gru::new(6, 8), both);
    /// let tags = g.add("tags", Linear::new(8, 5), stack);
    /// let alarm = g.add("alarm", Linear::new(8, 1), stack);
    /// g.output("tags", tags);
    /// g.output("alarm", alarm);
    /// let model = g.finish()?;
    ///
    /// let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
    /// let mut streams = Streams::new(&engine, 1)?;
    /// let id = streams.join();
    /// let frame = [("words", FrameValue::Token(3)), ("sensor", FrameValue::Features(&[0.5, 1.0]))];
    /// let tags = streams.push_named(&[(id, frame)], Results::Wanted)?;
    /// assert_eq!(tags.shape(), [1, 5]);
    /// assert_eq!(streams.output("alarm")?.shape(), [1, 1]);
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push_named<'f, F: AsRef<[(&'f str, FrameValue<'f>)]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        block_on(self.named(frames, results))?;
        Ok(self.view())
    }

    /// [`push_named`](Self::push_named), without blocking, as [`push_async`](Self::push_async).
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_named_async<'f, F: AsRef<[(&'f str, FrameValue<'f>)]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.named(frames, results).await?;
        Ok(self.view())
    }

    /// Returns the output `name` for the frames of the last push or [`receive`](Self::receive), whichever came last.
    /// Final states cannot be read like this, since they stay on the device.
    ///
    /// # Shapes
    ///
    /// The result is `[frames, F]`, a row for each frame of that push.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the model has no such output.
    pub fn output(&self, name: &str) -> Result<ArrayView2<'_, f32>> {
        self.find_output(name).map(|output| self.view_of(output))
    }

    /// Finds the index of the output called `name`.
    pub(super) fn find_output(&self, name: &str) -> Result<usize> {
        let outputs = &self.forward.outputs;
        outputs.iter().position(|output| output.names.iter().any(|other| other == name)).ok_or_else(|| {
            let names = outputs.iter().map(|output| output.names[0].as_str()).collect::<Vec<_>>().join(", ");
            shape(format!("{name}: expected an output that each frame gives ({names}), got another name"))
        })
    }

    async fn features<F: AsRef<[f32]> + Sync>(&mut self, frames: &[(StreamId, F)], results: Results) -> Result<()> {
        match self.one_flow("features")? {
            Flow::Steps(features) | Flow::Rows(features) => {
                let wrong = frames.iter().position(|(_, frame)| frame.as_ref().len() != features.len());
                if let Some(frame) = wrong {
                    let (expected, got) = (features.len(), frames[frame].1.as_ref().len());
                    return Err(shape(format!("frame {frame}: expected {expected} features, got {got}")));
                }
            }
            Flow::Tokens(_) => return Err(shape("frames: expected tokens (push_tokens), got features")),
        }
        self.place(frames.iter().map(|(stream, _)| *stream))?;
        self.run_push(Frames::Features(&|frame| frames[frame].1.as_ref()), results).await
    }

    async fn tokens(&mut self, tokens: &[(StreamId, i64)], results: Results) -> Result<()> {
        let Flow::Tokens(bound) = self.one_flow("tokens")? else {
            return Err(shape("frames: expected features (push), got tokens"));
        };
        let wrong = |(_, token): &(StreamId, i64)| !is_token(*token, bound);
        if let Some(frame) = tokens.iter().position(wrong) {
            let (last, got) = (bound - 1, tokens[frame].1);
            return Err(shape(format!("frame {frame}: expected a token from 0 to {last}, got {got}")));
        }
        self.place(tokens.iter().map(|(stream, _)| *stream))?;
        self.run_push(Frames::Tokens(&|frame| tokens[frame].1), results).await
    }

    async fn named<'f, F: AsRef<[(&'f str, FrameValue<'f>)]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<()> {
        for (index, (_, frame)) in frames.iter().enumerate() {
            self.check_named(frame.as_ref()).map_err(|e| e.at(format!("frame {index}")))?;
        }
        self.place(frames.iter().map(|(stream, _)| *stream))?;
        // Where the part of each input is in a frame; all parts have been found.
        let forward = self.forward.clone();
        let part = |frame: usize, input: usize| {
            let part = forward.frames.iter().find(|part| part.input == input);
            let names = part.map_or(&[][..], |part| &part.names);
            let values = frames[frame].1.as_ref();
            let value = values.iter().find(|(name, _)| names.iter().any(|other| other == name));
            value.expect("each frame has been checked").1
        };
        self.run_push(Frames::Named(&part), results).await
    }

    /// The kind of the model's one sequence; `got` says in an error what kind of frame came.
    fn one_flow(&self, got: &str) -> Result<Flow> {
        match &self.forward.frames[..] {
            [one] => Ok(one.flow),
            _ => {
                let names = self.forward.frame_names();
                Err(shape(format!("frames: expected {names} in each (push_named), got {got} alone")))
            }
        }
    }

    /// Checks that a frame has a part of each sequence of the model, and nothing else.
    fn check_named(&self, values: &[(&str, FrameValue<'_>)]) -> Result<()> {
        let forward = &self.forward;
        let is = |names: &[String], name: &str| names.iter().any(|other| other == name);
        for (name, _) in values {
            if forward.rows.iter().any(|row| is(&row.names, name)) {
                let text = "expected no part of a frame, since it has no time axis: set_row sets it, got one";
                return Err(shape(format!("{name}: {text}")));
            }
            if !forward.frames.iter().any(|part| is(&part.names, name)) {
                return Err(shape(format!(
                    "{name}: expected a part of a frame ({}), got another name",
                    forward.frame_names()
                )));
            }
        }
        for part in &forward.frames {
            let mut own = values.iter().filter(|(name, _)| is(&part.names, name));
            let name = &part.names[0];
            let (Some((_, value)), None) = (own.next(), own.next()) else {
                let got = if values.iter().any(|(name, _)| is(&part.names, name)) { "two" } else { "none" };
                return Err(shape(format!("{name}: expected it once in a frame, got {got}")));
            };
            let (expected, got) = match (part.flow, *value) {
                (Flow::Tokens(bound), FrameValue::Token(token)) if is_token(token, bound) => continue,
                (Flow::Tokens(bound), FrameValue::Token(token)) => {
                    (format!("a token from 0 to {}", bound - 1), token.to_string())
                }
                (Flow::Tokens(_), FrameValue::Features(_)) => ("a token".to_owned(), "features".to_owned()),
                (flow, FrameValue::Features(features)) if features.len() == flow.features().len() => continue,
                (flow, FrameValue::Features(features)) => {
                    (format!("{} features", flow.features().len()), features.len().to_string())
                }
                (flow, FrameValue::Token(_)) => (format!("{} features", flow.features().len()), "a token".to_owned()),
            };
            return Err(shape(format!("{name}: expected {expected}, got {got}")));
        }
        Ok(())
    }
}

/// Whether `token` is below `bound`, and not negative.
pub(super) fn is_token(token: i64, bound: usize) -> bool {
    usize::try_from(token).is_ok_and(|token| token < bound)
}
