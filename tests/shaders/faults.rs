//! Tries the checks of programs on texts with planted faults: what each must find, and where.

use super::*;

/// A fault to plant in the linked text of a program: the text to replace, its replacement, and what the check must say.
type Fault = (&'static str, &'static str, &'static str);

/// Checks that `check` finds each of `faults`, planted in `program`, and nothing without them.
#[track_caller]
fn finds_planted(program: Program, faults: &[Fault], check: impl Fn(&Program, &Linked) -> Vec<String>) {
    let text = link::source(&program);
    let findings = |text: String| check(&program, &Linked::parse(text).expect("a planted fault is still WGSL"));
    assert_eq!(findings(text.clone()), [""; 0]);
    for (right, wrong, expected) in faults {
        assert!(text.contains(right), "nothing to replace: {right}");
        let found = findings(text.replace(right, wrong)).join("; ");
        assert!(found.contains(expected), "{right} replaced by {wrong}: expected {expected:?}, got {found:?}");
    }
}

/// An LSTM's step with slices: it has every kind of part.
fn lstm_step() -> Program {
    let wanted = |p: &Program| {
        p.kernel() == Kernel::Step
            && p.cell().is_some_and(|(cell, _)| cell == Cell::Lstm)
            && p.tile().is_some_and(|tile| tile.slices > 1)
    };
    link::programs().into_iter().find(wanted).expect("a step with slices ships")
}

#[test]
fn an_error_names_file_and_line() {
    let right = "    return hidden[at];";
    let (_, step) = link::PARTS.iter().find(|(path, _)| *path == "source/state.wgsl").unwrap();
    let line = 1 + step.lines().position(|line| line == right).expect("a line to spoil");
    for (wrong, line) in [("    return hidden[at]", line + 1), ("    return 1u;", line)] {
        let text = link::source(&lstm_step()).replace(right, wrong);
        let error = Linked::parse(text).map(|_| ()).expect_err(wrong);
        assert!(error.starts_with(&format!("shaders/source/state.wgsl:{line}: ")), "{error}");
    }
}

#[test]
fn planted_faults_of_bindings_are_found() {
    let faults = [
        ("@binding(2)", "@binding(7)", "(0, 7, \"tokens\", Read)"),
        ("@group(0) @binding(3)", "@group(1) @binding(3)", "(1, 3, \"result\", ReadWrite)"),
        ("result", "outcome", "(0, 3, \"outcome\", ReadWrite)"),
        ("read> tokens", "read_write> tokens", "(0, 2, \"tokens\", ReadWrite)"),
    ];
    finds_planted(Program::Gather(Precision::F32), &faults, bindings_differ);
    let faults = [
        ("tokens[of_direction(group.z, params.source_0, params.source_1) + row]", "row", "tokens is (read, written)"),
        ("result[at] =", "let unwritten =", "result is written"),
    ];
    finds_planted(Program::Gather(Precision::F32), &faults, uses_differ);
}

#[test]
fn planted_faults_of_params_are_found() {
    let faults = [
        ("cell_in: u32", "cell_before: u32", "members of Params"),
        ("cell_in: u32,", "@size(8) cell_in: u32,", "size of Params"),
        ("features: u32", "features: f32", "every member is u32"),
    ];
    finds_planted(Program::FinalState, &faults, |_, linked| params_differ(linked));
}

#[test]
fn planted_faults_of_overrides_and_sizes_are_found() {
    finds_planted(lstm_step(), &[("PANELS", "COLUMNS", "overrides")], overrides_differ);
    let wanted = |p: &Program| {
        p.kernel() == Kernel::Step && p.cell().is_some_and(|(cell, _)| cell == Cell::Lstm) && !p.is_plain()
    };
    let general = link::programs().into_iter().find(wanted).expect("a general step ships");
    finds_planted(general, &[("override CLIP: f32", "const CLIP: f32", "overrides")], overrides_differ);
    let faults = [
        ("@workgroup_size(4u", "@workgroup_size(8u", "workgroup size"),
        ("SLICES * TERMS>", "SLICES * TERMS * 2u>", "workgroup bytes"),
        ("SLICES * TERMS>", "SLICES * TERMS * 99u>", "at most 16 KiB"),
        ("@workgroup_size(4u", "@workgroup_size(999u", "1 to 256 invocations"),
    ];
    finds_planted(lstm_step(), &faults, sizes_differ);
}

#[test]
fn planted_faults_of_gates_are_found() {
    let faults = [("GATE_INPUT: u32 = 0u", "GATE_INPUT: u32 = 1u", "GATE_INPUT: expected Some(0), got Some(1)")];
    finds_planted(lstm_step(), &faults, gates_differ);
    // If the product is not of all gates, another number of gates is still valid WGSL.
    let reset = link::programs().into_iter().find(|program| program.kernel() == Kernel::StepReset).expect("it ships");
    let faults = [
        ("const GATES: u32 = 3u", "const GATES: u32 = 5u", "GATES: expected Some(3), got Some(5)"),
        ("const STATES: u32 = 1u", "const STATES: u32 = 2u", "STATES: expected Some(1), got Some(2)"),
    ];
    finds_planted(reset, &faults, gates_differ);
    let matrix = Matrix::buffer(Precision::F32);
    let activation = Activation::Linear;
    let gemm = |cell: Cell| {
        let gates = u32::try_from(cell.gates()).expect("few gates");
        Program::Gemm(Gemm {
            cell: Some(cell),
            gates,
            after: 1,
            activation,
            matrix,
            tile: Tile::NONE,
            add: false,
            per_gate: false,
        })
    };
    let other = Linked::of(&gemm(Cell::Gru(Reset::After))).expect("it ships");
    assert_eq!(gates_differ(&gemm(Cell::Lstm), &other), ["PRODUCT_GATES: expected Some(4), got Some(3)"]);
}
