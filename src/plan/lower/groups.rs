//! Which operations run together, chunk by chunk of time, and which consumers each result has.

use std::ops::Range;

use super::CHUNK_ALIGN;
use super::ops::{Axis, Begin, Op, OpKind, Ops, Source};
use crate::model::State;
use crate::plan::tune::Tuning;
use crate::plan::{Limits, Shape};

/// Returns the operations that run together, chunk by chunk: neighbours that go forward and have equally many steps.
/// Any other operation runs alone. An operation that begins with a final state runs after the group that ends in it.
/// So does one that takes what all steps come to.
pub(super) fn groups(ops: &[Op], shape: Shape) -> Vec<Range<usize>> {
    let steps = |op: &Op| (op.along() != Axis::Rows, op.along().time(shape));
    let mut groups = Vec::new();
    let mut first = 0;
    while first < ops.len() {
        let joins = |(index, op): &(usize, &Op)| {
            let waits = || op.begins_in(first..*index) || op.takes_a_pool(ops, first..*index);
            op.streams() && steps(op) == steps(&ops[first]) && (*index == first || !waits())
        };
        let count = ops.iter().enumerate().skip(first).take_while(joins).count().max(1);
        groups.push(first..first + count);
        first += count;
    }
    groups
}

/// A user of an operation's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// An operation takes the result.
    Op(usize),
    /// An operation takes a final state of it.
    Final(State),
    /// The host reads it.
    Host,
}

/// Returns the users of each operation.
pub(super) fn users(all: &Ops) -> Vec<Vec<User>> {
    let mut users = vec![Vec::new(); all.ops.len()];
    for (index, op) in all.ops.iter().enumerate() {
        for source in &op.from {
            if let Source::Op(source) = *source {
                let state = if let OpKind::Final(state) = op.kind { Some(state) } else { None };
                users[source].push(state.map_or(User::Op(index), User::Final));
            }
        }
        for begin in op.begins() {
            match begin {
                Begin::Row(Source::Op(source)) => users[source].push(User::Op(index)),
                Begin::Final(source, state) => users[source].push(User::Final(state)),
                Begin::Row(Source::Input(_)) => {}
            }
        }
    }
    for output in &all.outputs {
        if let Source::Op(source) = *output {
            users[source].push(User::Host);
        }
    }
    users
}

/// How an operation's result is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Whether one chunk of it is enough at a time.
    pub(super) by_chunk: bool,
    /// Whether a consumer takes it chunk by chunk.
    pub(super) in_group: bool,
    /// Whether a consumer takes the final hidden state.
    pub(super) finals: bool,
    /// The group that the operation is in.
    pub(super) group: Option<usize>,
}

impl Use {
    /// Returns the use of operation `index`, one of `groups`, from `users`.
    pub(super) fn of(index: usize, users: &[User], ops: &[Op], groups: &[Range<usize>]) -> Self {
        // Groups are in order, and every operation is in one.
        let group = groups.partition_point(|group| group.end <= index);
        let group = groups.get(group).is_some_and(|of| of.contains(&index)).then_some(group);
        let in_group = |op: &usize| group.is_some_and(|group| groups[group].contains(op));
        let by_chunk = |user: &User| match user {
            User::Op(op) => in_group(op) || matches!(ops[*op].kind, OpKind::LastStep),
            User::Final(_) => true,
            User::Host => false,
        };
        Self {
            by_chunk: !users.is_empty() && users.iter().all(by_chunk),
            in_group: users.iter().any(|user| matches!(user, User::Op(op) if in_group(op))),
            finals: users.iter().any(|user| matches!(user, User::Final(State::Hidden))),
            group,
        }
    }
}

/// Returns the timesteps of a chunk: as many as the scratch budget
/// and the binding limit allow, but never fewer than the alignment.
pub(super) fn chunk_length(ops: &[Op], input: usize, shape: Shape, limits: &Limits, tuning: &Tuning) -> usize {
    let batch = shape.batch as u64;
    let step_bytes = batch.saturating_mul(ops.iter().map(Op::step_bytes).sum::<u64>().max(1));
    let widest = batch.saturating_mul(ops.iter().map(Op::widest_bytes).max().unwrap_or(1).max(4 * input as u64));
    // A window may start up to CHUNK_ALIGN rows early, and holds the rows before and after the chunk. The last layer of
    // a layer run is some steps behind its first, and a convolution reads what its kernel spans.
    let behind = ops.iter().map(|op| op.layers().max(op.halo())).max().unwrap_or(0);
    let bound = (limits.binding_bytes / widest.max(1)).saturating_sub((2 + behind + CHUNK_ALIGN) as u64);
    let wanted = (tuning.chunk_bytes() / step_bytes).min(bound);
    let aligned = wanted / CHUNK_ALIGN as u64 * CHUNK_ALIGN as u64;
    // If even this is too much, `check` refuses the plan.
    let steps = usize::try_from(aligned).unwrap_or(usize::MAX).max(CHUNK_ALIGN);
    steps.min(shape.all_steps().map(|steps| steps.time).max().unwrap_or(1))
}
