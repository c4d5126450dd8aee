//! The backward pass of the pointwise half of a timestep.

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

/// A case of a kernel of one timestep. States are rows 0 and 1, gradients rows 2 and 3, cell states rows 5 and 6.
/// Weights begin two panels into their window. The padding and the dead rows hold values that must not be read.
pub(super) fn back_case(training: Training, s: Sizes) -> Case {
    let program = Program::Training(training);
    let (gates, width, depth) = (program.product_gates() as usize, s.directions * s.units, 5);
    let panels = s.units / LANES;
    let panel = (depth + program.rows_after_depth() as usize) * gates * LANES;
    let live = mask(4 * s.batch);
    let rows = |seed, size: f32, gates: usize| {
        let mut data: Vec<f32> = noise(seed, 5 * s.batch * s.units * gates).into_iter().map(|x| size * x).collect();
        if program.mask() == Mask::Live {
            spoil(&mut data, s.units * gates, s.batch, &live, GATES, LIVE);
        }
        Data::Floats(data)
    };
    let padded_noise = |seed, len| Data::Floats(padded_noise(seed, len, (s.units, s.features)));
    let data = |name| match name {
        "peepholes" => Data::Weights(noise(1, (2 + (s.sides - 1) * (panels + 1) + panels) * panel)),
        "gates" => rows(2, 3.0, gates),
        // Reset and update.
        "recurrent" => rows(3, 2.0, 2),
        "new_gate" => rows(4, 1.0, 1),
        "result" => rows(5, 1.0, 1),
        "live" => Data::Indices(live.clone()),
        "hidden" => padded_noise(6, 4 * s.batch * width),
        "cell_state" => padded_noise(7, 7 * s.batch * width),
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
        cell_in: 5,
        cell_out: 6,
        ..Params::default()
    };
    Case { program, params, sides: s.sides, bound }
}

/// The place of a unit: its direction in the dispatch, its row and its index among the padded units.
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

    pub(super) fn has(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound.0 == name)
    }

    /// Returns the place of gate `g` of `gates` in a row of gates.
    pub(super) fn gate_at(&self, at: At, gates: usize, g: usize) -> usize {
        let p = &self.params;
        let row = [p.gates_0, p.gates_1][at.z] as usize * p.batch as usize + at.b;
        ((row * (p.units as usize / LANES) + at.n / LANES) * gates + g) * LANES + at.n % LANES
    }

    /// Returns the place of a unit in row `row` of a state.
    pub(super) fn state_at(&self, at: At, row: u32) -> usize {
        let p = &self.params;
        let (units, d) = (p.units as usize, p.direction as usize + at.z);
        ((row * p.batch) as usize + at.b) * p.directions as usize * units + d * units + at.n
    }

    /// Returns the place of a unit in what a step hands to another.
    pub(super) fn handed_at(&self, at: At) -> usize {
        let p = &self.params;
        ((p.direction as usize + at.z) * p.batch as usize + at.b) * p.units as usize + at.n
    }

    pub(super) fn is_dead(&self, at: At) -> bool {
        let p = &self.params;
        self.has("live") && self.index("live", ([p.live_0, p.live_1][at.z] * p.batch) as usize + at.b) == 0
    }

    /// Returns the gradient of the state after the step.
    pub(super) fn dh(&self, at: At) -> f64 {
        let p = &self.params;
        let handed = |name| if self.has(name) { self.float(name, self.handed_at(at)) } else { 0.0 };
        let row = [p.target_0, p.target_1][at.z];
        let delta = if self.has("delta") { self.float("delta", self.state_at(at, row)) } else { 0.0 };
        handed("product") + handed("direct") + delta
    }

    /// Returns every unit that the dispatch reaches.
    pub(super) fn all_units(&self) -> impl Iterator<Item = At> + use<> {
        let (sides, batch, units) = (self.sides, self.params.batch as usize, self.params.units as usize);
        (0..sides).flat_map(move |z| (0..batch).flat_map(move |b| (0..units).map(move |n| At { z, b, n })))
    }
}

pub(super) type Expected = Vec<(&'static str, usize, f64)>;

/// Returns the value and the derivative of a function whose input is clipped.
pub(super) fn at(f: Activation, clip: Option<Constant>, x: f64) -> (f64, f64) {
    let most = clip.map_or(f64::INFINITY, |clip| f64::from(clip.get()));
    let inside = x.clamp(-most, most);
    (activation(f, inside), if x.abs() > most { 0.0 } else { slope(f, inside) })
}

/// The inputs of a step back for one unit: what the step kept, by gate, its states and peepholes. The last two are the
/// gradients of the hidden and the cell state after it.
pub(super) struct Known {
    pub(super) kept: Vec<f64>,
    pub(super) states: [f64; 2],
    pub(super) peepholes: [f64; 4],
    pub(super) dh: f64,
    pub(super) carried: f64,
}

/// Its results: δ by gate, and that of a GRU's recurrent new gate;
/// the gradients that bypass the products; an LSTM's output.
pub(super) struct Found {
    pub(super) delta: Vec<f64>,
    pub(super) recurrent: f64,
    pub(super) past: [f64; 2],
    pub(super) shown: f64,
}

/// Returns what the catalog says of the backward pass of a cell.
pub(super) fn found(cell: Cell, variant: Variant, known: &Known) -> Found {
    let Known { kept: a, states, peepholes, dh, carried } = known;
    let (clip, Functions { f, g, h }) = (variant.clip, variant.functions);
    match cell {
        Cell::Rnn => Found { delta: vec![dh * at(f, clip, a[0]).1], recurrent: 0.0, past: [0.0, *carried], shown: 0.0 },
        Cell::Gru(_) => {
            let (hidden, q) = (states[0], a[3]);
            let ((r, r_slope), (z, z_slope)) = (at(f, clip, a[0]), at(f, clip, a[1]));
            let (n, n_slope) = at(g, clip, a[2] + r * q);
            let d_new = dh * (1.0 - z) * n_slope;
            let delta = vec![d_new * q * r_slope, dh * (hidden - n) * z_slope, d_new];
            Found { delta, recurrent: d_new * r, past: [z * dh, *carried], shown: 0.0 }
        }
        Cell::Lstm => {
            let [old, new] = *states;
            let (i, i_slope) = at(f, clip, a[0] + peepholes[0] * old);
            let (forget, f_slope) = at(f, clip, a[1] + peepholes[1] * old);
            let (c, c_slope) = at(g, clip, a[2]);
            let (o, o_slope) = at(f, clip, a[3] + peepholes[3] * new);
            let (shown, h_slope) = at(h, None, new);
            let d_output = dh * shown * o_slope;
            let dc = carried + dh * o * h_slope + d_output * peepholes[3];
            let (d_input, d_forget, past) = match variant.coupling {
                Coupling::Apart => (dc * c * i_slope, dc * old * f_slope, dc * forget),
                Coupling::InputForget => (dc * (c - old) * i_slope, 0.0, dc * (1.0 - i)),
            };
            let past = past + d_input * peepholes[0] + d_forget * peepholes[1];
            let delta = vec![d_input, d_forget, dc * i * c_slope, d_output];
            Found { delta, recurrent: 0.0, past: [0.0, past], shown: o * shown }
        }
    }
}

/// Returns the peepholes of a unit: the row after the bias of panels of `depth`.
pub(super) fn peepholes(case: &Case, unit: At, panel: usize, depth: usize) -> [f64; 4] {
    let p = &case.params;
    let panel = p.weight_panel as usize + unit.z * p.weight_panels as usize + panel;
    let of =
        |gate: usize| case.float("peepholes", ((panel * (depth + 2) + depth + 1) * 4 + gate) * LANES + unit.n % LANES);
    if case.has("peepholes") { [0, 1, 2, 3].map(of) } else { [0.0; 4] }
}

/// Returns what the catalog says of the backward pass of a projected cell.
fn cell_back_expected(case: &Case) -> Expected {
    let Training::CellBack(back) = case.training() else { panic!("no cell") };
    let p = &case.params;
    let mut expected = Vec::new();
    for unit in case.all_units() {
        let (handed, own) = (case.handed_at(unit), |g: usize| case.gate_at(unit, 4, g));
        let known = Known {
            kept: (0..4).map(|g| case.float("gates", own(g))).collect(),
            states: [p.cell_in, p.cell_out].map(|row| case.float("cell_state", case.state_at(unit, row))),
            peepholes: peepholes(case, unit, unit.n / LANES, p.depth as usize),
            dh: case.dh(unit),
            carried: case.float("carry", handed),
        };
        let found = found(Cell::Lstm, back.variant, &known);
        let (is_true, lives) = (unit.n < p.features as usize, !case.is_dead(unit));
        let or_zero = |value: f64, is: bool| if is && is_true { value } else { 0.0 };
        expected.extend((0..4).map(|g| ("gates", own(g), or_zero(found.delta[g], lives))));
        expected.push(("carry", handed, or_zero(if lives { found.past[1] } else { known.carried }, true)));
        expected.push(("result", case.gate_at(unit, 1, 0), or_zero(found.shown, lives)));
    }
    expected
}

fn plain() -> CellBack {
    CellBack { variant: Variant::plain(Cell::Lstm), mask: Mask::All }
}

/// Returns variants of a cell: each function replaced, a clip, and an LSTM's options one by one and together.
pub(super) fn departures(cell: Cell) -> Vec<Variant> {
    let plain = Variant::plain(cell);
    let functions = plain.functions;
    let hard = Activation::HardSigmoid { alpha: Constant::new(0.3), beta: Constant::new(0.4) };
    let tall = Activation::ScaledTanh { alpha: Constant::new(1.5), beta: Constant::new(0.5) };
    let clip = Some(Constant::new(0.9));
    let (coupling, peepholes) = (Coupling::InputForget, Peepholes::Diagonal);
    let with = |functions| Variant { functions, ..plain };
    let mut variants = vec![Variant { clip, ..plain }];
    variants.push(with(Functions { f: hard, ..functions }));
    match cell {
        Cell::Rnn => {
            let relu = with(Functions { f: Activation::Relu, ..functions });
            variants.extend([relu, Variant { clip, ..relu }]);
        }
        Cell::Gru(_) => variants.push(with(Functions { g: tall, ..functions })),
        Cell::Lstm => variants.extend([
            with(Functions { g: Activation::Relu, ..functions }),
            with(Functions { h: tall, ..functions }),
            Variant { coupling, ..plain },
            Variant { peepholes, ..plain },
            Variant { coupling, peepholes, clip, functions: Functions { f: hard, g: Activation::Softsign, h: tall } },
        ]),
    }
    variants
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
fn projected_cells_go_back_as_the_catalog_says() {
    for (mask, sizes) in [Mask::All, Mask::Live].into_iter().flat_map(|mask| SIZES.map(|sizes| (mask, sizes))) {
        let case = back_case(Training::CellBack(CellBack { mask, ..plain() }), sizes);
        case.check(&cell_back_expected(&case));
    }
}

#[test]
fn projected_cells_that_depart_from_their_plain_equations_go_back_as_the_catalog_says() {
    let mut cases = 0;
    for (variant, mask) in
        departures(Cell::Lstm).into_iter().flat_map(|variant| [(variant, Mask::All), (variant, Mask::Live)])
    {
        let case = back_case(Training::CellBack(CellBack { variant, mask }), SIZES[1]);
        let control = back_case(Training::CellBack(CellBack { mask, ..plain() }), SIZES[1]);
        let far =
            cell_back_expected(&case).iter().zip(cell_back_expected(&control)).any(|(a, b)| (a.2 - b.2).abs() > 1e-2);
        assert!(far, "{variant:?} is told from the plain cell by nothing");
        case.check(&cell_back_expected(&case));
        cases += 1;
    }
    assert_eq!(cases, 2 * 7, "departures × masks");
}

#[test]
fn a_cell_back_shared_by_threads_is_the_same() {
    let sizes = Sizes { batch: 37, units: 656, features: 650, directions: 2, sides: 2, ..ONE };
    let case = back_case(Training::CellBack(CellBack { mask: Mask::Live, ..plain() }), sizes);
    case.check(&cell_back_expected(&case));
}
