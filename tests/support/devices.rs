//! The devices of tests: the CPU, and the adapter that `GATEWAVE_ADAPTER` names.

use std::env;
use std::sync::OnceLock;

use gatewave::{Device, Engine, Model, Rnn, Weights};

/// An engine that is never dropped, so that the shared device stays open, with what it has compiled.
static HELD: OnceLock<Engine> = OnceLock::new();

/// Returns the name in `GATEWAVE_ADAPTER`. Without it, the test fails and says what to do.
pub fn adapter_name() -> String {
    named().expect(
        "GATEWAVE_ADAPTER must name the adapter to test, by a part of its name; scripts/setup.sh installs software \
         adapters and scripts/test.sh runs all tests on them; with a GPU: GATEWAVE_ADAPTER=nvidia cargo test --release",
    )
}

/// The adapter that `GATEWAVE_ADAPTER` names.
pub fn adapter() -> Device {
    held(Device::Named(adapter_name()))
}

/// The CPU, and the adapter if one is named.
pub fn cpu_and_adapter() -> Vec<Device> {
    [Device::Cpu].into_iter().chain(named().map(Device::Named).map(held)).collect()
}

fn named() -> Option<String> {
    env::var("GATEWAVE_ADAPTER").ok().filter(|name| !name.is_empty())
}

fn held(device: Device) -> Device {
    HELD.get_or_init(|| {
        let model = Model::new().layer(Rnn::new(1, 1));
        let weights = Weights::random(&model, 0).expect("the model is right");
        Engine::new(model, &weights, device.clone()).unwrap_or_else(|error| panic!("{error}"))
    });
    device
}
