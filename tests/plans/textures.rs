//! Textures in training: which data is read from them, and that it is the latest.

use gatewave::inspect::kernel::{Access, RowLoss};
use gatewave::inspect::plan::lower::lower_gradients;
use gatewave::inspect::plan::{Gradients, LossTerm};

use super::*;

/// The plan of the weights' gradients of a call, for the sum of the squares of the output.
fn gradients(model: &Model, (time, batch): (usize, usize), target: Target) -> Plan {
    let layout = Layout::for_training(model).expect("the model is right");
    let losses = vec![LossTerm { output: 0, logits: false, loss: RowLoss::SumOfSquares }];
    let wanted = Gradients { losses, weights: true, ..Gradients::default() };
    // Chunks of four steps.
    let tuning = Tuning::of(target).with_chunk_bytes(Some(1));
    let limits = Limits { subgroup_lanes: 8, ..Limits::WEBGPU };
    let plan = lower_gradients(model, &layout, Shape::new(time, batch, Mask::All), &limits, &tuning, &wanted)
        .expect("it fits");
    check(&plan, &limits).expect("it holds");
    plan
}

/// Models of every cell: two layers, two directions, a linear layer after them.
fn models() -> Vec<Model> {
    let cells = [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)];
    let of = |cell| {
        let stack = Recurrent::new(cell, 24, 64).num_layers(2).bidirectional();
        Model::new().layer(stack).layer(Linear::new(128, 20))
    };
    cells.map(of).into()
}

fn is_product(kernel: Kernel) -> bool {
    kernel.is_product() || kernel == Kernel::Outer
}

#[test]
fn products_of_training_read_textures_on_a_software_gpu_alone() {
    for model in models() {
        let plan = gradients(&model, (9, 3), Target::Software);
        for program in plan.programs.iter().filter(|program| is_product(program.kernel())) {
            let textures = program.bindings().filter(|binding| binding.access == Access::Texture).count();
            let expected = if program.kernel() == Kernel::Outer { 2 } else { 1 };
            assert_eq!(textures, expected, "{program}");
        }
        for target in [Target::Gpu, Target::Host] {
            let plan = gradients(&model, (9, 3), target);
            assert!(plan.slots.iter().all(|slot| slot.kind != SlotKind::Texture), "{target:?}");
        }
    }
}

#[test]
fn a_texture_has_what_was_written_last() {
    for model in models() {
        let plan = gradients(&model, (9, 3), Target::Software);
        // How often each slot was written and, for a texture, what it copied and when.
        let mut writes = vec![0_usize; plan.slots.len()];
        let mut copies: Vec<Option<(usize, usize)>> = vec![None; plan.slots.len()];
        let (mut read, mut copied) = (0, 0);
        for step in &plan.steps {
            let program = &plan.programs[step.program];
            for (binding, window) in program.bindings().skip(1).zip(&step.windows) {
                match binding.access {
                    Access::Texture => {
                        let (source, when) = copies[window.slot].expect("it has something");
                        assert_eq!(writes[source], when, "{}: {program}", plan.slots[source].name);
                        read += 1;
                    }
                    Access::WriteTexture => {
                        let source = step.windows[0].slot;
                        copies[window.slot] = Some((source, writes[source]));
                        copied += 1;
                    }
                    Access::ReadWrite => writes[window.slot] += 1,
                    Access::Read | Access::Uniform | Access::IntegerTexture => {}
                }
            }
        }
        assert!(copied > 10 && read > copied, "{copied} copies are read {read} times");
    }
}
