//! Each kernel against its description in `kernel::catalog`, restated naively in
//! f64. Cases have odd sizes, both directions, masks, windows that start inside
//! a slot, dispatches that compute a part of the panels, and both storages.

mod across;
mod attention;
mod back;
mod convolve;
mod derivative;
#[cfg(feature = "gpu")]
mod device;
mod drop;
mod executor;
mod gemm;
mod halves;
mod join;
mod loss;
mod math;
mod normalize;
mod outer;
mod rows;
mod rows_back;
mod sample;
mod scan_back;
mod spread;
mod step;
mod step_back;
mod sums;
mod team;
mod transposed;
mod update;
mod windows;

use super::*;
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::kernel::{CELL_UNPROJECTED, LANES, Mask, SCRATCH_RESET, SCRATCH_UPDATE, StateKind};
use crate::kernel::{Gemm, Half, Kernel, Matrix, Params, Program, Step, StepProject, Tile};
use crate::pack::PackedBuffer;
use crate::plan::{Feed, FeedData, Fetch, ListedIo, Read, Shape, Slot, SlotKind, Window, Write};
use crate::precision::Precision;
use math::activation;

/// The contents of a binding.
#[derive(Clone)]
enum Data {
    Weights(Vec<f32>),
    Floats(Vec<f32>),
    Indices(Vec<u32>),
}

/// One dispatch of a kernel.
struct Case {
    program: Program,
    params: Params,
    sides: usize,
    bound: Vec<(&'static str, Data)>,
}

/// Returns the widest instruction set of this machine, and narrower ones: each has its own blocks of a product.
fn instruction_sets() -> Vec<Arch> {
    let mut sets = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    sets.extend(pulp::x86::V3::try_new().map(Arch::V3));
    sets
}

/// Returns what `plan` reads.
fn reads(cpu: &Cpu, plan: &Plan, feeds: &[FeedData]) -> Result<Vec<Vec<f32>>> {
    let mut io = ListedIo::of(plan, feeds)?;
    cpu.run(plan, &mut io)?;
    Ok(io.reads)
}

/// Floats before and after each window: they must neither be read nor written.
const MARGIN: usize = 64;

/// Returns numbers in −1 … 1 that are the same every time.
fn noise(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

/// Returns a mask of `rows` rows: each third has no step.
fn mask(rows: usize) -> Vec<u32> {
    (0..rows).map(|row| u32::from(row % 3 != 1)).collect()
}

/// Fills with NaN what must not be read: `width` numbers for each dead row of the mask `live`. There
/// are `batch` rows from row `rows[z] · batch` on, and their mask begins at row `dead[z] · batch`.
fn spoil(data: &mut [f32], width: usize, batch: usize, live: &[u32], rows: [usize; 2], dead: [usize; 2]) {
    for (z, b) in (0..2).flat_map(|z| (0..batch).map(move |b| (z, b))) {
        if live[dead[z] * batch + b] == 0 {
            data[(rows[z] * batch + b) * width..][..width].fill(f32::NAN);
        }
    }
}

/// Returns noise that is large in the padding of rows of `units`, with
/// `features` true ones. A unit counts as padding within its own direction.
fn padded_noise(seed: u32, len: usize, (units, features): (usize, usize)) -> Vec<f32> {
    let mut data = noise(seed, len);
    for (i, x) in data.iter_mut().enumerate().filter(|(i, _)| i % units >= features) {
        *x *= 1e3 * (1.0 + i as f32 % 5.0);
    }
    data
}

fn padded_by_margins<T: Copy>(data: &[T], margin: T) -> Vec<T> {
    [&[margin; MARGIN], data, &[margin; MARGIN]].concat()
}

impl Case {
    /// Returns how its weights are stored, if it has any.
    fn storage(&self) -> Precision {
        self.program.storage().unwrap_or(Precision::F32)
    }

    fn get(&self, name: &str) -> &Data {
        &self.bound.iter().find(|bound| bound.0 == name).unwrap().1
    }

    fn float(&self, name: &str, index: usize) -> f64 {
        match self.get(name) {
            Data::Weights(data) if self.storage() == Precision::F16 => half::f16::from_f32(data[index]).to_f64(),
            Data::Weights(data) | Data::Floats(data) => f64::from(data[index]),
            Data::Indices(_) => panic!("{name} holds indices"),
        }
    }

    fn index(&self, name: &str, index: usize) -> usize {
        let Data::Indices(data) = self.get(name) else { panic!("{name} holds floats") };
        data[index] as usize
    }

    /// Returns the plan of only this dispatch, with its feeds and its weights.
    fn plan(&self) -> (Plan, Vec<FeedData>, Packed) {
        let (mut slots, mut windows, mut writes, mut feeds, mut buffers) = (vec![], vec![], vec![], vec![], vec![]);
        for (slot, (name, data)) in self.bound.iter().enumerate() {
            let (kind, len) = match data {
                Data::Weights(data) => {
                    let data = padded_by_margins(data, f32::NAN);
                    let halves = || data.iter().map(|&x| half::f16::from_f32(x)).collect();
                    buffers.push(match self.storage() {
                        Precision::F32 => PackedBuffer::of(&data),
                        Precision::F16 => PackedBuffer::F16(halves()),
                        Precision::I8 => unreachable!("a case has its weights in floats"),
                    });
                    (SlotKind::Weights(buffers.len() - 1), data.len())
                }
                Data::Floats(data) => {
                    feeds.push(FeedData::F32(padded_by_margins(data, f32::NAN)));
                    (SlotKind::Scratch, data.len() + 2 * MARGIN)
                }
                Data::Indices(data) => {
                    feeds.push(FeedData::U32(padded_by_margins(data, u32::MAX)));
                    (SlotKind::Index, data.len() + 2 * MARGIN)
                }
            };
            let elem = if matches!(data, Data::Weights(_)) { self.storage().bytes() } else { 4 };
            let bytes = elem * len as u64;
            slots.push(Slot { name: (*name).into(), dims: vec![len], bytes, kind });
            windows.push(Window { slot, offset: elem * MARGIN as u64, bytes: bytes - 2 * elem * MARGIN as u64 });
            if !matches!(kind, SlotKind::Weights(_)) {
                writes.push(Write { feed: Feed::Features, slot, offset: 0, bytes });
            }
        }
        let plan = Plan {
            title: self.program.kernel().name().into(),
            shape: Shape::new(1, self.params.batch as usize, self.program.mask()),
            slots,
            programs: vec![self.program],
            params: vec![self.params],
            writes,
            steps: vec![Dispatch { program: 0, params: 0, grid: [1, 1, u32::try_from(self.sides).unwrap()], windows }],
            reads: vec![],
        };
        (plan, feeds, Packed { storage: self.storage(), buffers })
    }

    /// Whether all first rows except those of zero differ: a kernel that confuses them must then give other numbers.
    fn has_rows_apart(&self) -> bool {
        let p = &self.params;
        let second = if self.sides == 2 { 0 } else { p.source_1 };
        let first = vec![p.source_0, second, p.target_0, p.gates_0, p.live_0, p.cell_in, p.cell_out];
        let rows_of = [first, vec![p.source_1, p.target_1, p.gates_1, p.live_1, p.cell_in, p.cell_out]];
        rows_of.into_iter().take(self.sides).all(|mut rows| {
            rows.retain(|&row| row != 0);
            rows.sort_unstable();
            rows.windows(2).all(|pair| pair[0] != pair[1])
        })
    }

    /// Runs the case, and compares every float of every slot with
    /// `expected`: (binding, index, value) of all that it writes.
    fn check(&self, expected: &[(&str, usize, f64)]) {
        assert!(!expected.is_empty(), "the case expects nothing");
        assert!(self.program.training().is_none() || self.has_rows_apart(), "{:?}: {:?}", self.program, self.params);
        let (plan, feeds, packed) = self.plan();
        let mut cpu = Cpu::new(packed).unwrap();
        for arch in instruction_sets() {
            cpu.arch = arch;
            let traced = cpu.trace(&plan, &mut ListedIo::of(&plan, &feeds).unwrap()).unwrap();
            self.compare(&plan, expected, traced, 2e-6);
        }
        #[cfg(feature = "gpu")]
        self.check_on_device(expected);
    }

    fn compare(&self, plan: &Plan, expected: &[(&str, usize, f64)], traced: Vec<(SlotId, Vec<f32>)>, most: f64) {
        for (slot, got) in traced {
            let name = &plan.slots[slot].name;
            let Data::Floats(before) = self.get(name) else { panic!("{name} holds no floats") };
            let mut want: Vec<f64> = before.iter().copied().map(f64::from).collect();
            expected.iter().filter(|e| e.0 == name).for_each(|e| want[e.1] = e.2);
            let want = padded_by_margins(&want, f64::NAN);
            for (i, (&got, want)) in got.iter().zip(want).enumerate() {
                let close = (f64::from(got) - want).abs() <= most + most * want.abs();
                let same = close || got.is_nan() && want.is_nan() || f64::from(got) == want;
                let at = i as isize - MARGIN as isize;
                assert!(same, "{:?}: {name}[{at}]: got {got}, expected {want}", self.program);
            }
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns a weight of a panel: row k, gate g, unit u.
fn weight(case: &Case, gates: usize, [panel, k, g, u]: [usize; 4]) -> f64 {
    let rows = (case.params.depth + case.program.rows_after_depth()) as usize;
    case.float("weights", ((panel * rows + k) * gates + g) * LANES + u)
}

/// `Σ_k source(k) · weights[panel][k][g][u] + weights[panel][depth][g][u]`.
fn product(case: &Case, gates: usize, at: [usize; 3], source: impl Fn(usize) -> f64) -> f64 {
    let [panel, g, u] = at;
    let depth = case.params.depth as usize;
    let weight = |k| weight(case, gates, [panel, k, g, u]);
    (0..depth).map(|k| source(k) * weight(k)).sum::<f64>() + weight(depth)
}
