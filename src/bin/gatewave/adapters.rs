//! `gatewave adapters`: which devices can compute here, whether
//! their results are right, and which one `auto` would take.

#[cfg(feature = "gpu")]
use std::collections::BTreeMap;
use std::io::Write;

#[cfg(feature = "gpu")]
use gatewave::device::{AdapterInfo, SelfCheck};
use gatewave::{Device, Engine, Model, Result, Rnn, Weights};
#[cfg(feature = "gpu")]
use serde::Serialize;
use serde_json::json;

use crate::args::device_name;
use crate::{Outcome, Verdict};

/// Lists the adapters, with driver, limits and self-checks, and what auto would choose
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print JSON, one object on each line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    list(args, out)?;
    let engine = auto()?;
    let device = engine.device();
    if args.json {
        writeln!(
            out,
            "{}",
            json!({"auto": device_name(device), "device": device.to_string(), "reason": device.reason()})
        )?;
    } else {
        writeln!(out, "auto: {device} ({})", device.reason())?;
    }
    Ok(Verdict::Done)
}

/// Makes the smallest possible engine on the device of `auto`, which so is known and not guessed.
fn auto() -> Result<Engine> {
    let model = Model::new().layer(Rnn::new(1, 1));
    let weights = Weights::random(&model, 0)?;
    Engine::new(model, &weights, Device::Auto)
}

#[cfg(not(feature = "gpu"))]
fn list(args: &Args, out: &mut impl Write) -> Outcome<()> {
    if !args.json {
        writeln!(out, "no adapters: built without the feature `gpu`")?;
    }
    Ok(())
}

#[cfg(feature = "gpu")]
fn list(args: &Args, out: &mut impl Write) -> Outcome<()> {
    let adapters = gatewave::device::adapters();
    if adapters.is_empty() && !args.json {
        writeln!(out, "no adapters: is a Vulkan, Metal or DX12 driver installed?")?;
    }
    for adapter in &adapters {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&Line::of(adapter)).expect("plain data"))?;
        } else {
            text(adapter, out)?;
        }
    }
    Ok(())
}

#[cfg(feature = "gpu")]
fn text(adapter: &AdapterInfo, out: &mut impl Write) -> Outcome<()> {
    let limits = &adapter.limits;
    let mebibytes = |bytes: u64| bytes >> 20;
    writeln!(out, "{}", adapter.name)?;
    writeln!(out, "  type       {}", adapter.kind)?;
    writeln!(out, "  backend    {}", adapter.backend)?;
    writeln!(out, "  driver     {} {}", adapter.driver, adapter.driver_info)?;
    writeln!(
        out,
        "  memory     bindings to {} MiB, buffers to {} MiB",
        mebibytes(limits.binding_bytes),
        mebibytes(limits.buffer_bytes)
    )?;
    writeln!(
        out,
        "  workgroup  {} invocations, {} KiB; {} workgroups a dimension",
        limits.invocations,
        limits.workgroup_bytes >> 10,
        limits.workgroups
    )?;
    writeln!(out, "  timestamps {}", if adapter.timestamps { "yes" } else { "no" })?;
    for (what, outcome) in self_checks(adapter) {
        writeln!(out, "  self-check {what}: {outcome}")?;
    }
    Ok(())
}

/// Returns the result of each self-check of an adapter, by its name:
/// `ok`, or what is wrong. If none could be done, returns why.
#[cfg(feature = "gpu")]
fn self_checks(adapter: &AdapterInfo) -> BTreeMap<&'static str, String> {
    let outcome = |check: SelfCheck| (check.checked.name(), check.fault.unwrap_or_else(|| "ok".to_owned()));
    match Device::Named(adapter.name.clone()).self_checks() {
        Ok(checks) => checks.into_iter().map(outcome).collect(),
        Err(error) => BTreeMap::from([("not done", error.to_string())]),
    }
}

/// An adapter as JSON.
#[cfg(feature = "gpu")]
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    r#type: String,
    backend: &'a str,
    driver: &'a str,
    driver_info: &'a str,
    timestamps: bool,
    binding_bytes: u64,
    buffer_bytes: u64,
    workgroups: u32,
    invocations: u32,
    workgroup_bytes: u32,
    self_checks: BTreeMap<&'static str, String>,
}

#[cfg(feature = "gpu")]
impl<'a> Line<'a> {
    fn of(adapter: &'a AdapterInfo) -> Self {
        let limits = &adapter.limits;
        Self {
            name: &adapter.name,
            r#type: adapter.kind.to_string(),
            backend: adapter.backend,
            driver: &adapter.driver,
            driver_info: &adapter.driver_info,
            timestamps: adapter.timestamps,
            binding_bytes: limits.binding_bytes,
            buffer_bytes: limits.buffer_bytes,
            workgroups: limits.workgroups,
            invocations: limits.invocations,
            workgroup_bytes: limits.workgroup_bytes,
            self_checks: self_checks(adapter),
        }
    }
}
