//! The panels of a product: of features in their order, or of a convolution, whose weights have places in a band.

use super::panels::{Panels, Stored};
use super::{Content, PEEPHOLES, Packer};
use crate::error::Result;
use crate::kernel::Band;
use crate::model::Features;

impl Packer<'_, '_> {
    /// Packs `[P][K + 1 + extra][G][16]`.
    pub(super) fn matrix<S: Stored>(
        &mut self,
        content: &Content,
        source: Features,
        mut panels: Panels<'_, S>,
    ) -> Result<()> {
        let Content { layer, w, ref rows, .. } = *content;
        let (width, first) = (source.len(), rows.start);
        self.source.read_rows(self.model, layer, w, rows.clone(), &mut |start, part| {
            let start = start - first;
            panels.put(start..start + part.len() / width, |row, column| {
                S::put_row(column, source, &part[(row - start) * width..][..width])
            })
        })?;
        self.bias(content, &mut panels)?;
        if let Some(peepholes) = content.peepholes {
            let (peepholes, units) = (self.whole(layer, peepholes, 0..3)?, panels.units);
            panels.put(0..rows.len(), |row, column| match PEEPHOLES[row / units] {
                Some(of) => S::put_after(column, 1, peepholes[of * units + row % units]),
                None => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Packs the bias of a matrix, if it has one.
    fn bias<S: Stored>(&mut self, content: &Content, panels: &mut Panels<'_, S>) -> Result<()> {
        let Some(bias) = content.bias else { return Ok(()) };
        let bias = self.whole(content.layer, bias, content.rows.clone())?;
        panels.put(0..bias.len(), |row, column| S::put_after(column, 0, bias[row]))
    }

    /// Packs `[P][taps · W + 1][1][16]`: each weight at the place in the band of its unit's panel.
    pub(super) fn convolution<S: Stored>(
        &mut self,
        content: &Content,
        band: &Band,
        mut panels: Panels<'_, S>,
    ) -> Result<()> {
        let Content { layer, w, ref rows, .. } = *content;
        let (width, source) = (band.inputs * band.taps, Features { parts: band.taps, size: band.width });
        self.source.read_rows(self.model, layer, w, rows.clone(), &mut |start, part| {
            panels.put(start..start + part.len() / width, |unit, column| {
                let mut row = vec![0.0; source.len()];
                for (at, &w) in part[(unit - start) * width..][..width].iter().enumerate() {
                    row[band.place(unit, at)] = w;
                }
                S::put_row(column, source, &row)
            })
        })?;
        self.bias(content, &mut panels)
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::Layout;
    use crate::model::{Conv1d, Lstm, Model};
    use crate::pack::{PackedBuffer, pack, unpack};
    use crate::weights::Weights;

    #[test]
    fn convolutions_that_are_packed_for_training_come_back() {
        for conv in [Conv1d::new(34, 20, 3), Conv1d::new(34, 51, 3).groups(17), Conv1d::new(34, 5, 1).no_bias()] {
            let model = Model::new().layer(Lstm::new(3, 17).bidirectional()).layer(conv);
            let layout = Layout::for_training(&model).unwrap();
            let weights = Weights::random(&model, 3).unwrap();
            let float = |buffer: PackedBuffer| match buffer {
                PackedBuffer::F32(data) => bytemuck::cast_slice(&data).to_vec(),
                PackedBuffer::F16(_) | PackedBuffer::I8 { .. } => panic!("32-bit floats"),
            };
            let buffers: Vec<Vec<f32>> =
                pack(&weights, &model, &layout).unwrap().buffers.into_iter().map(float).collect();
            assert!(unpack(&model, &layout, &buffers, true) == weights, "{model:?}");
        }
    }
}
