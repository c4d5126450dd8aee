//! The input product: gates of every cell, activations, few rows and many.

use super::*;

/// A product of `rows` rows, for both directions.
fn project_case(cell: Option<Cell>, f: Activation, storage: Precision, [rows, depth, panels]: [usize; 3]) -> Case {
    project_part(cell, f, storage, [rows, depth, panels], [depth, 0])
}

/// A product with rows of the source that have more elements than it takes: their number, and the first that is taken.
fn project_part(
    cell: Option<Cell>,
    f: Activation,
    storage: Precision,
    [rows, depth, panels]: [usize; 3],
    [source_units, source_offset]: [usize; 2],
) -> Case {
    let gates = cell.map_or(1, Cell::gates);
    let (all, n) = (panels + 2, |n: usize| u32::try_from(n).unwrap());
    let units = all * gates * LANES;
    let weights = (1 + 2 * (panels + 1)) * (depth + 1) * gates * LANES;
    let params = Params {
        rows: n(rows),
        batch: 1,
        directions: 2,
        depth: n(depth),
        units: n(units),
        panel: 1,
        panels: n(panels),
        weight_panel: 1,
        weight_panels: n(panels + 1),
        source_units: n(source_units),
        source_offset: n(source_offset),
        source_0: 1,
        source_1: 2,
        target_0: n(rows + 1),
        target_1: 0,
        ..Params::default()
    };
    let small = |x: f32| x / (depth as f32).sqrt();
    let bound = vec![
        ("weights", Data::Weights(noise(5, weights).into_iter().map(small).collect())),
        ("source", Data::Floats(noise(6, (rows + 3) * source_units))),
        ("result", Data::Floats(noise(7, (2 * rows + 2) * units))),
    ];
    let matrix = Matrix::buffer(storage);
    let gates = cell.map_or(1, |cell| n(cell.gates()));
    let tile = Tile::NONE;
    let product = Gemm { cell, gates, after: 1, activation: f, matrix, tile, add: false, per_gate: false };
    Case { program: Program::Gemm(product), params, sides: 2, bound }
}

/// A product in which each gate multiplies its own elements.
fn gemm_per_gate(cell: Cell, sizes: [usize; 3]) -> Case {
    let mut case = project_part(Some(cell), Activation::Linear, Precision::F32, sizes, [sizes[1] + 48, 32]);
    if let Program::Gemm(product) = &mut case.program {
        product.per_gate = true;
    }
    let len = (sizes[0] + 3) * (sizes[1] + 48) * cell.gates();
    case.bound[1] = ("source", Data::Floats(noise(6, len)));
    case
}

fn project_expected(case: &Case) -> Vec<(&'static str, usize, f64)> {
    let p = &case.params;
    let gates = case.program.product_gates() as usize;
    let mut expected = Vec::new();
    for (z, (source, target)) in [(p.source_0, p.target_0), (p.source_1, p.target_1)].into_iter().enumerate() {
        for m in 0..p.rows as usize {
            for (i, g, u) in
                (0..p.panels as usize).flat_map(|i| (0..gates).flat_map(move |g| (0..LANES).map(move |u| (i, g, u))))
            {
                let panel = p.weight_panel as usize + p.weight_panels as usize * z + i;
                let (row, first) = ((source as usize + m) * p.source_units as usize, p.source_offset as usize);
                let element = |k: usize| match case.program.is_per_gate() {
                    false => row + k,
                    true => row * gates + (k / LANES * gates + g) * LANES + k % LANES,
                };
                let sum = product(case, gates, [panel, g, u], |k| case.float("source", element(first + k)));
                let column = ((p.panel as usize + i) * gates + g) * LANES + u;
                let place = (target as usize + m) * p.units as usize + column;
                let before = if is_added(case) { case.float("result", place) } else { 0.0 };
                expected.push(("result", place, before + activation(case.program.activation(), sum)));
            }
        }
    }
    expected
}

fn is_added(case: &Case) -> bool {
    matches!(case.program, Program::Gemm(Gemm { add: true, .. }))
}

#[test]
fn project_takes_a_part_of_each_row_of_its_source() {
    for sizes in [[1, 16, 1], [7, 32, 3], [331, 128, 5], [3, 512, 80]] {
        let case = project_part(None, Activation::Linear, Precision::F32, sizes, [sizes[1] + 48, 32]);
        case.check(&project_expected(&case));
    }
}

#[test]
fn each_gate_multiplies_elements_of_its_own() {
    for sizes in [[1, 16, 1], [2, 48, 5], [3, 16, 9], [4, 32, 2], [5, 64, 3], [331, 128, 5], [3, 512, 80]] {
        for cell in Cell::ALL {
            let case = gemm_per_gate(cell, sizes);
            case.check(&project_expected(&case));
        }
    }
}

#[test]
fn project_adds_to_its_target() {
    for sizes in [[1, 16, 1], [2, 48, 5], [7, 32, 3], [331, 128, 5], [3, 512, 80]] {
        for (cell, f) in [(None, Activation::Linear), (Some(Cell::Lstm), Activation::Linear), (None, Activation::Tanh)]
        {
            let mut case = project_part(cell, f, Precision::F32, sizes, [sizes[1] + 16, 16]);
            if let Program::Gemm(product) = &mut case.program {
                product.add = true;
            }
            case.check(&project_expected(&case));
        }
    }
}

#[test]
fn project_does_what_the_catalog_says() {
    let cells = [None, Some(Cell::Lstm), Some(Cell::Gru(Reset::After)), Some(Cell::Rnn)];
    let mut activations = Activation::ALL.into_iter().filter(|f| f.is_elementwise() && f.is_total()).cycle();
    for sizes in [[1, 16, 1], [1, 32, 11], [2, 48, 5], [3, 16, 9], [7, 32, 3], [100, 16, 2]] {
        for cell in cells {
            for storage in [Precision::F32, Precision::F16] {
                let f = activations.next().expect("they begin again");
                let case = project_case(cell, f, storage, sizes);
                case.check(&project_expected(&case));
            }
        }
    }
}

#[test]
fn a_product_shared_by_threads_is_the_same_product() {
    for sizes in [[331, 128, 5], [3, 512, 80], [1, 512, 100]] {
        let case = project_case(None, Activation::Linear, Precision::F32, sizes);
        case.check(&project_expected(&case));
    }
}
