//! The compiler's proof that a trainer and its futures go from thread to thread. In a browser there is only one.

use super::{Batch, Dataset, Fit, Fitting, Gradients, Trainer};
use crate::call::Input;
use crate::engine::Device;
use crate::loss::Loss;
use crate::model::Model;
use crate::recipe::{Convention, Sgd, Update};
use crate::weights::Weights;

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Trainer>();
};

#[expect(clippy::type_complexity, reason = "arguments of all methods")]
const _: fn(&mut Trainer, &mut Fitting, (&Model, &Weights), &Batch, &Dataset, &Gradients, &Input) =
    |trainer, fitting, (model, weights), batch, data, gradients, input| {
        fn sent<T: Send>(_: T) {}
        let update = || Update::by(Sgd::like(Convention::Torch));
        sent(Trainer::new_async(model, weights, Loss::MeanSquared, update(), Device::Cpu));
        sent(trainer.step_async(batch));
        sent(trainer.submit_async(batch));
        sent(trainer.receive_async());
        sent(trainer.apply_async(gradients));
        sent(trainer.gradients_async(batch));
        sent(trainer.loss_async(batch));
        sent(trainer.run_async(input));
        sent(trainer.weights_async());
        sent(trainer.engine_async(Device::Cpu));
        sent(trainer.measure_async(data, 1, &[]));
        sent(trainer.evaluate_async(data, 1));
        sent(trainer.save_async("model.safetensors"));
        sent(trainer.resume_async("model.safetensors"));
        sent(trainer.fit_async(data, None, &Fit::default(), |_| {}));
        sent(fitting.next_async(trainer, data, None));
        sent(fitting.settle_async(trainer));
        sent(fitting.restore_best_async(trainer));
    };
