//! The gradient of a matrix: gates of every cell, padded rows
//! and units, few rows and many, on one thread and on several.

use super::*;
use crate::kernel::{Loads, Medium, Outer, Training};

/// The sizes of a case.
struct Sizes {
    rows: usize,
    /// Parts of the depth, elements of each, and how many of them are true.
    source: [usize; 3],
    panels: usize,
    /// True units.
    count: usize,
    gates: u32,
    after: u32,
    /// Whether each gate has its own elements of the source.
    per_gate: bool,
}

fn outer_case(sizes: &Sizes, (first, loads, medium): (bool, Loads, Medium)) -> Case {
    let n = |n: usize| u32::try_from(n).unwrap();
    let Sizes { rows, source: [parts, units, features], panels, count, gates, after, per_gate } = *sizes;
    let copies = if per_gate { gates as usize } else { 1 };
    let depth = parts * units;
    let width = gates as usize * LANES;
    let source_units = depth + 32;
    let params = Params {
        rows: n(rows),
        depth: n(depth),
        units: n(panels * width),
        panels: n(panels),
        weight_panel: 2,
        source_0: 3,
        target_0: 1,
        source_units: n(source_units),
        source_offset: 16,
        source_directions: n(parts),
        features: n(features),
        count: n(count),
        ..Params::default()
    };
    // Sums of about 1, whose errors stay within the tolerance of every kernel.
    let small = |x: f32| 4.0 * x / (rows + 4) as f32;
    let result = (panels + 3) * (depth + after as usize) * width;
    let bound = vec![
        ("source", Data::Floats(noise(5, (rows + 4) * source_units * copies))),
        ("delta", Data::Floats(noise(6, (rows + 2) * panels * width).into_iter().map(small).collect())),
        ("result", Data::Floats(noise(7, result))),
    ];
    Case {
        program: Program::Training(Training::Outer(Outer { gates, after, first, per_gate, loads, medium })),
        params,
        sides: 1,
        bound,
    }
}

fn outer_expected(case: &Case) -> Vec<(&'static str, usize, f64)> {
    let p = &case.params;
    let Program::Training(Training::Outer(outer)) = case.program else { unreachable!() };
    let (depth, columns) = (p.depth as usize, p.units as usize);
    let gates = outer.gates as usize;
    let part = depth / p.source_directions as usize;
    let mut expected = Vec::new();
    for i in 0..p.panels as usize {
        for k in 0..=depth {
            for (g, u) in (0..gates).flat_map(|g| (0..LANES).map(move |u| (g, u))) {
                let row = (p.weight_panel as usize + i) * (depth + outer.after as usize) + k;
                let place = (row * gates + g) * LANES + u;
                let is_padding = k < depth && k % part >= p.features as usize || i * LANES + u >= p.count as usize;
                let product = |m: usize| {
                    let (row, k_in) = (p.source_0 as usize + m, p.source_offset as usize + k);
                    let source = match outer.per_gate {
                        false => row * p.source_units as usize + k_in,
                        true => {
                            (row * p.source_units as usize / LANES + k_in / LANES) * gates * LANES
                                + g * LANES
                                + k_in % LANES
                        }
                    };
                    let delta = (p.target_0 as usize + m) * columns + (i * gates + g) * LANES + u;
                    (if k == depth { 1.0 } else { case.float("source", source) }) * case.float("delta", delta)
                };
                let before = if outer.first { 0.0 } else { case.float("result", place) };
                let sum = before + (0..p.rows as usize).map(product).sum::<f64>();
                expected.push(("result", place, if is_padding { 0.0 } else { sum }));
            }
        }
    }
    expected
}

#[test]
fn outer_does_what_the_catalog_says() {
    for (rows, source, panels, count, gates, after) in [
        (1, [1, 16, 16], 1, 16, 1, 1),
        (5, [1, 16, 3], 1, 7, 4, 2),
        (7, [2, 16, 11], 3, 40, 3, 1),
        (70, [2, 32, 32], 5, 80, 1, 1),
        (300, [1, 48, 41], 4, 63, 2, 1),
        (513, [1, 16, 1], 9, 144, 1, 1),
        (0, [1, 16, 5], 2, 30, 4, 2),
    ] {
        for (first, per_gate, loads, medium) in [
            (true, false, Loads::Lane, Medium::Buffer),
            (false, false, Loads::Lane, Medium::Texture),
            (true, false, Loads::Subgroup, Medium::Buffer),
            (false, false, Loads::Subgroup, Medium::Texture),
            (true, true, Loads::Lane, Medium::Texture),
            (false, true, Loads::Lane, Medium::Buffer),
        ] {
            let sizes = Sizes { rows, source, panels, count, gates, after, per_gate };
            let case = outer_case(&sizes, (first, loads, medium));
            case.check(&outer_expected(&case));
        }
    }
}

#[test]
fn a_gradient_shared_by_threads_is_the_same_gradient() {
    // By panels, and by rows of one panel and of three.
    for (source, panels, gates) in [([1, 64, 61], 16, 4), ([1, 512, 500], 1, 4), ([2, 256, 250], 3, 1)] {
        for (first, per_gate) in [(true, false), (false, false), (true, true), (false, true)] {
            let sizes = Sizes { rows: 400, source, panels, count: panels * LANES, gates, after: 2, per_gate };
            let case = outer_case(&sizes, (first, Loads::Lane, Medium::Buffer));
            case.check(&outer_expected(&case));
            let bits = |threads: usize| {
                let (plan, feeds, packed) = case.plan();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let cpu = Cpu::new(packed).unwrap();
                let traced = pool.install(|| cpu.trace(&plan, &mut ListedIo::of(&plan, &feeds).unwrap()).unwrap());
                traced.into_iter().flat_map(|(_, floats)| floats.into_iter().map(f32::to_bits)).collect::<Vec<_>>()
            };
            let one = bits(1);
            for threads in [2, 3, 7] {
                assert_eq!(one, bits(threads), "{threads} threads");
            }
        }
    }
}
