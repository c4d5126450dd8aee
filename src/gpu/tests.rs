//! Tests of the executor with wgpu's validator, which needs no adapter. `tests/gpu.rs`
//! has those that compute. The plans are written here, and have one kernel.

use super::*;
use crate::cell::Activation;
use crate::error::{Error, ErrorKind};
use crate::kernel::{Mask, Params, Program, link};
use crate::plan::{Dispatch, Feed, FeedData, Fetch, ListedIo, Read, Shape, Slot, SlotKind, Window, Write};
use crate::platform::block_on;

const ROWS: u32 = 4;
const UNITS: u32 = 16;
const ELEMS: usize = (ROWS * UNITS) as usize;
const BYTES: u64 = 4 * ELEMS as u64;

/// Returns a plan of `output = relu(… relu(input))` in `count` dispatches, through two scratch slots.
fn chain(count: usize) -> Plan {
    let slot = |name: &str, kind| Slot {
        name: name.to_owned(),
        dims: vec![ROWS as usize, UNITS as usize],
        bytes: BYTES,
        kind,
    };
    let window = |slot| Window { slot, offset: 0, bytes: BYTES };
    let step = |index: usize| {
        let source = if index == 0 { 0 } else { 1 + (index - 1) % 2 };
        let result = if index == count - 1 { 3 } else { 1 + index % 2 };
        Dispatch { program: 0, params: 0, grid: [1, ROWS, 1], windows: vec![window(source), window(result)] }
    };
    Plan {
        title: format!("chain of {count}"),
        shape: Shape::new(1, ROWS as usize, Mask::All),
        slots: vec![
            slot("input", SlotKind::Input),
            slot("scratch.0", SlotKind::Scratch),
            slot("scratch.1", SlotKind::Scratch),
            slot("output", SlotKind::Output),
        ],
        programs: vec![Program::Activate(Activation::Relu)],
        params: vec![Params { rows: ROWS, directions: 1, units: UNITS, ..Params::default() }],
        writes: vec![Write { feed: Feed::Features, slot: 0, offset: 0, bytes: BYTES }],
        steps: (0..count).map(step).collect(),
        reads: vec![Read { fetch: Fetch::Output, slot: 3, offset: 0, bytes: BYTES }],
    }
}

fn ramp() -> Vec<f32> {
    (0..ELEMS).map(|i| i as f32 - 20.0).collect()
}

fn feeds() -> Vec<FeedData> {
    vec![FeedData::F32(ramp())]
}

fn open(choice: Choice) -> (Gpu, Loaded) {
    pollster::block_on(async {
        let gpu = Gpu::open(choice).await.unwrap().expect("it was named");
        (gpu, Loaded::default())
    })
}

/// Returns what the plan reads, and where the time went.
fn run(gpu: &Gpu, loaded: &Loaded, plan: &Arc<Plan>) -> Result<(Vec<Vec<f32>>, Timings)> {
    let feeds = feeds();
    let mut io = ListedIo::of(plan, &feeds)?;
    let timings = block_on(gpu.run(loaded, plan, &mut io))?;
    Ok((io.reads, timings))
}

fn noop_error(plan: Plan) -> Error {
    let (gpu, loaded) = open(Choice::Noop);
    run(&gpu, &loaded, &Arc::new(plan)).unwrap_err()
}

#[test]
fn the_validator_takes_a_plan_and_its_reads_have_their_sizes() {
    let (gpu, loaded) = open(Choice::Noop);
    let plan = Arc::new(chain(3));
    let (reads, _) = run(&gpu, &loaded, &plan).unwrap();
    assert_eq!(reads.iter().map(Vec::len).collect::<Vec<_>>(), [ELEMS]);
    // If the calling thread may not block, a separate thread waits.
    let feeds = feeds();
    let mut io = ListedIo::of(&plan, &feeds).unwrap();
    pollster::block_on(gpu.run(&loaded, &plan, &mut io)).unwrap();
    assert_eq!(io.reads.iter().map(Vec::len).collect::<Vec<_>>(), [ELEMS]);
}

#[test]
fn programs_are_clocked_where_that_is_asked_for_and_there_is_a_clock() {
    let (gpu, loaded) = open(Choice::Noop);
    let (plan, feeds) = (Arc::new(chain(3)), feeds());
    let mut io = ListedIo::of(&plan, &feeds).unwrap();
    let spent = pollster::block_on(gpu.run_clocked(&loaded, &plan, &mut io));
    if gpu.info().timestamps {
        assert!(spent.unwrap().into_keys().eq([vec![0]]));
    } else {
        let error = spent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.to_string().contains("expected timestamp queries, got a device without a clock"), "{error}");
    }
}

#[test]
fn the_validator_takes_every_program_with_its_declared_bindings() {
    let (gpu, _) = open(Choice::Noop);
    let programs = link::programs();
    assert!(!programs.is_empty());
    let compiled = pollster::block_on(gpu.pipelines.all(&gpu.device, &programs)).map_err(|error| error.to_string());
    assert_eq!(compiled.map(|all| all.len()), Ok(programs.len()));
}

#[test]
fn a_run_can_move_between_threads() {
    fn sends<T: Send>(_: &T) {}
    let (gpu, loaded) = open(Choice::Noop);
    let plan = Arc::new(chain(1));
    let feeds = feeds();
    let mut io = ListedIo::of(&plan, &feeds).unwrap();
    sends(&gpu.run(&loaded, &plan, &mut io));
    sends(&gpu.trace(&loaded, &plan, &mut io));
}

#[test]
fn a_window_past_its_slot_is_an_error_and_not_a_buffer_of_zeros() {
    let mut plan = chain(1);
    plan.steps[0].windows[1].bytes = 2 * BYTES;
    let error = noop_error(plan);
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("chain of 1"), "{error}");
}

#[test]
fn a_grid_past_the_limit_is_an_error_of_the_submit() {
    let mut plan = chain(1);
    plan.steps[0].grid[0] = 70_000;
    let error = noop_error(plan);
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("70000"), "{error}");
}

#[test]
fn a_slot_past_the_largest_buffer_is_an_error_of_limits() {
    let mut plan = chain(1);
    plan.slots[1].bytes = 1 << 30;
    let error = noop_error(plan);
    assert_eq!(error.kind(), ErrorKind::Limits);
    let text = error.to_string();
    assert!(text.ends_with("buffer `scratch.0`: 1073741824 bytes, but the device's largest has 268435456"), "{text}");
}

#[test]
fn a_plan_of_other_weights_is_refused() {
    let mut plan = chain(1);
    plan.slots[1].kind = SlotKind::Weights(7);
    let error = noop_error(plan);
    assert_eq!(error.kind(), ErrorKind::Weights);
    assert_eq!(
        error.to_string(),
        "chain of 1: slot `scratch.0`: expected 256 bytes of weights, got 0; is the plan another model's?"
    );
}

#[test]
fn feeds_must_be_those_of_the_plan() {
    let (gpu, loaded) = open(Choice::Noop);
    let plan = Arc::new(chain(1));
    let error = ListedIo::of(&plan, &[]).err().expect("a feed is missing");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Shape, "chain of 1: expected 1 feeds, got 0".to_owned()));
    let feeds = [FeedData::U32(vec![0])];
    let mut io = ListedIo::of(&plan, &feeds).unwrap();
    let error = pollster::block_on(gpu.run(&loaded, &plan, &mut io)).unwrap_err();
    let text = "features: expected 64 words, got 1".to_owned();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Shape, text));
}

#[test]
fn plans_at_rest_keep_their_buffers() {
    let (gpu, loaded) = open(Choice::Noop);
    (1..6).for_each(|count| drop(run(&gpu, &loaded, &Arc::new(chain(count))).unwrap()));
    let equal = Arc::new(chain(1));
    let bound = loaded.take(&equal, Want::Reads).expect("an equal plan ran");
    assert!(loaded.take(&equal, Want::Reads).is_none(), "what runs is not at rest");
    loaded.put(bound);
    assert!(loaded.take(&equal, Want::Output).is_none(), "what reads something else is something else");
}

#[test]
fn a_lost_device_is_an_error_of_every_later_call() {
    let (gpu, loaded) = open(Choice::Noop);
    let plan = Arc::new(chain(2));
    run(&gpu, &loaded, &plan).unwrap();
    gpu.lose();
    for _ in 0..2 {
        let error = run(&gpu, &loaded, &plan).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert!(error.to_string().ends_with("; make a new engine and call again"), "{error}");
    }
    assert_eq!(run(&gpu, &loaded, &plan).unwrap_err().kind(), ErrorKind::Lost);
    let feeds = feeds();
    let mut io = ListedIo::of(&plan, &feeds).unwrap();
    assert_eq!(pollster::block_on(gpu.trace(&loaded, &plan, &mut io)).unwrap_err().kind(), ErrorKind::Lost);
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_lists_what_there_is() {
    let error = pollster::block_on(Gpu::open(Choice::Named("no such adapter".to_owned()))).err().expect("none matches");
    assert_eq!(error.kind(), ErrorKind::Device);
    let text = error.to_string();
    assert!(text.starts_with("device `no such adapter`: no adapter has this in its name; there is "), "{text}");
    for adapter in adapters() {
        assert!(text.contains(&adapter.to_string()), "{text}");
    }
}
