//! The recurrent kernels: every cell, mask and storage, on sizes that straddle blocks and panels.

use super::*;
use crate::cell::{Constant, Coupling, Functions, Peepholes};
use crate::kernel::{Role, kept_gates};

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

/// A case of a recurrent kernel. Rows 0 and 1 are read, and 2 and 3 written (swapped for z
/// = 1). Gates are chunk rows 1 and 2, and the weights begin two panels into their window.
pub(super) fn step_case(program: Program, s: Sizes) -> Case {
    let (kernel, mask, cell) = (program.kernel(), program.mask(), cell_of(&program));
    let product_gates = program.product_gates() as usize;
    let panels = s.units / LANES - s.skip[0] - s.skip[1];
    let hidden = if kernel == Kernel::Step { s.depth } else { s.units };
    let cell_state = if kernel == Kernel::StepProject { s.depth } else { s.units };
    let panel_rows = s.depth + program.rows_after_depth() as usize;
    let weights = (2 + (s.sides - 1) * (panels + 1) + panels) * panel_rows * product_gates * LANES;
    let small = |x: f32| x / (s.depth as f32).sqrt();
    let (live, mut gates) = (self::mask(4 * s.batch), noise(2, 4 * s.batch * s.units * cell.gates()));
    if mask == Mask::Live {
        spoil(&mut gates, s.units * cell.gates(), s.batch, &live, [1, 2], [1, 2]);
    }
    let data = |name| match name {
        "weights" => Data::Weights(noise(1, weights).into_iter().map(small).collect()),
        "gates" => Data::Floats(gates.clone()),
        "live" => Data::Indices(live.clone()),
        "kept" => Data::Floats(noise(5, 7 * s.batch * s.units * kept_gates(cell) as usize)),
        "hidden" => Data::Floats(noise(3, 4 * s.batch * s.directions * hidden)),
        "source" => Data::Floats(noise(6, (s.direction + s.sides) * s.batch * s.depth * product_gates)),
        _ => Data::Floats(noise(4, 3 * s.batch * s.directions * cell_state)),
    };
    let bound = program.bindings().skip(1).map(|binding| (binding.role.name(), data(binding.role.name()))).collect();
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
        cell_in: 0,
        cell_out: 1,
        kept_0: 6,
        kept_1: 5,
        ..Params::default()
    };
    Case { program, params, sides: s.sides, bound }
}

/// Returns `f`, `g` and `h` of a cell. The inputs of the first two are clipped.
fn functions(variant: Variant) -> [impl Fn(f64) -> f64; 3] {
    let most = variant.clip.map_or(f64::INFINITY, |clip| f64::from(clip.get()));
    let [f, g, h] = variant.functions.each();
    [(f, most), (g, most), (h, f64::INFINITY)].map(|(f, most)| move |x: f64| activation(f, x.clamp(-most, most)))
}

/// The inputs of a cell for one unit's new state.
struct Unit {
    /// By gate, as the next two.
    x: Vec<f64>,
    r: Vec<f64>,
    peephole: Vec<f64>,
    h: f64,
    c: f64,
}

impl Unit {
    /// Returns the hidden state, and an LSTM's cell state.
    fn step(&self, cell: Cell, variant: Variant) -> (f64, Option<f64>) {
        let [f, g, h] = functions(variant);
        let gate = |i: usize, c: f64| f(self.x[i] + self.r[i] + self.peephole[i] * c);
        match cell {
            Cell::Rnn => (gate(0, 0.0), None),
            Cell::Gru(_) => {
                let new = g(self.x[2] + gate(0, 0.0) * self.r[2]);
                ((1.0 - gate(1, 0.0)) * new + gate(1, 0.0) * self.h, None)
            }
            Cell::Lstm => {
                let input = gate(0, self.c);
                let forget = match variant.coupling {
                    Coupling::Apart => gate(1, self.c),
                    Coupling::InputForget => 1.0 - input,
                };
                let c = forget * self.c + input * g(self.x[2] + self.r[2]);
                (gate(3, c) * h(c), Some(c))
            }
        }
    }
}

/// Returns what the catalog says of a recurrent kernel.
fn step_expected(case: &Case) -> Vec<(&'static str, usize, f64)> {
    let p = &case.params;
    let [batch, depth, units, directions] = [p.batch, p.depth, p.units, p.directions].map(|n| n as usize);
    let (kernel, cell, variant) = (case.program.kernel(), cell_of(&case.program), variant_of(&case.program));
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
                // Copies are in rows of directions, each laid out like a row of gates.
                let copied = |gates: usize, g: usize, k: usize| {
                    (d * batch + b) * depth * gates + (k / LANES * gates + g) * LANES + k % LANES
                };
                let from = |name: &'static str, row: usize, gates: usize, g: usize| {
                    product(case, gates, [panel, g, n % LANES], |k| match case.program.is_per_gate() {
                        true => case.float("source", copied(gates, g, k)),
                        false => case.float(name, deep(row, k)),
                    })
                };
                let h = || case.float("hidden", own(source));
                let dead = case.program.mask() == Mask::Live && case.index("live", live * batch + b) == 0;
                let [f, g, _] = functions(variant);
                match kernel {
                    Kernel::StepReset => {
                        let gate = |i| f(x(i) + from("hidden", source, 2, i));
                        expected.push(("scratch", own(SCRATCH_RESET), gate(0) * h()));
                        expected.push(("scratch", own(SCRATCH_UPDATE), gate(1)));
                    }
                    Kernel::StepNew => {
                        let new = g(x(2) + from("scratch", SCRATCH_RESET, 1, 0));
                        let z = case.float("scratch", own(SCRATCH_UPDATE));
                        let value = if dead { h() } else { (1.0 - z) * new + z * h() };
                        expected.push(("hidden", own(target), value));
                    }
                    Kernel::StepProject => {
                        let value = if dead { h() } else { from("cell_state", CELL_UNPROJECTED, 1, 0) };
                        expected.push(("hidden", own(target), value));
                    }
                    _ => {
                        let each = |value: &dyn Fn(usize) -> f64| (0..cell.gates()).map(value).collect();
                        let unit = Unit {
                            x: each(&x),
                            r: each(&|i| from("hidden", source, cell.gates(), i)),
                            peephole: match variant.peepholes {
                                Peepholes::None => vec![0.0; 4],
                                Peepholes::Diagonal => each(&|i| weight(case, 4, [panel, depth + 1, i, n % LANES])),
                            },
                            h: if case.program.states() == Some(StateKind::Projected) { f64::NAN } else { h() },
                            c: if cell == Cell::Lstm { case.float("cell_state", own(p.cell_in as usize)) } else { 0.0 },
                        };
                        if case.program.bindings().any(|binding| binding.role == Role::Kept) {
                            let (x, r) = (&unit.x, &unit.r);
                            let kept = match cell {
                                Cell::Rnn | Cell::Lstm => x.iter().zip(r).map(|(x, r)| x + r).collect(),
                                Cell::Gru(_) => vec![x[0] + r[0], x[1] + r[1], x[2], r[2]],
                            };
                            let row = [p.kept_0, p.kept_1][z] as usize;
                            let panel = (row * batch + b) * (units / LANES) + n / LANES;
                            let at = |g: usize| (panel * kept.len() + g) * LANES + n % LANES;
                            expected.extend((0..kept.len()).map(|g| ("kept", at(g), kept[g])));
                        }
                        let (new, cell_state) = unit.step(cell, variant);
                        let cell_state = cell_state.map(|c| if dead { unit.c } else { c });
                        if case.program.states() == Some(StateKind::Projected) {
                            expected.push(("cell_state", own(CELL_UNPROJECTED), if dead { 0.0 } else { new }));
                        } else {
                            expected.push(("hidden", own(target), if dead { h() } else { new }));
                        }
                        expected.extend(cell_state.map(|c| ("cell_state", own(p.cell_out as usize), c)));
                    }
                }
            }
        }
    }
    expected
}

/// A step with a plain cell.
pub(super) fn step(cell: Cell, states: StateKind) -> Program {
    let (variant, mask) = (Variant::plain(cell), Mask::All);
    let (matrix, tile) = (Matrix::buffer(Precision::F32), Tile::NONE);
    Program::Step(Step { cell, variant, states, mask, keeps: false, per_gate: false, matrix, tile })
}

/// Makes the step keep what its backward pass needs.
fn keeping(mut program: Program) -> Program {
    let Program::Step(step) = &mut program else { panic!("{program:?} keeps nothing") };
    step.keeps = true;
    program
}

/// Makes the gates of the recurrent kernel multiply copies.
fn per_gate(mut program: Program) -> Program {
    match &mut program {
        Program::Step(Step { per_gate, .. })
        | Program::StepReset(Half { per_gate, .. })
        | Program::StepNew(Half { per_gate, .. }, _) => *per_gate = true,
        other => panic!("{other:?} multiplies no copies"),
    }
    program
}

/// Returns every recurrent kernel with every cell it takes, plain and without a mask.
fn recurrent() -> Vec<Program> {
    let (matrix, tile, mask) = (Matrix::buffer(Precision::F32), Tile::NONE, Mask::All);
    let half = Half { variant: Variant::plain(Cell::Gru(Reset::Before)), per_gate: false, matrix, tile };
    vec![
        step(Cell::Rnn, StateKind::Hidden),
        step(Cell::Gru(Reset::After), StateKind::Hidden),
        step(Cell::Lstm, StateKind::Cell),
        step(Cell::Lstm, StateKind::Projected),
        Program::StepProject(StepProject { mask, matrix, tile }),
        Program::StepReset(half),
        Program::StepNew(half, mask),
    ]
}

/// Returns the cell of a recurrent kernel, an LSTM for a projection.
fn cell_of(program: &Program) -> Cell {
    program.cell().map_or(Cell::Lstm, |(cell, _)| cell)
}

fn variant_of(program: &Program) -> Variant {
    program.cell().map_or(Variant::plain(Cell::Lstm), |(_, variant)| variant)
}

fn with_variant(mut program: Program, of_it: Variant) -> Program {
    match &mut program {
        Program::Step(Step { variant, .. })
        | Program::StepReset(Half { variant, .. })
        | Program::StepNew(Half { variant, .. }, _) => *variant = of_it,
        other => panic!("{other:?} has no cell"),
    }
    program
}

/// Sets the mask, if the program may have one, and the storage.
fn of(program: Program, of_it: Mask, storage: Precision) -> Program {
    let mut program = program.with_matrix(Matrix::buffer(storage));
    if let Program::Step(Step { mask, .. })
    | Program::StepNew(_, mask)
    | Program::StepProject(StepProject { mask, .. }) = &mut program
    {
        *mask = of_it;
    }
    program
}

/// Returns programs with variants of their cell: each function
/// replaced, a clip, and an LSTM's options one by one and together.
fn departures(plain: Program) -> Vec<Program> {
    let plain_variant = variant_of(&plain);
    let plain_functions = plain_variant.functions;
    let hard = Activation::HardSigmoid { alpha: Constant::new(0.3), beta: Constant::new(0.4) };
    let tall = Activation::ScaledTanh { alpha: Constant::new(1.5), beta: Constant::new(0.5) };
    let clip = Some(Constant::new(0.3));
    let (coupling, peepholes) = (Coupling::InputForget, Peepholes::Diagonal);
    let of_all = Variant { clip, ..plain_variant };
    let with = |functions| Variant { functions, ..plain_variant };
    let mut variants = vec![of_all];
    match cell_of(&plain) {
        Cell::Rnn => {
            let relu = with(Functions { f: Activation::Relu, ..plain_functions });
            variants.extend([
                relu,
                Variant { clip, ..relu },
                with(Functions { f: Activation::Softsign, ..plain_functions }),
            ]);
        }
        Cell::Gru(_) => match plain.kernel() {
            Kernel::StepReset => variants.push(with(Functions { f: hard, ..plain_functions })),
            Kernel::StepNew => variants.push(with(Functions { g: tall, ..plain_functions })),
            _ => variants.extend([
                with(Functions { f: hard, ..plain_functions }),
                with(Functions { g: tall, ..plain_functions }),
            ]),
        },
        Cell::Lstm => variants.extend([
            with(Functions { f: hard, ..plain_functions }),
            with(Functions { g: Activation::Relu, ..plain_functions }),
            with(Functions { h: tall, ..plain_functions }),
            Variant { coupling, ..plain_variant },
            Variant { peepholes, ..plain_variant },
            Variant { coupling, peepholes, clip, functions: Functions { f: hard, g: Activation::Softsign, h: tall } },
        ]),
    }
    variants.into_iter().map(|variant| with_variant(plain, variant)).collect()
}

/// Returns the values of a case, as the catalog describes them.
fn values(case: &Case) -> Vec<f64> {
    step_expected(case).into_iter().map(|(_, _, value)| value).collect()
}

#[test]
fn steps_do_what_the_catalog_says() {
    let one = Sizes { batch: 1, units: 16, skip: [0, 0], depth: 16, directions: 1, direction: 0, sides: 1 };
    let mut cases = 0;
    for plain in recurrent() {
        for mask in [Mask::All, Mask::Live].into_iter().take(if plain.kernel() == Kernel::StepReset { 1 } else { 2 }) {
            for storage in [Precision::F32, Precision::F16] {
                for sizes in [
                    one,
                    Sizes { batch: 7, units: 48, depth: 48, directions: 2, sides: 2, ..one },
                    Sizes { batch: 3, units: 48, depth: 48, directions: 2, direction: 1, ..one },
                    Sizes { batch: 5, units: 64, depth: 64, skip: [1, 1], ..one },
                    Sizes { batch: 2, units: 144, depth: 144, ..one },
                    Sizes { units: 272, depth: 272, directions: 2, sides: 2, ..one },
                    Sizes { batch: 13, units: 48, depth: 32, directions: 2, sides: 2, ..one },
                ] {
                    let projects =
                        plain.states() == Some(StateKind::Projected) || plain.kernel() == Kernel::StepProject;
                    if sizes.units == sizes.depth || projects {
                        let case = step_case(of(plain, mask, storage), sizes);
                        case.check(&step_expected(&case));
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, (6 * 4 + 2) * 6 + 2 * 4, "kernels × masks × storages × sizes, and projections");
}

#[test]
fn cells_that_depart_from_their_plain_equations_do_what_the_catalog_says() {
    let one = Sizes { batch: 1, units: 16, skip: [0, 0], depth: 16, directions: 1, direction: 0, sides: 1 };
    let mut cases = 0;
    for plain in recurrent().into_iter().filter(|plain| plain.kernel() != Kernel::StepProject) {
        let masks: &[_] = if plain.kernel() == Kernel::StepReset { &[Mask::All] } else { &[Mask::All, Mask::Live] };
        for (program, mask) in departures(plain).into_iter().flat_map(|p| masks.iter().map(move |mask| (p, *mask))) {
            for (storage, sizes) in [
                (Precision::F32, Sizes { batch: 7, units: 48, depth: 48, directions: 2, sides: 2, ..one }),
                (Precision::F16, Sizes { batch: 5, units: 64, depth: 64, skip: [1, 1], ..one }),
            ] {
                let case = step_case(of(program, mask, storage), sizes);
                let control = step_case(of(plain, mask, storage), sizes);
                let far = values(&case).iter().zip(values(&control)).any(|(a, b)| (a - b).abs() > 1e-2);
                assert!(far, "{:?} is told from the plain cell by nothing", variant_of(&program));
                case.check(&step_expected(&case));
                cases += 1;
            }
        }
    }
    // RNN 4, GRU 3 and 2 and 2 (its first half has no masks), LSTM 7 before a projection or without one.
    assert_eq!(cases, 2 * (2 * (4 + 3 + 2 + 7 + 7) + 2), "departures × masks × sizes");
}

#[test]
fn gates_of_a_step_multiply_copies_of_their_own() {
    let one = Sizes { batch: 1, units: 16, skip: [0, 0], depth: 16, directions: 1, direction: 0, sides: 1 };
    let with_copies = recurrent().into_iter().filter(|plain| plain.kernel() != Kernel::StepProject);
    for plain in with_copies {
        let masks: &[_] = if plain.kernel() == Kernel::StepReset { &[Mask::All] } else { &[Mask::All, Mask::Live] };
        let depth = if plain.states() == Some(StateKind::Projected) { 32 } else { 48 };
        for (&mask, sizes) in masks.iter().flat_map(|mask| {
            [
                one,
                Sizes { batch: 7, units: 48, depth, directions: 2, sides: 2, ..one },
                Sizes { batch: 3, units: 48, depth, directions: 2, direction: 1, ..one },
                Sizes { batch: 5, units: 64, depth: 64, skip: [1, 1], ..one },
                Sizes { batch: 37, units: 192, depth: 192, directions: 2, sides: 2, ..one },
            ]
            .map(|sizes| (mask, sizes))
        }) {
            let case = step_case(per_gate(of(plain, mask, Precision::F32)), sizes);
            case.check(&step_expected(&case));
        }
    }
}

#[test]
fn steps_keep_what_their_way_back_needs() {
    let one = Sizes { batch: 1, units: 16, skip: [0, 0], depth: 16, directions: 1, direction: 0, sides: 1 };
    let sizes = [
        one,
        Sizes { batch: 7, units: 48, depth: 48, directions: 2, sides: 2, ..one },
        Sizes { batch: 5, units: 64, depth: 64, skip: [1, 1], ..one },
        Sizes { batch: 37, units: 192, depth: 192, directions: 2, sides: 2, ..one },
    ];
    let steps = [
        step(Cell::Rnn, StateKind::Hidden),
        step(Cell::Gru(Reset::After), StateKind::Hidden),
        step(Cell::Lstm, StateKind::Cell),
    ];
    for (plain, sizes) in steps.into_iter().flat_map(|step| sizes.map(|sizes| (step, sizes))) {
        for mask in [Mask::All, Mask::Live] {
            let case = step_case(keeping(of(plain, mask, Precision::F32)), sizes);
            case.check(&step_expected(&case));
        }
    }
}

#[test]
fn a_step_shared_by_threads_is_the_same_step() {
    let sizes = Sizes { batch: 37, units: 192, skip: [0, 0], depth: 192, directions: 2, direction: 0, sides: 2 };
    for plain in recurrent() {
        let mask = if plain.kernel() == Kernel::StepReset { Mask::All } else { Mask::Live };
        let lstm = Some(plain).filter(|plain| plain.states() == Some(StateKind::Cell));
        let last = lstm.and_then(|plain| departures(plain).pop());
        for program in std::iter::once(plain).chain(last) {
            let case = step_case(of(program, mask, Precision::F32), sizes);
            case.check(&step_expected(&case));
        }
    }
}
