//! The backward pass of many timesteps in one dispatch: each is
//! the step back of the catalog, from what the one before left.

use super::back::Expected;
use super::step_back::{CELLS, SIZES, Sizes, case_of, expected, step_back};
use super::*;
use crate::cell::Peepholes;
use crate::kernel::{StepBack, Training};

const STEPS: u32 = 3;

/// A case of a scan back. As in a layer, the directions go opposite ways
/// through time. The second one goes through its outputs against time.
fn scan_of(back: StepBack, sizes: Sizes) -> Case {
    let panels = u32::try_from(sizes.units / LANES).unwrap();
    let back = StepBack { tile: Tile { panels, ..back.tile }, ..back };
    let Case { params, sides, bound, .. } = case_of(back, sizes);
    let params = Params {
        steps: STEPS,
        gates_0: 7,
        gates_1: 2,
        target_0: 2,
        target_1: 4,
        time_step_0: u32::MAX,
        time_step_1: 1,
        hidden_step_0: u32::MAX,
        hidden_step_1: u32::MAX,
        ..params
    };
    Case { program: Program::Training(Training::ScanBack(back)), params, sides, bound }
}

/// Returns what its steps give, one after the other.
#[allow(clippy::cast_possible_truncation, reason = "what the next step reads is f32")]
fn of_steps(scan: &Case) -> Expected {
    let Training::ScanBack(back) = scan.training() else { panic!("no scan back") };
    let program = Program::Training(Training::StepBack(back));
    let mut case = Case { program, params: scan.params, sides: scan.sides, bound: scan.bound.clone() };
    let mut all = Expected::new();
    for _ in 0..STEPS {
        let of_one = expected(&case);
        for &(name, at, value) in &of_one {
            let (_, data) = case.bound.iter_mut().find(|bound| bound.0 == name).unwrap();
            let Data::Floats(data) = data else { panic!("{name} holds no floats") };
            data[at] = value as f32;
        }
        all.extend(of_one);
        let p = &mut case.params;
        [p.source_0, p.source_1] = [p.gates_0, p.gates_1];
        for (first, second) in [
            (&mut p.gates_0, &mut p.gates_1),
            (&mut p.target_0, &mut p.target_1),
            (&mut p.live_0, &mut p.live_1),
            (&mut p.kept_0, &mut p.kept_1),
        ] {
            *first = first.wrapping_add(p.time_step_0);
            *second = second.wrapping_add(p.time_step_1);
        }
        for row in [&mut p.before_0, &mut p.before_1, &mut p.cell_in, &mut p.cell_out] {
            *row -= 1;
        }
    }
    all
}

/// Returns the sizes with all panels computed.
fn whole() -> impl Iterator<Item = Sizes> {
    SIZES.into_iter().filter(|sizes| sizes.skip == [0, 0])
}

#[test]
fn scans_go_back_as_their_steps_do() {
    for cell in CELLS {
        for (mask, sizes) in [Mask::All, Mask::Live].into_iter().flat_map(|mask| whole().map(move |s| (mask, s))) {
            let case = scan_of(StepBack { mask, ..step_back(cell) }, sizes);
            case.check(&of_steps(&case));
        }
    }
}

#[test]
fn a_scan_back_holds_its_weights_where_they_are_few() {
    for cell in CELLS {
        // All rows of the depth that an invocation multiplies: its share of the slices.
        let held = u32::try_from(16 * cell.gates() / 2).unwrap();
        if !Tile::HELD.contains(&held) {
            continue;
        }
        let back = step_back(cell);
        let case = scan_of(StepBack { tile: Tile { held, ..back.tile }, ..back }, SIZES[0]);
        case.check(&of_steps(&case));
    }
}

#[test]
fn a_scan_back_knows_peepholes() {
    let variant = Variant { peepholes: Peepholes::Diagonal, ..Variant::plain(Cell::Lstm) };
    let case = scan_of(StepBack { variant, mask: Mask::Live, ..step_back(Cell::Lstm) }, SIZES[1]);
    case.check(&of_steps(&case));
}
