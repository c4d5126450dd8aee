//! A plan bound to a device: its slots, params, bind groups and readback, made once and used call after call.
//!
//! Obeys the plan to the letter and decides nothing: what runs, in which order and on which windows stands there.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::buffers::{self, Held, Weights};
use super::clock::{self, Clock};
use super::device::Device;
use super::info::Wait;
use super::pipelines::{Pipeline, Pipelines, STORAGE_ALIGN};
use super::readback::{Landing, Readback, Source};
use super::staging::Staging;
use super::states::States;
use super::tune::SUBMIT;
use super::upload::Upload;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{EMPTY, Params};
use crate::plan::{Caller, Dispatch, Plan, Read, Results, SlotId, SlotKind, Spent, Window};

/// What is read after a run. Where states stay on the device, they are not written before it either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The plan's reads.
    Reads,
    /// The same, and what each program took.
    Clocked,
    /// The slots of `traced`, in full.
    Slots,
    /// The output alone: states stay on the device.
    Output,
}

/// What slots hold before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// What the last run left.
    Kept,
    /// NaNs, but for what is fed.
    Poison,
}

/// A plan and its own buffers.
pub(super) struct Bound {
    pub(super) plan: Arc<Plan>,
    pub(super) want: Want,
    upload: Upload,
    slots: Vec<Held>,
    pipelines: Vec<Arc<Pipeline>>,
    groups: Vec<wgpu::BindGroup>,
    calls: Vec<Call>,
    /// The calls of each pass.
    passes: Vec<Range<usize>>,
    /// What is wanted, then whether workgroups waited in vain, where they wait for each other, and the ticks of the clock.
    readback: Readback,
    /// Where it is asked for: every pass is a lap of it.
    clock: Option<Clock>,
}

/// What a run is given, and what becomes of it.
pub(super) struct Run<'a> {
    pub(super) caller: &'a mut dyn Caller,
    /// Where states stay on the device: these, rows from here on.
    pub(super) states: Option<(&'a mut States, usize)>,
    pub(super) fill: Fill,
    pub(super) results: Results,
}

/// The staging of a run.
pub(super) struct Turn {
    /// Of what it uploads.
    up: Staging,
    /// Of its results, where they are wanted.
    down: Option<Staging>,
}

/// One dispatch, with indices into the vectors of its [`Bound`].
struct Call {
    pipeline: usize,
    group: usize,
    params_offset: u32,
    grid: [u32; 3],
}

/// The ids of the f32 slots that are not weights.
pub(super) fn traced(plan: &Plan) -> impl Iterator<Item = SlotId> + '_ {
    let is_traced = |kind| matches!(kind, SlotKind::Input | SlotKind::Scratch | SlotKind::Output);
    (0..plan.slots.len()).filter(move |&slot| is_traced(plan.slots[slot].kind))
}

/// The reads of a plan that are wanted, in the order in which they are read.
pub(super) fn wanted(plan: &Plan, want: Want) -> impl Iterator<Item = &Read> + '_ {
    plan.reads.iter().filter(move |read| want != Want::Output || !read.fetch.is_state())
}

impl Bound {
    /// Compiles what `plan` needs and makes its buffers.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where they do not fit the device; `Weights`, where the plan is another model's; `Device`,
    /// where wgpu refuses.
    pub(super) async fn new(
        device: &Device,
        pipelines: &Pipelines,
        weights: &Weights,
        plan: &Arc<Plan>,
        want: Want,
    ) -> Result<Self> {
        let compiled = pipelines.all(device, &plan.programs).await?;
        let stride = (size_of::<Params>() as u64).next_multiple_of(device.uniform_align);
        check(device, weights, plan, stride)?;
        device.guard(&plan.title, || Self::make(device, compiled, weights, plan, stride, want)).await?
    }

    /// Whether it is that of `plan`, or of an equal one, for `want`.
    pub(super) fn is_of(&self, plan: &Arc<Plan>, want: Want) -> bool {
        self.want == want && (Arc::ptr_eq(&self.plan, plan) || self.plan == *plan)
    }

    /// Makes everything of a plan that was checked.
    fn make(
        device: &Device,
        pipelines: Vec<Arc<Pipeline>>,
        weights: &Weights,
        plan: &Arc<Plan>,
        stride: u64,
        want: Want,
    ) -> Result<Self> {
        let slots: Vec<_> = plan
            .slots
            .iter()
            .map(|slot| match slot.kind {
                SlotKind::Weights(index) => weights.get(index).expect("checked: the weights are there").clone(),
                SlotKind::Kept(index) => weights.kept(index).expect("checked: it is kept").clone(),
                _ => Held::Buffer(buffers::storage(device, &slot.name, slot.bytes)),
            })
            .collect();
        let params = params(device, plan, stride);
        let mut known: HashMap<(usize, &[Window]), usize> = HashMap::new();
        let mut groups = Vec::new();
        let mut calls = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let group = *known.entry((step.program, &step.windows)).or_insert_with(|| {
                groups.push(group(device, plan, step, &pipelines[step.program], &params, &slots));
                groups.len() - 1
            });
            let params_offset =
                u32::try_from(step.params as u64 * stride).expect("checked: all params lie below 4 GiB");
            calls.push(Call { pipeline: step.program, group, params_offset, grid: step.grid });
        }
        let laps = if want == Want::Clocked { clock::laps(&plan.steps, SUBMIT) } else { Vec::new() };
        let clock = (want == Want::Clocked).then(|| Clock::new(device, &laps)).transpose()?;
        let pieces = (0..calls.len()).step_by(SUBMIT).map(|first| first..calls.len().min(first + SUBMIT));
        let passes = if clock.is_some() { laps.into_iter().map(|lap| lap.calls).collect() } else { pieces.collect() };
        let source = |slot: SlotId, offset, bytes| Source { buffer: slots[slot].buffer().clone(), offset, bytes };
        let mut sources: Vec<_> = match want {
            Want::Reads | Want::Clocked | Want::Output => {
                wanted(plan, want).map(|read| source(read.slot, read.offset, read.bytes)).collect()
            }
            Want::Slots => traced(plan).map(|slot| source(slot, 0, plan.slots[slot].bytes)).collect(),
        };
        sources.extend(plan.exchange().map(|exchange| source(exchange, 0, 4)));
        sources.extend(clock.as_ref().map(Clock::source));
        let readback = Readback::new(device, &plan.title, sources);
        let upload = Upload::new(device, plan, |write| want != Want::Output || !write.feed.is_state());
        Ok(Self { plan: plan.clone(), want, upload, slots, pipelines, groups, calls, passes, readback, clock })
    }

    /// Fills all slots but the weights with NaNs.
    fn poison(&self, queue: &wgpu::Queue) {
        let own = self.plan.slots.iter().zip(&self.slots);
        for (_, held) in own.filter(|(slot, _)| slot.kind.is_own()) {
            buffers::poison(queue, held.buffer());
        }
    }

    /// Staging for the next run.
    ///
    /// # Errors
    ///
    /// As [`Upload::turn`] and [`Readback::turn`].
    pub(super) async fn turn(&mut self, device: &Device, results: Results, wait: Wait) -> Result<Turn> {
        let down = match results {
            Results::Unwanted => None,
            Results::Wanted | Results::Later => Some(self.readback.turn(device).await?),
        };
        Ok(Turn { up: self.upload.turn(device, wait).await?, down })
    }

    /// Records the uploads, all dispatches and the readback, and submits them: at once, but for very long plans. What lands
    /// later is the results, where they are wanted. To be called inside a guard.
    ///
    /// # Errors
    ///
    /// Those of the run's caller; kind `Device`, where the staging is not mapped.
    pub(super) fn submit(&mut self, device: &Device, turn: Turn, run: Run<'_>) -> Result<Option<Landing>> {
        let Run { caller, mut states, fill, .. } = run;
        let Turn { up, down } = turn;
        if fill == Fill::Poison {
            self.poison(&device.queue);
        }
        let label = Some(self.plan.title.as_str());
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        self.upload.fill(&up, caller, &self.slots, &mut encoder)?;
        if let Some((states, first)) = &mut states {
            states.load(&self.plan, *first, &self.slots, &mut encoder);
        }
        let mut recorded = 0;
        for (index, pass) in self.passes.iter().enumerate() {
            if recorded + pass.len() > SUBMIT {
                let next = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
                device.queue.submit([std::mem::replace(&mut encoder, next).finish()]);
                recorded = 0;
            }
            self.record(&mut encoder, index);
            recorded += pass.len();
        }
        if let Some((states, first)) = &states {
            states.store(&self.plan, *first, &self.slots, &mut encoder);
        }
        if let Some(clock) = &self.clock {
            clock.resolve(&mut encoder);
        }
        if let Some(down) = &down {
            self.readback.copy(down, &mut encoder);
        }
        let submission = device.queue.submit([encoder.finish()]);
        self.upload.sent(up, submission.clone());
        Ok(down.map(|down| self.readback.sent(down, submission)))
    }

    /// Records pass `index`.
    fn record(&self, encoder: &mut wgpu::CommandEncoder, index: usize) {
        let timestamp_writes = self.clock.as_ref().map(|clock| clock.writes(index));
        let descriptor = wgpu::ComputePassDescriptor { label: Some(&self.plan.title), timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        let mut set = None;
        for call in &self.calls[self.passes[index].clone()] {
            if set != Some(call.pipeline) {
                pass.set_pipeline(&self.pipelines[call.pipeline].pipeline);
                set = Some(call.pipeline);
            }
            pass.set_bind_group(0, &self.groups[call.group], &[call.params_offset]);
            let [x, y, z] = call.grid;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// How many of the sources of the readback are wanted.
    fn wanted(&self) -> usize {
        self.readback.len() - usize::from(self.clock.is_some()) - usize::from(self.plan.exchange().is_some())
    }

    /// Whether workgroups waited for each other in vain, once all has landed.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where the answer is not mapped.
    pub(super) fn has_stalled(&self, landing: &Landing) -> Result<bool> {
        match self.plan.exchange() {
            Some(_) => landing.read(self.wanted(), |first: &[u32]| first != [EMPTY]),
            None => Ok(false),
        }
    }

    /// Hands what is wanted to `take`, first to last, once all has landed: what each program took, where there is a clock.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where something is not mapped, or the clock is no use.
    pub(super) fn read(
        &self,
        landing: &Landing,
        queue: &wgpu::Queue,
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<Spent> {
        (0..self.wanted()).try_for_each(|index| landing.read(index, |data| take(index, data)))?;
        let period = queue.get_timestamp_period();
        match &self.clock {
            Some(clock) => landing.read(self.readback.len() - 1, |ticks| clock.spent(ticks, period))?,
            None => Ok(Spent::new()),
        }
    }

    /// The size of its buffers, weights aside.
    pub(super) fn bytes(&self) -> u64 {
        let slots = self.plan.bytes(SlotKind::is_own);
        slots + self.upload.bytes() + self.readback.bytes()
    }
}

/// Whether the plan's buffers fit the device and its weights are the loaded ones.
fn check(device: &Device, weights: &Weights, plan: &Plan, stride: u64) -> Result<()> {
    for slot in &plan.slots {
        match slot.kind {
            SlotKind::Kept(index) if weights.kept(index).map_or(0, Held::bytes) < slot.bytes => {
                let text = format!("slot `{}`: expected {} bytes that are kept, got fewer", slot.name, slot.bytes);
                return Err(Error::internal(text).at(&plan.title));
            }
            SlotKind::Kept(_) => {}
            SlotKind::Weights(index) => {
                let held = weights.get(index).map_or(0, Held::bytes);
                if held < slot.bytes {
                    return Err(Error::new(
                        ErrorKind::Weights,
                        format!(
                            "{}: slot `{}`: expected {} bytes of weights, got {held}; is the plan another model's?",
                            plan.title, slot.name, slot.bytes
                        ),
                    ));
                }
            }
            _ => device.fits(&slot.name, slot.bytes).map_err(|error| error.at(&plan.title))?,
        }
    }
    let bytes = plan.params.len() as u64 * stride;
    if bytes > u64::from(u32::MAX) {
        let most = u64::from(u32::MAX) / stride;
        return Err(Error::new(
            ErrorKind::Limits,
            format!(
                "{}: {} params, but dynamic offsets reach {most}; call with fewer timesteps",
                plan.title,
                plan.params.len()
            ),
        ));
    }
    device.fits("params", bytes)
}

/// The params of all dispatches, `stride` bytes apart.
fn params(device: &Device, plan: &Plan, stride: u64) -> wgpu::Buffer {
    let stride = usize::try_from(stride).expect("a few hundred bytes");
    let mut bytes = vec![0; (plan.params.len() * stride).max(stride)];
    for (chunk, params) in bytes.chunks_exact_mut(stride).zip(&plan.params) {
        chunk[..size_of::<Params>()].copy_from_slice(bytemuck::bytes_of(params));
    }
    let buffer = device.buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    device.queue.write_buffer(&buffer, 0, &bytes);
    buffer
}

/// The bind group of a dispatch: `params`, then its windows in the declaration's order.
fn group(
    device: &Device,
    plan: &Plan,
    step: &Dispatch,
    pipeline: &Pipeline,
    params: &wgpu::Buffer,
    slots: &[Held],
) -> wgpu::BindGroup {
    let program = &plan.programs[step.program];
    let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: params,
        offset: 0,
        size: wgpu::BufferSize::new(size_of::<Params>() as u64),
    });
    let windows = step.windows.iter().map(|window| match &slots[window.slot] {
        Held::Buffer(buffer) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset: window.offset,
            size: wgpu::BufferSize::new(window.bytes.next_multiple_of(STORAGE_ALIGN)),
        }),
        Held::Matrix(texture) => wgpu::BindingResource::TextureView(&texture.view),
    });
    let entries: Vec<_> = program
        .bindings()
        .zip(std::iter::once(params).chain(windows))
        .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding.index, resource })
        .collect();
    device.bind_group(&wgpu::BindGroupDescriptor {
        label: Some(program.kernel().name()),
        layout: &pipeline.layout,
        entries: &entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Activation;
    use crate::gpu::{Choice, Gpu, Loaded};
    use crate::kernel::{Mask, Program};
    use crate::plan::{Feed, FeedData, Fetch, Listed, Shape, Slot, Write};

    const BYTES: u64 = 4 * 16;

    /// `output = input` in one dispatch.
    fn plan() -> Arc<Plan> {
        let slot = |name: &str, kind| Slot { name: name.to_owned(), dims: vec![1, 1, 16], bytes: BYTES, kind };
        let windows = [0, 1].map(|slot| Window { slot, offset: 0, bytes: BYTES });
        Arc::new(Plan {
            title: "copy".to_owned(),
            shape: Shape::new(1, 1, Mask::All),
            slots: vec![slot("input", SlotKind::Input), slot("output", SlotKind::Output)],
            programs: vec![Program::Activate(Activation::Linear)],
            params: vec![Params { rows: 1, directions: 1, units: 16, ..Params::default() }],
            writes: vec![Write { feed: Feed::Features, slot: 0, offset: 0, bytes: BYTES }],
            steps: vec![Dispatch { program: 0, params: 0, grid: [1, 1, 1], windows: windows.into() }],
            reads: vec![Read { fetch: Fetch::Output, slot: 1, offset: 0, bytes: BYTES }],
        })
    }

    fn open() -> (Gpu, Loaded) {
        pollster::block_on(async {
            let gpu = Gpu::open(Choice::Noop).await.unwrap().expect("wgpu always has its validator");
            let loaded = Loaded::default();
            (gpu, loaded)
        })
    }

    fn run(gpu: &Gpu, loaded: &Loaded) {
        let (plan, feeds) = (plan(), [FeedData::F32(vec![0.5; 16])]);
        let mut caller = Listed::of(&plan, &feeds).unwrap();
        pollster::block_on(gpu.run(loaded, &plan, &mut caller, Wait::Here)).unwrap();
    }

    /// Every object of a bound plan that a call uses.
    fn objects(
        bound: &Bound,
    ) -> (Vec<wgpu::Buffer>, Vec<wgpu::BindGroup>, Vec<wgpu::ComputePipeline>, Vec<wgpu::Buffer>) {
        let pipelines = bound.pipelines.iter().map(|pipeline| pipeline.pipeline.clone()).collect();
        (
            bound.slots.iter().map(|held| held.buffer().clone()).collect(),
            bound.groups.clone(),
            pipelines,
            bound.readback.staging(),
        )
    }

    #[test]
    fn a_repeated_call_makes_no_object_anew() {
        let (gpu, loaded) = open();
        let mut seen = Vec::new();
        for _ in 0..3 {
            // An equal plan is as good as the same one.
            run(&gpu, &loaded);
            let bound = loaded.take(&plan(), Want::Reads).expect("the plan is at rest");
            assert!(loaded.take(&plan(), Want::Reads).is_none(), "a second set of buffers was made");
            seen.push((objects(&bound), gpu.objects()));
            loaded.put(bound);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn calls_at_once_have_buffers_of_their_own() {
        let (gpu, loaded) = open();
        let run = || run(&gpu, &loaded);
        run();
        let first = loaded.take(&plan(), Want::Reads).expect("the plan is at rest");
        run();
        let second = loaded.take(&plan(), Want::Reads).expect("the second call made its own");
        let (a, b) = (objects(&first), objects(&second));
        assert!(a.0.iter().all(|buffer| !b.0.contains(buffer)) && a.3.iter().all(|buffer| !b.3.contains(buffer)));
        assert!(a.2 == b.2, "pipelines are shared");
    }
}
