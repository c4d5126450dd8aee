//! Runs by name: tensors by the names of the model's ports, in and out.

use super::Engine;
use crate::error::Result;
use crate::named::{NamedTensors, Values, read_input};

impl Engine {
    /// What the model gives for `tensors`, by the names and axes of its [`ports`](crate::Model::ports), in their order.
    ///
    /// Weights among `tensors` are passed over: an engine's are those that it was made with, which
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
    /// let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
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
    /// [`run_named`](Self::run_named), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`run_named`](Self::run_named).
    pub async fn run_named_async(&self, tensors: &NamedTensors) -> Result<Vec<(String, Values)>> {
        let output = self.run_async(&read_input(self.model(), tensors)?).await?;
        self.model().named_output(&output)
    }
}
