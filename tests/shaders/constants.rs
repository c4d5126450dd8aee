//! Constants that both WGSL and Rust have: codes, rows of a cell state, words of a draw.

use std::cell::RefCell;

use gatewave::inspect::kernel::{self, Combine, Draw, JoinOp, NO_TOKEN, Norm, PoolOp, RowLoss};
use gatewave::layer::Constant;

use super::*;

#[test]
fn functions_and_combinations_have_the_same_codes_in_wgsl_and_rust() {
    let functions = Activation::ALL.map(|function| ("FUNCTION", function.name().to_uppercase(), function.code()));
    let combinations = [Combine::Sum, Combine::Average, Combine::Product]
        .map(|combine| ("COMBINE", format!("{combine:?}").to_uppercase(), combine as u32));
    let joins = JoinOp::ALL.map(|join| ("JOIN", format!("{join:?}").to_uppercase(), join as u32));
    let norms = Norm::ALL.map(|norm| ("NORM", norm.name().to_uppercase(), norm as u32));
    let pools = PoolOp::ALL.map(|op| ("POOL", format!("{op:?}").to_uppercase(), op as u32));
    let none = Constant::new(0.0);
    let losses = [
        ("CROSS_ENTROPY", RowLoss::CrossEntropy { smoothing: none, weighted: false }),
        ("BINARY_CROSS_ENTROPY", RowLoss::BinaryCrossEntropy { smoothing: none }),
        ("SQUARED", RowLoss::Squared),
        ("ABSOLUTE", RowLoss::Absolute),
        ("HUBER", RowLoss::Huber { delta: none }),
        ("SUM_OF_SQUARES", RowLoss::SumOfSquares),
    ]
    .map(|(name, loss)| ("LOSS", name.to_owned(), loss.code()));
    let seen = RefCell::new(BTreeSet::new());
    for_every_program(|_, linked| {
        let codes = functions.iter().chain(&combinations).chain(&joins).chain(&norms).chain(&pools).chain(&losses);
        let differ = codes.filter_map(|(kind, name, code)| {
            let name = format!("{kind}_{name}");
            let wgsl = linked.constant(&name)?;
            seen.borrow_mut().insert(name.clone());
            differ(&name, &(*code as usize), &wgsl)
        });
        differ.collect()
    });
    let codes = functions.len() + combinations.len() + joins.len() + norms.len() + pools.len() + losses.len();
    assert_eq!(seen.into_inner().len(), codes, "codes that no file declares");
}

#[test]
fn rows_of_cell_states_and_scratch_are_the_same_in_wgsl_and_rust() {
    let rust = [
        ("CELL_UNPROJECTED", kernel::CELL_UNPROJECTED),
        ("SCRATCH_RESET", kernel::SCRATCH_RESET),
        ("SCRATCH_UPDATE", kernel::SCRATCH_UPDATE),
    ];
    let seen = RefCell::new(BTreeSet::new());
    for_every_program(|_, linked| {
        rust.iter()
            .filter_map(|&(name, row)| {
                let wgsl = linked.constant(name)?;
                seen.borrow_mut().insert(name);
                differ(name, &row, &wgsl)
            })
            .collect()
    });
    assert_eq!(seen.into_inner().len(), rust.len(), "constants that no file declares");
}

#[test]
fn the_words_of_a_draw_are_the_same_in_wgsl_and_rust() {
    let linked = Linked::of(&Program::Sample).expect("it links");
    let rust = [
        ("SEED_LOW", offset_of!(Draw, seed_low)),
        ("SEED_HIGH", offset_of!(Draw, seed_high)),
        ("POSITION", offset_of!(Draw, position)),
        ("TEMPERATURE", offset_of!(Draw, temperature)),
        ("TOP_K", offset_of!(Draw, top_k)),
        ("DRAW_WORDS", size_of::<Draw>()),
    ];
    for (name, bytes) in rust {
        assert_eq!(linked.constant(name), Some(bytes / 4), "{name}");
    }
    assert_eq!(linked.constant("NO_TOKEN"), Some(NO_TOKEN as usize));
}

#[test]
fn the_role_of_rows_that_are_left_alone_is_the_same_in_wgsl_and_rust() {
    let of_roles = |p: &&Program| matches!(p.kernel(), Kernel::Squares | Kernel::Update);
    let programs = link::programs();
    let mut seen = 0;
    for program in programs.iter().filter(of_roles) {
        assert_eq!(Linked::of(program).expect("it links").constant("NO_ROLE"), Some(kernel::NO_ROLE as usize));
        seen += 1;
    }
    assert!(seen > 10, "only {seen} programs seen");
}

#[test]
fn what_a_mailbox_is_reset_to_and_how_long_is_waited_for_it_are_the_same_in_wgsl_and_rust() {
    let mut seen = 0;
    for program in link::programs().iter().filter(|p| matches!(p.kernel(), Kernel::Persistent | Kernel::ResetMailbox)) {
        let linked = Linked::of(program).expect("it links");
        assert_eq!(linked.constant("EMPTY"), Some(kernel::EMPTY as usize));
        if program.kernel() == Kernel::Persistent {
            assert_eq!(linked.constant("SPIN_LIMIT"), Some(kernel::SPIN_LIMIT as usize));
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} programs seen");
}
