//! Plans of streams: what a frame takes, and what a stream begins with.
//!
//! A stream's states are device states. So the plan of its frames takes them from there, whatever they began
//! with. Values of the model that begin a stack are computed once, by their own plan. Knows no stream and no row.

use super::flatten::{moved, there};
use super::ops::{Axis, Begin, Op, OpKind, Ops, Source};
use crate::model::{Features, Slice};

/// Adapts `all` to streams that have begun: states come from the host's side, and what only begins them is left out.
pub(super) fn going_on(mut all: Ops) -> Ops {
    for op in &mut all.ops {
        if let OpKind::Recurrent(r) = &mut op.kind {
            r.begin = [None; 2];
        }
    }
    kept(all, |op| op.layers() > 0)
}

/// Returns the operations of the values that begin a stack. Each value is an output, hidden before cell.
pub(super) fn beginnings(all: Ops) -> Ops {
    let Ops { mut ops, inputs, .. } = all;
    let mut begun = Vec::new();
    for op in &ops {
        if let OpKind::Recurrent(r) = &op.kind {
            let sizes = [op.features.size, r.hidden_size];
            let row = |(begin, size): (Option<Begin>, usize)| match begin {
                Some(Begin::Row(source)) => Some((source, op.layer, Features::one(size))),
                Some(Begin::Final(..)) | None => None,
            };
            begun.extend(r.begin.into_iter().zip(sizes).filter_map(row));
        }
    }
    let mut outputs = Vec::with_capacity(begun.len());
    for (source, layer, features) in begun {
        // A copy of each: the host reads a slot of its own, with features laid out as in states.
        let kind = OpKind::Slice(Slice { first: 0, count: features.len() });
        ops.push(Op { layer, stacked: None, kind, from: vec![source], axis: Axis::Rows, features });
        outputs.push(Source::Op(ops.len() - 1));
    }
    kept(Ops { ops, outputs, inputs }, |_| false)
}

/// Drops the operations that nothing needs: those that no output needs, except those that `stays` accepts.
pub(super) fn kept(all: Ops, stays: impl Fn(&Op) -> bool) -> Ops {
    let Ops { ops: all, outputs, inputs } = all;
    let mut needed = vec![false; all.len()];
    let need = |needed: &mut Vec<bool>, source: Source| {
        if let Source::Op(op) = source {
            needed[op] = true;
        }
    };
    outputs.iter().for_each(|&output| need(&mut needed, output));
    for (index, op) in all.iter().enumerate().rev() {
        needed[index] |= stays(op);
        if needed[index] {
            op.from.iter().for_each(|&source| need(&mut needed, source));
            op.begins().for_each(|begin| match begin {
                Begin::Row(source) => need(&mut needed, source),
                Begin::Final(of, _) => needed[of] = true,
            });
        }
    }
    let mut ops = Vec::with_capacity(all.len());
    // The new index of each operation.
    let mut places = Vec::with_capacity(all.len());
    for (op, is_needed) in all.into_iter().zip(needed) {
        places.push(ops.len());
        if is_needed {
            ops.push(moved(op, &places));
        }
    }
    let outputs = outputs.into_iter().map(|output| there(output, &places)).collect();
    Ops { ops, outputs, inputs }
}
