//! Runs by name: tensors in and out, by the names of the model's ports.

use super::Engine;
use crate::error::Result;
use crate::named::{NamedTensors, Values, read_input};

impl Engine {
    /// Runs the model on `tensors`, by the names and axes of its
    /// [`ports`](crate::Model::ports). Returns the outputs in the order of the ports.
    ///
    /// Weights among `tensors` are ignored: an engine uses the weights that it was made with, which
    /// [`Model::named_weights`](crate::Model::named_weights) completes.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run) and [`Model::named_input`](crate::Model::named_input).
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Device, Engine, Gru, Model, NamedTensors, Weights};
    /// use ndarray::{Array3, array};
    ///
    /// let model = Model::new().layer(Gru::new(8, 32));
    /// let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
    ///
    /// let mut tensors = NamedTensors::new();
    /// tensors.insert("x".into(), Array3::<f32>::zeros((2, 5, 8)).into());
    /// tensors.insert("lengths".into(), array![5_i64, 3].into());
    /// let results = engine.run_named(&tensors)?;
    /// let names: Vec<_> = results.iter().map(|(name, array)| (name.as_str(), array.shape())).collect();
    /// assert_eq!(names, [("output", &[2, 5, 32][..]), ("h_n", &[1, 2, 32][..])]);
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_named(&self, tensors: &NamedTensors) -> Result<Vec<(String, Values)>> {
        let output = self.run(&read_input(self.model(), tensors)?)?;
        self.model().named_output(&output)
    }
    /// [`run_named`](Self::run_named), without blocking, as [`run_async`](Self::run_async).
    ///
    /// # Errors
    ///
    /// As [`run_named`](Self::run_named).
    pub async fn run_named_async(&self, tensors: &NamedTensors) -> Result<Vec<(String, Values)>> {
        let output = self.run_async(&read_input(self.model(), tensors)?).await?;
        self.model().named_output(&output)
    }
}
