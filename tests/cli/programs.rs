//! `gatewave plan --wgsl N`: the program of one dispatch, as it is compiled.

use super::*;

/// A stack whose plan is one product, and then a step a timestep.
const STACK: [&str; 13] = [
    "plan",
    "--cell",
    "lstm",
    "--input-size",
    "8",
    "--hidden-size",
    "16",
    "--batch",
    "2",
    "--steps",
    "3",
    "--strategy",
    "step",
];

fn program(index: &str) -> String {
    gatewave([&STACK[..], &["--wgsl", index]].concat()).done()
}

#[test]
fn the_program_of_a_dispatch_is_printed_with_its_overrides_on_top() {
    let (product, step) = (program("0"), program("1"));
    for (text, kernel, part) in [(&product, "gemm", "kernel/gemm.wgsl"), (&step, "step", "kernel/step.wgsl")] {
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("// dispatch ") && first.contains(&format!(": {kernel} lstm")), "{first}");
        let overrides: Vec<_> = lines.by_ref().take_while(|line| line.starts_with("// override ")).collect();
        // A product may be of panels with peepholes, and added to what is there.
        assert_eq!(overrides.len(), if kernel == "gemm" { 4 } else { 2 }, "{overrides:?}");
        assert!(overrides[0].starts_with("// override PANELS = "), "{overrides:?}");
        assert!(overrides[1].starts_with("// override SLICES = "), "{overrides:?}");
        assert!(text.contains(&format!("\n// part: {part}\n")), "{text}");
        assert!(text.contains(&format!("fn {kernel}(")), "{text}");
    }
    assert_eq!(step.replacen("dispatch 1", "dispatch 2", 1), program("2"), "the steps are one program");
}
