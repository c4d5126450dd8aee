//! The way back through the pointwise half of a timestep.

use super::derivative::slope;
use super::*;
use crate::cell::{Constant, Coupling, Functions, Peepholes};
use crate::kernel::{CellBack, Training};

#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    /// Padded units, and true ones.
    pub(super) units: usize,
    pub(super) features: usize,
    pub(super) directions: usize,
    pub(super) direction: usize,
    pub(super) sides: usize,
}

/// Rows of the mask and of gates, by direction of the dispatch.
const LIVE: [usize; 2] = [3, 0];
const GATES: [usize; 2] = [4, 2];

/// A case of a kernel of one timestep. States are rows 0 and 1, gradients rows 2 and 3, cell states rows 5 and 6; weights begin two panels into their window. In the padding, and in dead rows, stands what must not be read.
pub(super) fn back_case(training: Training, s: Sizes) -> Case {
    let program = Program::Training(training);
    let (gates, width, depth) = (program.product_gates() as usize, s.directions * s.units, 5);
    let recurrent = if training.cell().is_some_and(|(cell, _)| cell == Cell::Gru(Reset::Before)) { 2 } else { gates };
    let panels = s.units / LANES;
    let panel = (depth + program.rows_after_depth() as usize) * gates * LANES;
    let live: Vec<u32> = (0..4 * s.batch).map(|i| u32::from(i % 3 != 1)).collect();
    let rows = |seed, size: f32, gates: usize| {
        let mut data: Vec<f32> = noise(seed, 5 * s.batch * s.units * gates).into_iter().map(|x| size * x).collect();
        if program.mask() == Mask::Live {
            for (z, b) in (0..2).flat_map(|z| (0..s.batch).map(move |b| (z, b))) {
                if live[LIVE[z] * s.batch + b] == 0 {
                    data[(GATES[z] * s.batch + b) * s.units * gates..][..s.units * gates].fill(f32::NAN);
                }
            }
        }
        Data::Floats(data)
    };
    // A unit counts as padding within its own direction.
    let padded_noise = |seed, len: usize| {
        let mut data = noise(seed, len);
        for (i, x) in data.iter_mut().enumerate().filter(|(i, _)| i % s.units >= s.features) {
            *x *= 1e3 * (1.0 + i as f32 % 5.0);
        }
        Data::Floats(data)
    };
    let data = |name| match name {
        "weights" => Data::Weights(noise(1, (2 + (s.sides - 1) * (panels + 1) + panels) * panel)),
        "gates" => rows(2, 3.0, gates),
        "recurrent" => rows(3, 2.0, recurrent),
        "new_gate" => rows(4, 1.0, 1),
        "result" => rows(5, 1.0, 1),
        "live" => Data::Indices(live.clone()),
        "hidden" => padded_noise(6, 4 * s.batch * width),
        "memory" => padded_noise(7, 7 * s.batch * width),
        "delta" => padded_noise(8, 4 * s.batch * width),
        "product" => padded_noise(9, s.directions * s.batch * s.units),
        "direct" => padded_noise(10, s.directions * s.batch * s.units),
        "carry" => padded_noise(11, s.directions * s.batch * s.units),
        other => panic!("{other} is bound"),
    };
    let bound = program.bindings().skip(1).map(|binding| (binding.role.name(), data(binding.role.name()))).collect();
    let n = |n: usize| u32::try_from(n).unwrap();
    let params = Params {
        rows: n(s.batch),
        batch: n(s.batch),
        directions: n(s.directions),
        direction: n(s.direction),
        depth: n(depth),
        units: n(s.units),
        features: n(s.features),
        weight_panel: 2,
        weight_panels: n(panels + 1),
        source_0: 0,
        source_1: 1,
        target_0: 2,
        target_1: 3,
        gates_0: n(GATES[0]),
        gates_1: n(GATES[1]),
        live_0: n(LIVE[0]),
        live_1: n(LIVE[1]),
        memory_in: 5,
        memory_out: 6,
        ..Params::default()
    };
    Case { program, params, sides: s.sides, bound }
}

/// Where a unit is: its direction in the dispatch, its row and its place in the padded units.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) z: usize,
    pub(super) b: usize,
    pub(super) n: usize,
}

impl Case {
    pub(super) fn training(&self) -> Training {
        self.program.training().unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound.0 == name)
    }

    /// Where gate `g` of `gates` of a row of gates is.
    pub(super) fn gate_at(&self, at: At, gates: usize, g: usize) -> usize {
        let p = &self.params;
        let row = [p.gates_0, p.gates_1][at.z] as usize * p.batch as usize + at.b;
        ((row * (p.units as usize / LANES) + at.n / LANES) * gates + g) * LANES + at.n % LANES
    }

    /// Where a unit of row `row` of a state is.
    pub(super) fn state_at(&self, at: At, row: u32) -> usize {
        let p = &self.params;
        let (units, d) = (p.units as usize, p.direction as usize + at.z);
        ((row * p.batch) as usize + at.b) * p.directions as usize * units + d * units + at.n
    }

    /// Where a unit of what a step hands to another is.
    pub(super) fn handed_at(&self, at: At) -> usize {
        let p = &self.params;
        ((p.direction as usize + at.z) * p.batch as usize + at.b) * p.units as usize + at.n
    }

    pub(super) fn is_dead(&self, at: At) -> bool {
        let p = &self.params;
        self.has("live") && self.index("live", ([p.live_0, p.live_1][at.z] * p.batch) as usize + at.b) == 0
    }

    /// The gradient of the state after the step.
    pub(super) fn dh(&self, at: At) -> f64 {
        let p = &self.params;
        let handed = |name| if self.has(name) { self.float(name, self.handed_at(at)) } else { 0.0 };
        let row = [p.target_0, p.target_1][at.z];
        let delta = if self.has("delta") { self.float("delta", self.state_at(at, row)) } else { 0.0 };
        handed("product") + handed("direct") + delta
    }

    /// Every unit that the dispatch reaches.
    pub(super) fn all_units(&self) -> impl Iterator<Item = At> + use<> {
        let (sides, batch, units) = (self.sides, self.params.batch as usize, self.params.units as usize);
        (0..sides).flat_map(move |z| (0..batch).flat_map(move |b| (0..units).map(move |n| At { z, b, n })))
    }
}

pub(super) type Expected = Vec<(&'static str, usize, f64)>;

/// A function and its derivative, by the clip of what goes into it.
pub(super) fn at(f: Activation, clip: Option<Constant>, x: f64) -> (f64, f64) {
    let most = clip.map_or(f64::INFINITY, |clip| f64::from(clip.get()));
    let inside = x.clamp(-most, most);
    (activation(f, inside), if x.abs() > most { 0.0 } else { slope(f, inside) })
}

/// What the catalog says of the way back through a cell.
fn cell_back_expected(case: &Case) -> Expected {
    let Training::CellBack(back) = case.training() else { panic!("no cell") };
    let (p, clip, Functions { f, g, h }) = (&case.params, back.variant.clip, back.variant.functions);
    let gates = back.cell.gates();
    let mut expected = Vec::new();
    for unit in case.all_units() {
        let dh = case.dh(unit);
        let (handed, own) = (case.handed_at(unit), |g: usize| case.gate_at(unit, gates, g));
        let a = |g: usize| case.float("gates", own(g));
        let mut given: Expected = Vec::new();
        match back.cell {
            Cell::Rnn => given.push(("gates", own(0), dh * at(f, clip, a(0)).1)),
            Cell::Gru(_) => {
                let hidden = case.float("hidden", case.state_at(unit, [p.source_0, p.source_1][unit.z]));
                let q = |g: usize| case.float("recurrent", own(g));
                let (r, r_slope) = at(f, clip, a(0) + q(0));
                let (z, z_slope) = at(f, clip, a(1) + q(1));
                let (n, n_slope) = at(g, clip, a(2) + r * q(2));
                let d_new = dh * (1.0 - z) * n_slope;
                let deltas = [d_new * q(2) * r_slope, dh * (hidden - n) * z_slope, d_new];
                given.extend((0..3).map(|g| ("gates", own(g), deltas[g])));
                given.extend((0..2).map(|g| ("recurrent", own(g), deltas[g])));
                given.push(("recurrent", own(2), d_new * r));
                given.push(("direct", handed, z * dh));
            }
            Cell::Lstm => {
                let (old, new) = (case.state_at(unit, p.memory_in), case.state_at(unit, p.memory_out));
                let [old, new] = [old, new].map(|at| case.float("memory", at));
                let panel = p.weight_panel as usize + unit.z * p.weight_panels as usize + unit.n / LANES;
                let peephole = |g: usize| match back.variant.peepholes {
                    Peepholes::None => 0.0,
                    Peepholes::Diagonal => weight(case, 4, [panel, p.depth as usize + 1, g, unit.n % LANES]),
                };
                let (i, i_slope) = at(f, clip, a(0) + peephole(0) * old);
                let (forget, f_slope) = at(f, clip, a(1) + peephole(1) * old);
                let (c, c_slope) = at(g, clip, a(2));
                let (o, o_slope) = at(f, clip, a(3) + peephole(3) * new);
                let (shown, h_slope) = at(h, None, new);
                let d_output = dh * shown * o_slope;
                let dc = case.float("carry", handed) + dh * o * h_slope + d_output * peephole(3);
                let (d_input, d_forget, past) = match back.variant.coupling {
                    Coupling::Apart => (dc * c * i_slope, dc * old * f_slope, dc * forget),
                    Coupling::InputForget => (dc * (c - old) * i_slope, 0.0, dc * (1.0 - i)),
                };
                let deltas = [d_input, d_forget, dc * i * c_slope, d_output];
                given.extend((0..4).map(|g| ("gates", own(g), deltas[g])));
                given.push(("carry", handed, past + d_input * peephole(0) + d_forget * peephole(1)));
                if back.states == StateKind::Projected {
                    given.push(("result", case.gate_at(unit, 1, 0), o * shown));
                }
            }
        }
        if case.has("direct") && !matches!(back.cell, Cell::Gru(_)) {
            given.push(("direct", handed, 0.0));
        }
        if case.is_dead(unit) {
            given.retain(|given| given.0 != "carry");
            for (name, _, value) in &mut given {
                *value = if *name == "direct" { dh } else { 0.0 };
            }
        }
        if unit.n >= p.features as usize {
            if case.has("carry") && case.is_dead(unit) {
                given.push(("carry", handed, 0.0));
            }
            given.iter_mut().for_each(|given| given.2 = 0.0);
        }
        expected.extend(given);
    }
    expected
}

fn cell_backs() -> Vec<CellBack> {
    let of = |cell: Cell, states| CellBack { cell, variant: Variant::plain(cell), states, mask: Mask::All };
    vec![
        of(Cell::Rnn, StateKind::Hidden),
        of(Cell::Gru(Reset::After), StateKind::Hidden),
        of(Cell::Lstm, StateKind::Memory),
        of(Cell::Lstm, StateKind::Projected),
    ]
}

/// Cells with each of their functions replaced, with a clip, with all an LSTM's options one by one and together.
fn departures(plain: CellBack) -> Vec<CellBack> {
    let functions = plain.variant.functions;
    let hard = Activation::HardSigmoid { alpha: Constant::new(0.3), beta: Constant::new(0.4) };
    let tall = Activation::ScaledTanh { alpha: Constant::new(1.5), beta: Constant::new(0.5) };
    let clip = Some(Constant::new(0.9));
    let (coupling, peepholes) = (Coupling::InputForget, Peepholes::Diagonal);
    let with = |functions| Variant { functions, ..plain.variant };
    let mut variants = vec![Variant { clip, ..plain.variant }];
    variants.push(with(Functions { f: hard, ..functions }));
    match plain.cell {
        Cell::Rnn => {
            let relu = with(Functions { f: Activation::Relu, ..functions });
            variants.extend([relu, Variant { clip, ..relu }]);
        }
        Cell::Gru(_) => variants.push(with(Functions { g: tall, ..functions })),
        Cell::Lstm => variants.extend([
            with(Functions { g: Activation::Relu, ..functions }),
            with(Functions { h: tall, ..functions }),
            Variant { coupling, ..plain.variant },
            Variant { peepholes, ..plain.variant },
            Variant { coupling, peepholes, clip, functions: Functions { f: hard, g: Activation::Softsign, h: tall } },
        ]),
    }
    variants.into_iter().map(|variant| CellBack { variant, ..plain }).collect()
}

const ONE: Sizes = Sizes { batch: 1, units: 16, features: 16, directions: 1, direction: 0, sides: 1 };

/// One unit; both directions; the second of two; many panels.
pub(super) const SIZES: [Sizes; 4] = [
    Sizes { features: 1, ..ONE },
    Sizes { batch: 7, units: 48, features: 41, directions: 2, sides: 2, ..ONE },
    Sizes { batch: 3, units: 48, features: 47, directions: 2, direction: 1, ..ONE },
    Sizes { batch: 2, units: 144, features: 144, ..ONE },
];

#[test]
fn cells_go_back_as_the_catalog_says() {
    let mut cases = 0;
    for back in cell_backs() {
        for (mask, sizes) in [Mask::All, Mask::Live].into_iter().flat_map(|mask| SIZES.map(|sizes| (mask, sizes))) {
            let case = back_case(Training::CellBack(CellBack { mask, ..back }), sizes);
            case.check(&cell_back_expected(&case));
            cases += 1;
        }
    }
    assert_eq!(cases, 4 * 2 * 4, "cells × masks × sizes");
}

#[test]
fn cells_that_depart_from_their_plain_equations_go_back_as_the_catalog_says() {
    let mut cases = 0;
    for plain in cell_backs() {
        for (back, mask) in departures(plain).into_iter().flat_map(|back| [(back, Mask::All), (back, Mask::Live)]) {
            let case = back_case(Training::CellBack(CellBack { mask, ..back }), SIZES[1]);
            let control = back_case(Training::CellBack(CellBack { mask, ..plain }), SIZES[1]);
            let far = cell_back_expected(&case)
                .iter()
                .zip(cell_back_expected(&control))
                .any(|(a, b)| (a.2 - b.2).abs() > 1e-2);
            assert!(far, "{:?} is told from the plain cell by nothing", back.variant);
            case.check(&cell_back_expected(&case));
            cases += 1;
        }
    }
    assert_eq!(cases, 2 * (4 + 3 + 7 + 7), "departures × masks");
}

#[test]
fn a_step_back_shared_by_threads_is_the_same_step() {
    let sizes = Sizes { batch: 37, units: 656, features: 650, directions: 2, sides: 2, ..ONE };
    for back in cell_backs() {
        let case = back_case(Training::CellBack(CellBack { mask: Mask::Live, ..back }), sizes);
        case.check(&cell_back_expected(&case));
    }
}
