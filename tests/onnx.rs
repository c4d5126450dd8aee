//! ONNX files: how they are read, compared with an expected text and with ONNX Runtime's results.

#![cfg(feature = "onnx")]

#[path = "onnx/build.rs"]
mod build;
#[path = "onnx/cases.rs"]
mod cases;
#[path = "onnx/graphs.rs"]
mod graphs;
#[path = "onnx/hostile.rs"]
mod hostile;
#[path = "onnx/inputs.rs"]
mod inputs;
#[path = "onnx/networks.rs"]
mod networks;
#[cfg(feature = "foreign")]
#[path = "onnx/parts.rs"]
mod parts;
#[path = "onnx/quantized.rs"]
mod quantized;
#[path = "onnx/ranks.rs"]
mod ranks;
#[path = "onnx/refused.rs"]
mod refused;
#[path = "onnx/set.rs"]
mod set;
#[path = "onnx/states.rs"]
mod states;
mod support;
#[path = "onnx/time.rs"]
mod time;

use std::fmt::Write;
use std::fs;

use cases::{Case, all};
use gatewave::conformance::{Tolerance, compare};
use gatewave::formats::{self, onnx, support as tables};
use gatewave::layer::{Initial, LayerKind};
use gatewave::{Device, Engine, Model};
use support::fixtures::named;
use support::golden;

/// Returns the layers and the ports of a model, as the golden text has them.
fn described(model: &Model) -> String {
    let mut text = String::new();
    for layer in &model.layers {
        let variant = match &layer.kind {
            LayerKind::Recurrent(stack) => {
                let functions: Vec<String> = stack.functions[..stack.directions()]
                    .iter()
                    .flat_map(|f| f.each().into_iter().take(stack.cell.function_count()))
                    .map(|function| function.to_string())
                    .collect();
                format!(
                    "  {} clip {:?} {:?} {:?} {:?} {:?} bias {:?}{}",
                    functions.join(" "),
                    stack.clip,
                    stack.coupling,
                    stack.peepholes,
                    stack.merge,
                    stack.padding,
                    stack.bias,
                    if stack.initial == Initial::Learned { " learned" } else { "" }
                )
            }
            _ => String::new(),
        };
        writeln!(text, " {}{variant}", layer.kind).expect("a string grows");
    }
    let ports = &model.ports;
    for port in &ports.inputs {
        writeln!(text, " in {} {:?} {:?}", port.name, port.value, port.axes).expect("a string grows");
    }
    for port in &ports.outputs {
        writeln!(text, " out {} {:?} {:?}", port.name, port.value, port.axes).expect("a string grows");
    }
    text
}

#[test]
fn every_file_is_read_as_the_layers_and_ports_that_it_is() {
    let mut text = String::new();
    for case in all() {
        let (model, _) = onnx::read(&case.model).unwrap_or_else(|e| panic!("{e}"));
        write!(text, "{}\n{}", case.id, described(&model)).expect("a string grows");
    }
    golden::assert_file("tests/golden/onnx/models.txt", &text);
}

#[test]
fn every_file_gives_what_its_framework_gives() {
    let mut failed = Vec::new();
    let mut compared = 0;
    for case in all() {
        match run(&case) {
            Ok(count) => compared += count,
            Err(text) => failed.push(format!("{}: {text}", case.id)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(compared >= cases::COUNT, "only {compared} outputs");
}

/// Runs a case, and returns the number of outputs compared.
fn run(case: &Case) -> Result<usize, String> {
    let (model, mut tensors) = formats::read(&case.model).map_err(|e| e.to_string())?;
    let mut count = 0;
    for (inputs, wanted) in &case.calls {
        let inputs = named(inputs);
        tensors.extend([model.named_weights(&inputs).map_err(|e| e.to_string())?]);
        let options = Engine::builder().device(Device::Cpu);
        let engine = options.load(&model, &tensors).map_err(|e| e.to_string())?;
        let input = model.named_input(&inputs).map_err(|e| e.to_string())?;
        let output = engine.run(&input).map_err(|e| e.to_string())?;
        for (name, got) in model.named_output(&output).map_err(|e| e.to_string())? {
            let wanted = wanted.get(&name).ok_or_else(|| format!("an output {name} that the graph has not"))?;
            let tolerance = Tolerance { abs: case.atol, rel: case.rtol };
            let compared =
                compare(got.to_f32().view(), wanted.view(), tolerance).map_err(|e| format!("{name}: {e}"))?;
            if !compared.passed() {
                return Err(format!("{name}: {compared}"));
            }
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn a_file_in_memory_is_the_file_on_disk() {
    let mut external = 0;
    for case in all() {
        let bytes = fs::read(&case.model).expect("a case has a model");
        let (from_file, from_bytes) = (onnx::read(&case.model).expect("a file is read"), onnx::read_bytes(&bytes));
        match from_bytes {
            Ok(from_bytes) => assert!(from_file == from_bytes, "{}", case.id),
            Err(error) => {
                assert!(error.to_string().contains("a model in memory has no folder"), "{}: {error}", case.id);
                external += 1;
            }
        }
    }
    assert_eq!(external, cases::EXTERNAL);
}

#[test]
fn the_documentation_is_the_table_that_the_reader_obeys() {
    golden::assert_part("docs/formats.md", "onnx", &format!("\n{}\n", tables::markdown(onnx::ATTRIBUTES)));
}
