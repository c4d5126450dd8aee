//! The ways to give streams their frames, and to have what these give: of the one sequence that a model takes, or by name.
//!
//! Says which frames do not fit the model, before anything changes. Knows no plan and no device.

use std::ops::Deref;

use ndarray::ArrayView2;

use crate::error::Result;
use crate::model::Flow;
use crate::plan::Results;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Engine;
use super::executor::Wait;
use super::push::{FrameValue, Frames};
use super::streams::{StreamId, Streams, shape};

impl<E: Deref<Target = Engine>> Streams<E> {
    /// Gives streams their next frames: what each frame gives. Frames of one stream stand in the order of time.
    ///
    /// Where results are [`Unwanted`](Results::Unwanted) a GPU still computes when this returns, and there are none; nor are
    /// there where they are for [`Later`](Results::Later): [`receive`](Self::receive) then waits for them.
    ///
    /// # Shapes
    ///
    /// A frame is `[I]`; the result `[frames, F]`, a row for each frame.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a stream has left or a frame does not fit the model; `Limits`, where no plan of the batch fits the
    /// device, or 16 pushes wait for [`receive`](Self::receive) and this would be one more: nothing has changed then.
    /// `Limits`, where the device's memory runs out, `Device` or `Lost`, where it fails: then the states are lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        block_on(self.features(frames, results, Wait::Here))?;
        Ok(self.view())
    }

    /// [`push`](Self::push), without blocking on a GPU. Where the future is dropped before it is ready, the frames may have been
    /// computed or not: reset their streams.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_async<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.features(frames, results, Wait::Aside).await?;
        Ok(self.view())
    }

    /// [`push`](Self::push) for a model that takes tokens: a frame is one of them.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push_tokens(&mut self, tokens: &[(StreamId, i64)], results: Results) -> Result<ArrayView2<'_, f32>> {
        block_on(self.tokens(tokens, results, Wait::Here))?;
        Ok(self.view())
    }

    /// [`push_tokens`](Self::push_tokens), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_tokens_async(
        &mut self,
        tokens: &[(StreamId, i64)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.tokens(tokens, results, Wait::Aside).await?;
        Ok(self.view())
    }

    /// [`push`](Self::push) for a model of several sequences, or by name: a frame has a part of each of them.
    ///
    /// A frame is pairs of a name and a value, in any order: the names of the model's inputs, or of its
    /// [`ports`](crate::Model::ports). Inputs without a time axis are no part of a frame: see
    /// [`set_row`](Self::set_row). What comes back is the first output; [`output`](Self::output) has the others.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Device, Embedding, Engine, FrameValue, Gru, Join, Linear, Model, Results, Streams, Weights};
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
    /// let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
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
        block_on(self.named(frames, results, Wait::Here))?;
        Ok(self.view())
    }

    /// [`push_named`](Self::push_named), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_named_async<'f, F: AsRef<[(&'f str, FrameValue<'f>)]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.named(frames, results, Wait::Aside).await?;
        Ok(self.view())
    }

    /// What the frames of the last push gave as the output `name`: of a push or of [`receive`](Self::receive), whichever was
    /// last. Final states are no such outputs, since they stay where they are.
    ///
    /// # Shapes
    ///
    /// The result is `[frames, F]`, a row for each frame of that push.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the model has no such output.
    pub fn output(&self, name: &str) -> Result<ArrayView2<'_, f32>> {
        self.find_output(name).map(|output| self.view_of(output))
    }

    /// Which output is called `name`.
    pub(super) fn find_output(&self, name: &str) -> Result<usize> {
        let outputs = &self.forward.outputs;
        outputs.iter().position(|output| output.names.iter().any(|other| other == name)).ok_or_else(|| {
            let names = outputs.iter().map(|output| output.names[0].as_str()).collect::<Vec<_>>().join(", ");
            shape(format!("{name}: expected an output that each frame gives ({names}), got another name"))
        })
    }

    async fn features<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
        wait: Wait,
    ) -> Result<()> {
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
        self.walk(Frames::Features(&|frame| frames[frame].1.as_ref()), results, wait).await
    }

    async fn tokens(&mut self, tokens: &[(StreamId, i64)], results: Results, wait: Wait) -> Result<()> {
        let Flow::Tokens(bound) = self.one_flow("tokens")? else {
            return Err(shape("frames: expected features (push), got tokens"));
        };
        let wrong = |(_, token): &(StreamId, i64)| !is_token(*token, bound);
        if let Some(frame) = tokens.iter().position(wrong) {
            let (last, got) = (bound - 1, tokens[frame].1);
            return Err(shape(format!("frame {frame}: expected a token from 0 to {last}, got {got}")));
        }
        self.place(tokens.iter().map(|(stream, _)| *stream))?;
        self.walk(Frames::Tokens(&|frame| tokens[frame].1), results, wait).await
    }

    async fn named<'f, F: AsRef<[(&'f str, FrameValue<'f>)]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
        wait: Wait,
    ) -> Result<()> {
        for (index, (_, frame)) in frames.iter().enumerate() {
            self.check_named(frame.as_ref()).map_err(|e| e.at(format!("frame {index}")))?;
        }
        self.place(frames.iter().map(|(stream, _)| *stream))?;
        // Where the part of each input is in a frame: all of them have been found.
        let forward = self.forward.clone();
        let part = |frame: usize, input: usize| {
            let part = forward.frames.iter().find(|part| part.input == input);
            let names = part.map_or(&[][..], |part| &part.names);
            let values = frames[frame].1.as_ref();
            let value = values.iter().find(|(name, _)| names.iter().any(|other| other == name));
            value.expect("each frame has been checked").1
        };
        self.walk(Frames::Named(&part), results, wait).await
    }

    /// What the one sequence of the model is, of which a frame is `got`.
    fn one_flow(&self, got: &str) -> Result<Flow> {
        match &self.forward.frames[..] {
            [one] => Ok(one.flow),
            _ => {
                let names = self.forward.frame_names();
                Err(shape(format!("frames: expected {names} in each (push_named), got {got} alone")))
            }
        }
    }

    /// Whether a frame has a part of each sequence of the model, and nothing else.
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

/// Whether `token` is one of `bound`.
pub(super) fn is_token(token: i64, bound: usize) -> bool {
    usize::try_from(token).is_ok_and(|token| token < bound)
}
