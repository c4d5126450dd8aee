//! A plan bound to a device: its slots, params, bind groups and readback, made once and used call after call.
//!
//! It obeys the plan and decides nothing: the plan says what runs, in which order and on which windows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::buffers::{self, GpuSlot, Weights};
use super::clock::{self, Clock};
use super::device::Device;
use super::pipelines::{Pipeline, Pipelines, STORAGE_ALIGN};
use super::readback::{PendingReadback, Readback, Source};
use super::staging::Staging;
use super::states::States;
use super::texture::Texture;
use super::tune::SUBMIT;
use super::upload::Upload;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{EMPTY, Params};
use crate::plan::{Dispatch, HostIo, Plan, Read, Results, SlotId, SlotKind, Spent, Window};

/// What is read after a run. If states stay on the device, they are not written before it either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The plan's reads.
    Reads,
    /// The plan's reads, and the time of each program.
    Clocked,
    /// All of the slots of `traced`.
    Slots,
    /// Only the output: states stay on the device.
    Output,
}

/// The contents of slots before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// What the last run left.
    Kept,
    /// NaNs, except in what is fed.
    Poison,
}

/// A plan and its own buffers.
pub(super) struct Bound {
    pub(super) plan: Arc<Plan>,
    pub(super) want: Want,
    upload: Upload,
    slots: Vec<GpuSlot>,
    pipelines: Vec<Arc<Pipeline>>,
    groups: Vec<wgpu::BindGroup>,
    calls: Vec<Call>,
    /// The calls of each pass.
    passes: Vec<Range<usize>>,
    /// The wanted reads, then the stall flag if workgroups wait for each other, then the ticks of the clock.
    readback: Readback,
    /// The clock, if times are wanted: every pass is a lap of it.
    clock: Option<Clock>,
}

/// The input of a run, and what happens to its results.
pub(super) struct Run<'a> {
    pub(super) io: &'a mut dyn HostIo,
    /// The states that stay on the device, and the first of their rows.
    pub(super) states: Option<(&'a mut States, usize)>,
    pub(super) fill: Fill,
    pub(super) results: Results,
}

/// The staging of a run.
pub(super) struct Turn {
    /// The staging of its uploads.
    up: Staging,
    /// The staging of its results, if they are wanted.
    down: Option<Staging>,
}

/// A dispatch, as indices into the vectors of its [`Bound`].
struct Call {
    pipeline: usize,
    group: usize,
    params_offset: u32,
    grid: [u32; 3],
}

/// Returns the ids of the f32 slots that are not weights.
pub(super) fn traced(plan: &Plan) -> impl Iterator<Item = SlotId> + '_ {
    let is_traced = |kind| matches!(kind, SlotKind::Input | SlotKind::Scratch | SlotKind::Output);
    (0..plan.slots.len()).filter(move |&slot| is_traced(plan.slots[slot].kind))
}

/// Returns the reads of a plan that are wanted, in the order in which they are read.
pub(super) fn wanted(plan: &Plan, want: Want) -> impl Iterator<Item = &Read> + '_ {
    plan.reads.iter().filter(move |read| want != Want::Output || !read.fetch.is_state())
}

impl Bound {
    /// Compiles what `plan` needs, and makes its buffers.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if they do not fit the device, of kind `Weights` if the plan belongs to
    /// another model, or of kind `Device` if wgpu refuses.
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

    /// Whether this is bound to `plan`, or to an equal one, for `want`.
    pub(super) fn is_of(&self, plan: &Arc<Plan>, want: Want) -> bool {
        self.want == want && (Arc::ptr_eq(&self.plan, plan) || self.plan == *plan)
    }

    /// Makes everything of a plan that has been checked.
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
                SlotKind::TrainState(index) => weights.kept(index).expect("checked: it is kept").clone(),
                SlotKind::Texture => GpuSlot::Texture(Texture::scratch(device, &slot.name, slot.bytes)),
                SlotKind::Input | SlotKind::Index | SlotKind::Mailbox | SlotKind::Scratch | SlotKind::Output => {
                    GpuSlot::Buffer(buffers::storage(device, &slot.name, slot.bytes))
                }
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
        sources.extend(plan.mailbox().map(|mailbox| source(mailbox, 0, 4)));
        sources.extend(clock.as_ref().map(Clock::source));
        let readback = Readback::new(device, &plan.title, sources);
        let upload = Upload::new(device, plan, |write| want != Want::Output || !write.feed.is_state());
        Ok(Self { plan: plan.clone(), want, upload, slots, pipelines, groups, calls, passes, readback, clock })
    }

    /// Fills all buffers except the weights' with NaNs. The contents of a texture are in a buffer too.
    fn poison(&self, queue: &wgpu::Queue) {
        let own = self.plan.slots.iter().zip(&self.slots);
        for (_, slot) in own.filter(|(slot, _)| slot.kind.is_own() && slot.kind != SlotKind::Texture) {
            buffers::poison(queue, slot.buffer());
        }
    }

    /// Returns staging for the next run.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Upload::turn`] and [`Readback::turn`].
    pub(super) async fn turn(&mut self, device: &Device, results: Results) -> Result<Turn> {
        let down = match results {
            Results::Unwanted => None,
            Results::Wanted | Results::Deferred => Some(self.readback.turn(device).await?),
        };
        Ok(Turn { up: self.upload.turn(device).await?, down })
    }

    /// Records the uploads, all dispatches and the readback, and submits them: at once, unless the plan
    /// is very long. Returns the results to come, if they are wanted. Must be called inside a guard.
    ///
    /// # Errors
    ///
    /// Returns the errors of the run's `io`, or an error of kind `Device` if the staging is not mapped.
    pub(super) fn submit(&mut self, device: &Device, turn: Turn, run: Run<'_>) -> Result<Option<PendingReadback>> {
        let Run { io, mut states, fill, .. } = run;
        let Turn { up, down } = turn;
        if fill == Fill::Poison {
            self.poison(&device.queue);
        }
        let label = Some(self.plan.title.as_str());
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        self.upload.fill(&up, io, &self.slots, &mut encoder)?;
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

    /// Returns how many of the readback's sources are wanted reads.
    fn wanted(&self) -> usize {
        self.readback.len() - usize::from(self.clock.is_some()) - usize::from(self.plan.mailbox().is_some())
    }

    /// Returns whether workgroups stalled, once everything is mapped.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the answer is not mapped.
    pub(super) fn has_stalled(&self, pending: &PendingReadback) -> Result<bool> {
        match self.plan.mailbox() {
            Some(_) => pending.read(self.wanted(), |first: &[u32]| first != [EMPTY]),
            None => Ok(false),
        }
    }

    /// Hands the wanted reads to `take`, first to last, once everything
    /// is mapped. Returns the time of each program if there is a clock.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if something is not mapped, or if the clock is useless.
    pub(super) fn read(
        &self,
        pending: &PendingReadback,
        queue: &wgpu::Queue,
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<Spent> {
        (0..self.wanted()).try_for_each(|index| pending.read(index, |data| take(index, data)))?;
        let period = queue.get_timestamp_period();
        match &self.clock {
            Some(clock) => pending.read(self.readback.len() - 1, |ticks| clock.spent(ticks, period))?,
            None => Ok(Spent::new()),
        }
    }

    /// Returns the size of its buffers, without weights.
    pub(super) fn bytes(&self) -> u64 {
        let slots = self.plan.bytes(SlotKind::is_own);
        slots + self.upload.bytes() + self.readback.bytes()
    }
}

/// Checks that the plan's buffers fit the device, and that its weights are the loaded ones.
fn check(device: &Device, weights: &Weights, plan: &Plan, stride: u64) -> Result<()> {
    for slot in &plan.slots {
        match slot.kind {
            SlotKind::TrainState(index) if weights.kept(index).map_or(0, GpuSlot::bytes) < slot.bytes => {
                let text = format!("slot `{}`: expected {} bytes that are kept, got fewer", slot.name, slot.bytes);
                return Err(Error::internal(text).at(&plan.title));
            }
            SlotKind::TrainState(_) => {}
            SlotKind::Weights(index) => {
                let held = weights.get(index).map_or(0, GpuSlot::bytes);
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

/// Makes the buffer of the params of all dispatches, `stride` bytes apart.
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

/// Makes the bind group of a dispatch: `params`, then its windows in the declaration's order.
fn group(
    device: &Device,
    plan: &Plan,
    step: &Dispatch,
    pipeline: &Pipeline,
    params: &wgpu::Buffer,
    slots: &[GpuSlot],
) -> wgpu::BindGroup {
    let program = &plan.programs[step.program];
    let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: params,
        offset: 0,
        size: wgpu::BufferSize::new(size_of::<Params>() as u64),
    });
    let windows = step.windows.iter().map(|window| match &slots[window.slot] {
        GpuSlot::Buffer(buffer) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset: window.offset,
            size: wgpu::BufferSize::new(window.bytes.next_multiple_of(STORAGE_ALIGN)),
        }),
        GpuSlot::Texture(texture) => wgpu::BindingResource::TextureView(&texture.view),
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
    use crate::plan::{Feed, FeedData, Fetch, ListedIo, Shape, Slot, Write};

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
        let mut io = ListedIo::of(&plan, &feeds).unwrap();
        pollster::block_on(gpu.run(loaded, &plan, &mut io)).unwrap();
    }

    /// Returns every object of a bound plan that a call uses.
    fn objects(
        bound: &Bound,
    ) -> (Vec<wgpu::Buffer>, Vec<wgpu::BindGroup>, Vec<wgpu::ComputePipeline>, Vec<wgpu::Buffer>) {
        let pipelines = bound.pipelines.iter().map(|pipeline| pipeline.pipeline.clone()).collect();
        (
            bound.slots.iter().map(|slot| slot.buffer().clone()).collect(),
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
