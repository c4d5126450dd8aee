//! Checks every program that ships with naga, without a device: its WGSL matches its declaration.
//!
//! Each check takes the linked text of one program and returns the differences that it found,
//! with file and line if there is one. Each check is also tried on a text with a planted fault.

#[path = "shaders/constants.rs"]
mod constants;
#[path = "shaders/faults.rs"]
mod faults;
#[path = "support/files.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests have it in a module, and use all of it")]
mod files;
#[path = "shaders/linked.rs"]
mod linked;
#[path = "shaders/lint.rs"]
mod lint;
#[path = "shaders/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;

use gatewave::inspect::kernel::{Access, Gemm, Kernel, Mask, Matrix, Params, Program, Tile, link};
use gatewave::inspect::plan::Limits;
use gatewave::inspect::plan::tune::{LayerShape, Product, Target, Tuning};
use gatewave::layer::{Cell, Reset};
use gatewave::{Activation, Precision};
use linked::{Linked, every_program};
use naga::back::PipelineConstants;
use naga::back::pipeline_constants::process_overrides;
use naga::proc::Layouter;
use naga::valid::GlobalUse;
use naga::{AddressSpace, ImageClass, ScalarKind, ShaderStage, StorageAccess, TypeInner};

/// The number of programs that ship. Only a new kernel, cell, storage, mask or tile changes it.
const PROGRAMS: usize = 2709;
/// The number of files under `shaders/`.
const FILES: usize = 199;

/// WebGPU's default limits.
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;

/// The members of `Params` in Rust: name and offset.
macro_rules! params {
    ($($field:ident),* $(,)?) => {{
        // The pattern has no `..`, so a field that the list lacks is a compile error.
        let Params { $($field),* } = Params::default();
        $(let _: u32 = $field;)*
        vec![$((stringify!($field), offset_of!(Params, $field))),*]
    }};
}

fn params_in_rust() -> Vec<(&'static str, usize)> {
    params![
        rows,
        batch,
        directions,
        direction,
        depth,
        units,
        panel,
        panels,
        weight_panel,
        weight_panels,
        source_0,
        source_1,
        target_0,
        target_1,
        gates_0,
        gates_1,
        live_0,
        live_1,
        kept_0,
        kept_1,
        before_0,
        before_1,
        cell_in,
        cell_out,
        token,
        tokens,
        features,
        steps,
        hidden_step_0,
        hidden_step_1,
        time_step_0,
        time_step_1,
        source_units,
        source_features,
        source_directions,
        source_offset,
        offset,
        count,
        scale,
        reserved,
    ]
}

/// Runs `check` on every program and reports all findings, once each. The number of programs is asserted.
fn for_every_program(check: impl Fn(&Program, &Linked) -> Vec<String>) {
    let programs = every_program();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (program, linked) in programs {
        let findings = match &**linked {
            Ok(linked) => check(program, linked),
            Err(error) => vec![error.clone()],
        };
        for finding in findings {
            found.entry(finding).or_default().push(name(program));
        }
    }
    let report =
        found.iter().map(|(finding, names)| format!("{finding} (in {} programs: {}, …)", names.len(), names[0]));
    assert!(found.is_empty(), "{}", report.collect::<Vec<_>>().join("\n"));
    assert_eq!(programs.len(), PROGRAMS, "programs seen");
}

fn name(program: &Program) -> String {
    format!("{program:?}")
}

/// Returns a line if `expected` and `got` differ.
fn differ<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Option<String> {
    (expected != got).then(|| format!("{what}: expected {expected:?}, got {got:?}"))
}

#[test]
fn every_program_links_parses_and_validates_with_baseline_capabilities() {
    for_every_program(|program, linked| {
        let entries: Vec<_> =
            linked.module.entry_points.iter().map(|entry| (entry.stage, entry.name.as_str())).collect();
        differ("entry points", &vec![(ShaderStage::Compute, program.kernel().name())], &entries).into_iter().collect()
    });
}

#[test]
fn no_program_is_listed_twice() {
    let programs = link::programs();
    let distinct: HashSet<_> = programs.iter().collect();
    assert_eq!(distinct.len(), programs.len());
    let kernels: BTreeSet<_> = programs.iter().map(|program| program.kernel()).collect();
    assert_eq!(kernels.into_iter().collect::<Vec<_>>(), Kernel::ALL, "a kernel that no program uses");
}

/// (group, index, name, access) of every binding.
type Bindings = Vec<(u32, u32, String, Access)>;

fn reflected_bindings(linked: &Linked) -> Bindings {
    let mut bindings: Bindings = Vec::new();
    for (_, variable) in linked.module.global_variables.iter() {
        let Some(at) = variable.binding else { continue };
        let access = match variable.space {
            AddressSpace::Uniform => Access::Uniform,
            AddressSpace::Handle => texture_access(&linked.module.types[variable.ty].inner),
            AddressSpace::Storage { access } if access == StorageAccess::LOAD => Access::Read,
            _ => Access::ReadWrite,
        };
        bindings.push((at.group, at.binding, variable.name.clone().unwrap_or_default(), access));
    }
    bindings.sort_by_key(|binding| (binding.0, binding.1));
    bindings
}

fn texture_access(texture: &TypeInner) -> Access {
    match texture {
        TypeInner::Image { class: ImageClass::Sampled { kind: ScalarKind::Sint, .. }, .. } => Access::IntegerTexture,
        TypeInner::Image { class: ImageClass::Storage { .. }, .. } => Access::WriteTexture,
        _ => Access::Texture,
    }
}

fn bindings_differ(program: &Program, linked: &Linked) -> Vec<String> {
    let declared: Bindings = program.bindings().map(|b| (0, b.index, b.role.name().to_owned(), b.access)).collect();
    differ("bindings", &declared, &reflected_bindings(linked)).into_iter().collect()
}

#[test]
fn the_bindings_are_the_declared_ones() {
    for_every_program(bindings_differ);
}

fn uses_differ(program: &Program, linked: &Linked) -> Vec<String> {
    let uses = linked.info.get_entry_point(0);
    let mut found = Vec::new();
    for (handle, variable) in linked.module.global_variables.iter() {
        let name = variable.name.clone().unwrap_or_default();
        let Some(declared) = program.bindings().find(|binding| binding.role.name() == name) else { continue };
        let (reads, writes) = (uses[handle].contains(GlobalUse::READ), uses[handle].contains(GlobalUse::WRITE));
        match declared.access {
            Access::WriteTexture => {
                found.extend(differ(&format!("{name} is (read, written)"), &(false, true), &(reads, writes)));
            }
            Access::ReadWrite => found.extend(differ(&format!("{name} is written"), &true, &writes)),
            Access::Read | Access::Texture | Access::IntegerTexture | Access::Uniform => {
                found.extend(differ(&format!("{name} is (read, written)"), &(true, false), &(reads, writes)));
            }
        }
    }
    found
}

#[test]
fn each_binding_is_used_as_it_is_declared() {
    for_every_program(uses_differ);
}

fn params_differ(linked: &Linked) -> Vec<String> {
    let Some((_, params)) = linked.module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params")) else {
        return vec!["no struct Params".to_owned()];
    };
    let TypeInner::Struct { members, span } = &params.inner else { return vec!["Params is no struct".to_owned()] };
    let wgsl: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap_or_default(), m.offset as usize)).collect();
    let of_u32 = |ty| linked.module.types[ty].inner == TypeInner::Scalar(naga::Scalar::U32);
    let mut found = Vec::new();
    found.extend(differ("members of Params", &params_in_rust(), &wgsl));
    found.extend(differ("size of Params", &size_of::<Params>(), &(*span as usize)));
    found.extend(differ("every member is u32", &true, &members.iter().all(|member| of_u32(member.ty))));
    found
}

#[test]
fn params_are_the_same_struct_in_wgsl_and_rust() {
    for_every_program(|_, linked| params_differ(linked));
}

fn overrides_differ(program: &Program, linked: &Linked) -> Vec<String> {
    // An expression of overrides, such as the size of an array, is an override without a name; so is a condition.
    let names = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    let given = names(&mut program.overrides().into_iter().map(|(name, _)| name.to_owned()));
    let reflected = names(&mut linked.module.overrides.iter().filter_map(|(_, o)| o.name.clone()));
    let infinite = program.overrides().into_iter().filter(|(_, value)| !value.is_finite());
    let infinite = infinite.map(|(name, value)| format!("{name} is {value}, which no device takes"));
    differ("overrides", &given, &reflected).into_iter().chain(infinite).collect()
}

#[test]
fn the_overrides_are_the_given_ones_and_each_that_is_declared_is_given_to_some() {
    for_every_program(overrides_differ);
    for kernel in Kernel::ALL {
        let programs = link::programs().into_iter().filter(|program| program.kernel() == kernel);
        let given: BTreeSet<_> = programs.flat_map(|program| program.overrides()).map(|(name, _)| name).collect();
        let declared: BTreeSet<_> = kernel.declaration().overrides.iter().copied().collect();
        assert_eq!(given, declared, "{}", kernel.name());
    }
}

#[test]
fn a_plain_cell_is_linked_with_no_part_of_a_general_one() {
    for_every_program(|program, linked| {
        let general = linked.text.contains("override CLIP");
        let is_training = program.training().is_some();
        let step = (program.kernel().is_step() || is_training) && program.cell().is_some();
        let of_tile = match program.kernel() {
            Kernel::Persistent => 3,
            Kernel::StepBack | Kernel::ScanBack => 2,
            _ if is_training => 0,
            _ => 2,
        };
        let overrides = program.overrides().len() > of_tile;
        let mut found: Vec<_> = differ("general parts", &(step && !program.is_plain()), &general).into_iter().collect();
        if step {
            found.extend(differ("more overrides than the tile's", &!program.is_plain(), &overrides));
        }
        found
    });
}

/// Returns the workgroup size and the bytes of workgroup memory of `program`'s entry point, with its overrides set.
fn specialised(program: &Program, linked: &Linked) -> Result<([u32; 3], u32), String> {
    let constants: PipelineConstants =
        program.overrides().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entry = Some((ShaderStage::Compute, program.kernel().name()));
    let (module, _) = process_overrides(&linked.module, &linked.info, entry, &constants).map_err(|e| e.to_string())?;
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
    let workgroup = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    let bytes = workgroup.map(|(_, variable)| layouter[variable.ty].size).sum();
    Ok((module.entry_points[0].workgroup_size, bytes))
}

fn sizes_differ(program: &Program, linked: &Linked) -> Vec<String> {
    let (size, bytes) = match specialised(program, linked) {
        Ok(specialised) => specialised,
        Err(error) => return vec![error],
    };
    let invocations: u32 = size.iter().product();
    let mut found = Vec::new();
    found.extend(differ("workgroup size", &program.workgroup_size(), &size));
    found.extend(differ("workgroup bytes", &program.workgroup_bytes(), &bytes));
    found.extend(differ("1 to 256 invocations", &true, &(1..=MAX_INVOCATIONS).contains(&invocations)));
    found.extend(differ("at most 16 KiB of workgroup memory", &true, &(bytes <= MAX_WORKGROUP_BYTES)));
    found
}

#[test]
fn each_tuning_has_the_workgroup_it_claims_and_fits_webgpu() {
    for_every_program(sizes_differ);
}

/// Returns the programs of every kernel of a step, with every tile that `tune` chooses for it over a sweep of sizes.
fn tuned_steps() -> HashSet<Program> {
    let plain = |program: &Program| {
        program.kernel().is_step()
            && program.is_plain()
            && program.tile().is_some_and(|tile| {
                tile == Tile::NONE
                    || program.kernel() == Kernel::Wavefront && tile.rows == 1
                    || program.kernel() == Kernel::Persistent && tile.rows == 1 && tile.held == 0
            })
            && program.matrix() == Some(Matrix::buffer(Precision::F32))
            && program.mask() == Mask::All
    };
    let limits = Limits { subgroup_lanes: 8, co_resident_workgroups: 64, ..Limits::WEBGPU };
    let mut programs = HashSet::new();
    for program in link::programs().into_iter().filter(plain) {
        for target in [Target::Host, Target::Software, Target::Gpu] {
            for rows in [1, 2, 3, 7, 8, 17, 256] {
                for panels in [1, 2, 3, 5, 8, 16, 33, 64, 512] {
                    for depth in [16, 32, 48, 64, 128, 256, 512, 1024, 8192] {
                        let gates = program.product_gates() as usize;
                        let product = Product { rows, depth, panels, gates };
                        let tile = match program.kernel() {
                            Kernel::Wavefront => {
                                Some(Tuning::of(target).wavefront(LayerShape { layers: 3, time: 9, product }, &limits))
                            }
                            // All states of the layer, or δ of all its gates, go into its product.
                            Kernel::Scan => Tuning::of(target).scan(Product { depth: 16 * panels, ..product }, &limits),
                            Kernel::ScanBack => {
                                let all = program.cell().map_or(1, |(cell, _)| cell.gates()) * 16 * panels;
                                Tuning::of(target).scan(Product { depth: all, ..product }, &limits)
                            }
                            Kernel::Persistent => Tuning::of(target).persistent(product, 1, &limits),
                            _ => Some(Tuning::of(target).step(product, &limits)),
                        };
                        programs.extend(tile.map(|tile| program.with_tile(tile)));
                    }
                }
            }
        }
    }
    programs
}

#[test]
fn each_tile_that_tuning_chooses_has_the_workgroup_it_claims_and_fits_webgpu() {
    let programs = tuned_steps();
    let found: Vec<_> = programs
        .iter()
        .flat_map(|program| {
            let linked = Linked::of(program).unwrap_or_else(|error| panic!("{}: {error}", name(program)));
            sizes_differ(program, &linked).into_iter().map(|finding| format!("{}: {finding}", name(program)))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let tiles: HashSet<_> = programs.iter().filter_map(Program::tile).collect();
    assert!(tiles.len() > 20, "only {} tiles seen", tiles.len());
}

#[test]
fn barriers_stand_in_uniform_control_flow_and_are_explained() {
    for_every_program(|_, linked| lint::lint(&linked.text, &linked.module));
    let barriers: usize = link::PARTS.iter().map(|(_, text)| lint::barriers(text)).sum();
    assert!(barriers > 0, "no barrier seen");
}

/// Returns the differences in the gates that a product sums, and, if a cell is linked in, in the cell's own constants.
fn gates_differ(program: &Program, linked: &Linked) -> Vec<String> {
    let constant = |name: &str, value: usize| differ(name, &Some(value), &linked.constant(name));
    let mut found = Vec::new();
    if program.kernel().is_product() {
        let wide = program.tile().map_or(1, |tile| tile.wide);
        found.extend(constant("PRODUCT_GATES", (program.product_gates() * wide) as usize));
    }
    if let Some(cell) = linked_cell(program) {
        found.extend(constant("GATES", cell.gates()));
        found.extend(constant("STATES", cell.states()));
        // A cell of one gate has nothing to index.
        if cell.gates() > 1 {
            let gates = cell.gate_names().iter().enumerate();
            found.extend(gates.filter_map(|(at, gate)| constant(&format!("GATE_{}", gate.to_uppercase()), at)));
        }
    }
    found
}

/// Returns the cell whose file `program` is linked from. `gemm` has a cell only for its number of gates.
fn linked_cell(program: &Program) -> Option<Cell> {
    program.cell().map(|(cell, _)| cell).filter(|_| link::parts(program).iter().any(|part| part.starts_with("cell/")))
}

#[test]
fn gates_and_states_of_each_program_are_those_of_its_cell() {
    for_every_program(gates_differ);
    let programs = link::programs();
    let cells: BTreeSet<_> = programs.iter().filter_map(|program| Some(linked_cell(program)?.to_string())).collect();
    assert_eq!(cells.len(), Cell::ALL.len(), "cells linked: {cells:?}");
    let products: BTreeSet<_> =
        programs.iter().filter(|p| p.kernel().is_product()).map(|p| (p.kernel(), p.product_gates())).collect();
    assert_eq!(products.len(), 4 + 3 + 3 + 3 + 3 + 3 + 1 + 1 + 1, "kernels and gates of products: {products:?}");
}

#[test]
fn every_file_under_shaders_is_embedded_and_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut on_disk = BTreeMap::new();
    for file in files::files(&root, &[]).iter().filter(|file| file.parent() != Some(root.as_path())) {
        on_disk.insert(files::name(&root, file), fs::read_to_string(file).unwrap());
    }
    let embedded: BTreeMap<_, _> = link::PARTS.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
    assert!(on_disk == embedded, "on disk {:?}, embedded {:?}", on_disk.keys(), embedded.keys());
    let mut used = BTreeSet::new();
    for program in link::programs() {
        let text = link::source(&program);
        used.extend(text.lines().filter_map(|line| line.strip_prefix(source::MARKER)).map(str::to_owned));
    }
    assert_eq!(used, on_disk.into_keys().collect(), "files that programs are linked from");
    assert_eq!(used.len(), FILES);
}
