//! Every case of the conformance table on a named adapter: results against the oracle.
//!
//! `GATEWAVE_ADAPTER` names the adapter (a part of its name); it must be there.

use gatewave::conformance::{self, Case};
use gatewave::{Device, Engine, Options, Precision, Storage};

fn device() -> Device {
    let name = std::env::var("GATEWAVE_ADAPTER")
        .expect("GATEWAVE_ADAPTER names the adapter to test, `llvmpipe` say; scripts/setup.sh installs one");
    name.parse().expect("any name is a device")
}

fn engine(
    case: &Case,
    model: &gatewave::Model,
    weights: &gatewave::Weights,
    device: Device,
) -> gatewave::Result<Engine> {
    let precision = match case.storage {
        Storage::F32 => Precision::F32,
        Storage::F16 => Precision::F16,
    };
    Engine::with_options(model.clone(), weights, Options { device, precision })
}

#[test]
fn the_whole_table_on_the_adapter() {
    table(device());
}

#[test]
fn the_whole_table_on_the_cpu() {
    table(Device::Cpu);
}

fn table(device: Device) {
    let cases = conformance::cases();
    assert!(cases.len() > 100);
    let mut failed = Vec::new();
    let mut used: f64 = 0.0;
    for case in &cases {
        let start = std::time::Instant::now();
        let result = conformance::run(case, &mut |case, model, weights, input| {
            engine(case, model, weights, device.clone())?.run(&input)
        });
        if start.elapsed().as_secs_f64() > 1.0 {
            eprintln!("slow {} {:?}", result.name, start.elapsed());
        }
        if result.passed() {
            used = used.max(result.used());
        } else {
            failed.push(result.to_string());
        }
    }
    eprintln!("used {used}");
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
