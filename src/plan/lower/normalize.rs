//! Layers that normalise: their operations, and the dispatches of both ways.

use super::dispatch::word;
use super::ops::{Normalize, Op, OpKind, Sequence, Source};
use super::{Chunk, Lowering};
use crate::error::{Error, Result};
use crate::kernel::{LANES, Norm, Params, Program, Role};
use crate::layout::{self, Layout};
use crate::model::{LayerKind, Model, NormOf, Slice};
use crate::plan::{SlotId, Window};

/// Returns the operations of layer `layer`, which normalises what `source` has among `ops`.
pub(super) fn normalized(
    (model, layout): (&Model, &Layout),
    (layer, kind): (usize, &LayerKind),
    source: Source,
    ops: &[Op],
) -> Result<Vec<OpKind>> {
    let norm = kind.norm().ok_or_else(|| Error::internal(format!("layer {layer}: expected operations of {kind}")))?;
    let mut kinds = Vec::new();
    // Products around it compute it.
    if layout.folded_norm(model, layer).is_some() {
        return Ok(kinds);
    }
    // The kernel takes the features in one part.
    if let Source::Op(op) = source
        && let features = ops[op].features
        && features.parts > 1
        && !features.size.is_multiple_of(LANES)
    {
        kinds.push(OpKind::Slice(Slice::features(0, norm.features)));
    }
    let single = norm.weight == Some(1);
    let of = |norm_of, role| {
        Ok::<_, Error>(OpKind::Normalize(Normalize {
            norm: norm_of,
            eps: norm.eps,
            buffer: layout
                .find(role)
                .ok_or_else(|| Error::internal(format!("the layout has no buffer for {role:?}")))?,
            single,
        }))
    };
    let own = layout::Role::Norm { layer };
    match norm.of {
        NormOf::Batch if layout.trains => {
            kinds.push(of(Norm::Standard, layout::Role::Statistics { layer })?);
            if layout.find(own).is_some() {
                kinds.push(of(Norm::Affine, own)?);
            }
        }
        NormOf::Batch => kinds.push(of(Norm::Affine, own)?),
        NormOf::Layer => kinds.push(of(Norm::Layer, own)?),
        NormOf::Rms => kinds.push(of(Norm::Rms, own)?),
        NormOf::L2 => kinds.push(of(Norm::L2, own)?),
        NormOf::PRelu => kinds.push(of(Norm::PRelu, own)?),
    }
    Ok(kinds)
}

impl Lowering<'_> {
    /// Emits a forward pass for `chunk`.
    pub(super) fn normalize(&mut self, of: Normalize, source: Sequence, result: Sequence, chunk: Chunk) -> Result<()> {
        let weights = self.norm_weights(of);
        for (_, params, [source, result]) in self.row_pieces(source, result, chunk) {
            let params = self.norm_params(of, params);
            let windows = [(Role::Weights, Some(weights)), (Role::Source, Some(source)), (Role::Result, Some(result))];
            self.dispatch(Program::Normalize(of.norm), params, [1, params.rows as usize, 1], &windows)?;
        }
        Ok(())
    }

    /// Returns the window of its numbers.
    pub(super) fn norm_weights(&mut self, of: Normalize) -> Window {
        let slot: SlotId = self.weights(of.buffer);
        self.whole(slot)
    }

    /// Returns `params` with what the kernels are told besides rows.
    pub(super) fn norm_params(&self, of: Normalize, params: Params) -> Params {
        let width = self.weights_slot(of.buffer).dims.last().copied().unwrap_or(0);
        // The features are in one part, however those of the source were.
        let (units, features) = (params.units * params.directions, params.features * params.directions);
        Params {
            directions: 1,
            units,
            features,
            source_units: word(width),
            count: u32::from(of.single),
            scale: of.eps.get().to_bits(),
            ..params
        }
    }
}
