//! The recurrent kernels: every cell, mask and storage, on sizes that straddle blocks and panels.

use super::*;

/// The sizes of a step's case.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    /// Padded units, and panels before and after those that are computed.
    pub(super) units: usize,
    pub(super) skip: [usize; 2],
    pub(super) depth: usize,
    pub(super) directions: usize,
    pub(super) direction: usize,
    pub(super) sides: usize,
}

/// A case of a recurrent kernel: rows 0 and 1 are read and 2 and 3 written (swapped for z = 1), gates are chunk rows
/// 1 and 2, the weights begin two panels into their window.
pub(super) fn step_case(kernel: Kernel, cell: Cell, states: StateKind, mask: Mask, storage: Storage, s: Sizes) -> Case {
    let mask = if kernel == Kernel::StepReset { Mask::All } else { mask };
    let product_gates = match kernel {
        Kernel::StepReset => 2,
        Kernel::Step => cell.gates(),
        _ => 1,
    };
    let panels = s.units / LANES - s.skip[0] - s.skip[1];
    let hidden = if kernel == Kernel::Step { s.depth } else { s.units };
    let memory = if kernel == Kernel::StepProject { s.depth } else { s.units };
    let weights = (2 + (s.sides - 1) * (panels + 1) + panels) * (s.depth + 1) * product_gates * LANES;
    let small = |x: f32| x / (s.depth as f32).sqrt();
    let mut gates = noise(2, 4 * s.batch * s.units * cell.gates());
    let live: Vec<u32> = (0..4 * s.batch).map(|i| u32::from(i % 3 != 1)).collect();
    if mask == Mask::Live {
        for z in 0..2 {
            for b in (0..s.batch).filter(|b| live[(1 + z) * s.batch + b] == 0) {
                gates[((1 + z) * s.batch + b) * s.units * cell.gates()..][..s.units * cell.gates()].fill(f32::NAN);
            }
        }
    }
    let program =
        Program { cell: Some(cell), variant: Variant::plain(cell), states, storage, mask, ..Program::plain(kernel) };
    let data = |name| match name {
        "weights" => Data::Weights(noise(1, weights).into_iter().map(small).collect()),
        "gates" => Data::Floats(gates.clone()),
        "live" => Data::Indices(live.clone()),
        "hidden" => Data::Floats(noise(3, 4 * s.batch * s.directions * hidden)),
        _ => Data::Floats(noise(4, 3 * s.batch * s.directions * memory)),
    };
    let bound = program.bindings().skip(1).map(|binding| (binding.name, data(binding.name))).collect();
    let n = |n: usize| u32::try_from(n).unwrap();
    let params = Params {
        rows: n(s.batch),
        batch: n(s.batch),
        directions: n(s.directions),
        direction: n(s.direction),
        depth: n(s.depth),
        units: n(s.units),
        panel: n(s.skip[0]),
        panels: n(panels),
        weight_panel: 2,
        weight_panels: n(panels + 1),
        source_0: 0,
        source_1: 1,
        target_0: 3,
        target_1: 2,
        gates_0: 1,
        gates_1: 2,
        live_0: 1,
        live_1: 2,
        memory_in: 0,
        memory_out: 1,
        ..Params::default()
    };
    Case { program, params, sides: s.sides, bound }
}

/// What the catalog says of a recurrent kernel.
fn step_expected(case: &Case) -> Vec<(&'static str, usize, f64)> {
    let p = &case.params;
    let [batch, depth, units, directions] = [p.batch, p.depth, p.units, p.directions].map(|n| n as usize);
    let (kernel, cell) = (case.program.kernel, case.program.cell.unwrap());
    let mut expected = Vec::new();
    for z in 0..case.sides {
        let d = p.direction as usize + z;
        let [source, target, gates, live] =
            [[p.source_0, p.source_1], [p.target_0, p.target_1], [p.gates_0, p.gates_1], [p.live_0, p.live_1]]
                .map(|pair| pair[z] as usize);
        for b in 0..batch {
            for n in p.panel as usize * LANES..(p.panel + p.panels) as usize * LANES {
                let own = |row: usize| (row * batch + b) * directions * units + d * units + n;
                let deep = |row: usize, k: usize| (row * batch + b) * directions * depth + d * depth + k;
                let panel = p.weight_panel as usize + p.weight_panels as usize * z + n / LANES - p.panel as usize;
                let x = |g: usize| {
                    let panel = (gates * batch + b) * (units / LANES) + n / LANES;
                    case.float("gates", (panel * cell.gates() + g) * LANES + n % LANES)
                };
                let from = |name: &'static str, row: usize, gates: usize, g: usize| {
                    product(case, gates, [panel, g, n % LANES], |k| case.float(name, deep(row, k)))
                };
                let h = || case.float("hidden", own(source));
                let dead = case.program.mask == Mask::Live && case.index("live", live * batch + b) == 0;
                match kernel {
                    Kernel::StepReset => {
                        let gate = |g| sigmoid(x(g) + from("hidden", source, 2, g));
                        expected.push(("memory", own(MEMORY_RESET), gate(0) * h()));
                        expected.push(("memory", own(MEMORY_UPDATE), gate(1)));
                    }
                    Kernel::StepNew => {
                        let new = (x(2) + from("memory", MEMORY_RESET, 1, 0)).tanh();
                        let z = case.float("memory", own(MEMORY_UPDATE));
                        let value = if dead { h() } else { (1.0 - z) * new + z * h() };
                        expected.push(("hidden", own(target), value));
                    }
                    Kernel::StepProject => {
                        let value = if dead { h() } else { from("memory", MEMORY_UNPROJECTED, 1, 0) };
                        expected.push(("hidden", own(target), value));
                    }
                    _ => {
                        let r = |g| from("hidden", source, cell.gates(), g);
                        let gate = |g| sigmoid(x(g) + r(g));
                        let (new, memory) = match cell {
                            Cell::Rnn => ((x(0) + r(0)).tanh(), None),
                            Cell::Gru(_) => {
                                let new = (x(2) + gate(0) * r(2)).tanh();
                                ((1.0 - gate(1)) * new + gate(1) * h(), None)
                            }
                            Cell::Lstm => {
                                let old = case.float("memory", own(p.memory_in as usize));
                                let c = gate(1) * old + gate(0) * (x(2) + r(2)).tanh();
                                (gate(3) * c.tanh(), Some(if dead { old } else { c }))
                            }
                        };
                        if case.program.states == StateKind::Projected {
                            expected.push(("memory", own(MEMORY_UNPROJECTED), if dead { 0.0 } else { new }));
                        } else {
                            expected.push(("hidden", own(target), if dead { h() } else { new }));
                        }
                        expected.extend(memory.map(|c| ("memory", own(p.memory_out as usize), c)));
                    }
                }
            }
        }
    }
    expected
}

/// Every recurrent kernel with every cell it takes.
fn recurrent() -> Vec<(Kernel, Cell, StateKind)> {
    let before = Cell::Gru(Reset::Before);
    vec![
        (Kernel::Step, Cell::Rnn, StateKind::Hidden),
        (Kernel::Step, Cell::Gru(Reset::After), StateKind::Hidden),
        (Kernel::Step, Cell::Lstm, StateKind::Memory),
        (Kernel::Step, Cell::Lstm, StateKind::Projected),
        (Kernel::StepProject, Cell::Lstm, StateKind::Hidden),
        (Kernel::StepReset, before, StateKind::Hidden),
        (Kernel::StepNew, before, StateKind::Hidden),
    ]
}

#[test]
fn steps_do_what_the_catalog_says() {
    let one = Sizes { batch: 1, units: 16, skip: [0, 0], depth: 16, directions: 1, direction: 0, sides: 1 };
    let mut cases = 0;
    for (kernel, cell, states) in recurrent() {
        for mask in [Mask::All, Mask::Live] {
            for storage in [Storage::F32, Storage::F16] {
                for sizes in [
                    one,
                    Sizes { batch: 7, units: 48, depth: 48, directions: 2, sides: 2, ..one },
                    Sizes { batch: 3, units: 48, depth: 48, directions: 2, direction: 1, ..one },
                    Sizes { batch: 5, units: 64, depth: 64, skip: [1, 1], ..one },
                    Sizes { batch: 2, units: 144, depth: 144, ..one },
                    Sizes { units: 272, depth: 272, directions: 2, sides: 2, ..one },
                    Sizes { batch: 13, units: 48, depth: 32, directions: 2, sides: 2, ..one },
                ] {
                    let projects = states == StateKind::Projected || kernel == Kernel::StepProject;
                    if sizes.units == sizes.depth || projects {
                        let case = step_case(kernel, cell, states, mask, storage, sizes);
                        case.check(&step_expected(&case));
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 8 * 4 * 6 + 2 * 4, "kernels × masks × storages × sizes, and projections");
}

#[test]
fn a_step_shared_by_threads_is_the_same_step() {
    let sizes = Sizes { batch: 37, units: 192, skip: [0, 0], depth: 192, directions: 2, direction: 0, sides: 2 };
    for (kernel, cell, states) in recurrent() {
        let case = step_case(kernel, cell, states, Mask::Live, Storage::F32, sizes);
        case.check(&step_expected(&case));
    }
}
