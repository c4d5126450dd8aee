//! What is timed: a model with its weights and an input. Both are drawn for a shape of a work list, or read from files.

use std::path::Path;

use gatewave::inspect::Planner;
use gatewave::{Device, Engine, Error, ErrorKind, Input, Model, Precision, Result, Weights};
use ndarray::Array3;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::args::MaybeModelArgs;
use crate::run::Call;
use crate::shapes::Work;

/// Products up to which the CPU is compared with the oracle: about a second of it.
pub(super) const ORACLE_PRODUCTS: u128 = 200_000_000;
/// The seed of weights and inputs.
pub(super) const SEED: u64 = 7;

/// A model to time.
pub(super) struct Subject {
    /// Its name in figures.
    pub(super) id: String,
    pub(super) model: Model,
    pub(super) weights: Weights,
    pub(super) input: Input<'static>,
}

/// What is timed, one after the other.
pub(super) enum Subjects<'a> {
    /// Shapes of a work list.
    Drawn(&'a [Work], Precision),
    /// A model, and the file of its input.
    File(&'a MaybeModelArgs, &'a Path),
}

impl<'a> Subjects<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Drawn(work, _) => work.len(),
            Self::File(..) => 1,
        }
    }

    /// Draws or reads each when it is asked for, so that one at a time is in memory.
    pub(super) fn each(self) -> Box<dyn Iterator<Item = Result<Subject>> + 'a> {
        match self {
            Self::Drawn(work, precision) => Box::new(work.iter().map(move |work| Subject::drawn(work, precision))),
            Self::File(model, input) => Box::new(Subject::read(model, input).transpose().into_iter()),
        }
    }
}

impl Subject {
    /// Draws weights and an input of a shape.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if no engine can run the shape. Nothing of its size is drawn before that.
    pub(super) fn drawn(work: &Work, precision: Precision) -> Result<Self> {
        let draw = || {
            let model = work.model()?;
            let options = Engine::builder().device(Device::Cpu).precision(precision);
            Planner::new(model.clone(), &options)?.plan(work.shape())?;
            let input = Input::features(features(work)?);
            let weights = Weights::random(&model, SEED)?;
            Ok(Self { id: work.id.clone(), model, weights, input })
        };
        draw().map_err(|e: Error| e.at(&work.id))
    }

    /// Reads a model and the tensors of a call of it, if a model is given.
    fn read(from: &MaybeModelArgs, input: &Path) -> Result<Option<Self>> {
        let (Some(id), Some((model, weights))) = (from.name(), from.open()?) else { return Ok(None) };
        let call = Call::beside_outputs(input, &model, from.set())?;
        Ok(Some(Self { id, model, weights, input: call.input }))
    }

    /// Returns about as many multiplications as a call of `steps` steps and `batch` rows has.
    pub(super) fn products(&self, steps: usize, batch: usize) -> u128 {
        self.model.parameters() as u128 * steps as u128 * batch as u128
    }
}

/// Draws `[T, B, I]` in [-1, 1), never all zero.
///
/// # Errors
///
/// Returns an error of kind `Limits` if there is no memory for it.
pub(super) fn features(work: &Work) -> Result<Array3<f32>> {
    let dims = [work.steps, work.batch, work.input];
    let len = dims.iter().fold(1_usize, |len, &n| len.saturating_mul(n));
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|e| {
        let text =
            format!("an input of {dims:?} (T, B, I): needs more memory than this machine gives; try a smaller batch");
        Error::new(ErrorKind::Limits, text).because(e)
    })?;

    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    #[allow(clippy::cast_precision_loss, reason = "24 bits fit")]
    let mut number = || (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
    data.extend(std::iter::repeat_with(&mut number).take(len));
    Ok(Array3::from_shape_vec(dims, data).expect("as many elements as the dims say"))
}
