//! What repeated steps make on a GPU: nothing.

use super::{begin, devices, updates, window};

/// Steps of each optimizer at a shape that was seen, waited for and submitted, and batches of the same shape.
#[test]
fn a_step_at_a_known_shape_makes_no_object() {
    for device in devices() {
        for update in updates() {
            let mut trainer = begin(update, 7, &device);
            let both = |trainer: &mut gatewave::Trainer, first: usize| {
                trainer.step(&window(first)).expect("a step");
                for batch in first + 1..first + 4 {
                    trainer.submit(&window(batch)).expect("a step");
                }
                for _ in 0..3 {
                    trainer.receive().expect("a step that waits");
                }
                trainer.gpu_objects()
            };
            let made = both(&mut trainer, 0);
            assert_eq!([both(&mut trainer, 3), both(&mut trainer, 1)], [made; 2], "{device:?}");
        }
    }
}
