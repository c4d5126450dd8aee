//! The executor around the kernels: buffers that are kept, concurrent calls, feeds that do not fit.

use super::step::{Sizes, step, step_case};
use super::*;

#[test]
fn calls_at_the_same_time_and_one_after_the_other_agree() {
    let sizes = Sizes { batch: 7, units: 48, skip: [0, 0], depth: 48, directions: 2, direction: 0, sides: 2 };
    let case = step_case(step(Cell::Lstm, StateKind::Cell), sizes);
    let (mut plan, feeds, packed) = case.plan();
    plan.reads = vec![Read { fetch: Fetch::Output, slot: 2, offset: 4 * MARGIN as u64, bytes: 4 * 96 }];
    let cpu = Cpu::new(packed).unwrap();
    let first = reads(&cpu, &plan, &feeds).unwrap();
    assert_eq!(first[0].len(), 96);
    let bits = |results: &[Vec<f32>]| results[0].iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(bits(&reads(&cpu, &plan, &feeds).unwrap()), bits(&first))));
        }
    });
}

#[test]
fn feeds_that_do_not_fit_are_errors() {
    let params = Params { rows: 1, units: 16, directions: 1, ..Params::default() };
    let bound = vec![("tokens", Data::Indices(vec![3])), ("result", Data::Floats(vec![0.0; 16]))];
    let case = Case { program: Program::OneHot, params, sides: 1, bound };
    let (plan, mut feeds, packed) = case.plan();
    let cpu = Cpu::new(packed).unwrap();
    feeds[0] = FeedData::U32(vec![3; 4]);
    let error = reads(&cpu, &plan, &feeds).unwrap_err();
    assert_eq!(error.to_string(), "features: expected 129 words, got 4");
    feeds.pop();
    let error = reads(&cpu, &plan, &feeds).unwrap_err();
    assert!(error.to_string().ends_with(": expected 2 feeds, got 1"), "{error}");
}
