//! Weights → packed buffers → an executor, one after the other.

use std::sync::Arc;

use super::executor::Executor;
use super::planner::Planner;
use crate::error::Result;
use crate::layout::Buffer;
use crate::pack::{PackedBuffer, pack_buffer};
use crate::platform::{compute, waits};
use crate::weights::Source;

impl Executor {
    /// Loads the weights of the planner's model from `source`, and calls `each` after every buffer. If the polling
    /// thread must not block, they are read and packed in another thread.
    ///
    /// # Errors
    ///
    /// Returns any error of reading and packing, or one of kind `ErrorKind::Limits` if a buffer does not fit the device.
    pub(super) async fn load(
        &mut self,
        planner: &Arc<Planner>,
        mut source: Source<'_>,
        mut each: impl FnMut(&Buffer),
    ) -> Result<()> {
        let Planner { model, layout, .. } = &**planner;
        if waits() {
            for (index, buffer) in layout.buffers.iter().enumerate() {
                let packed = pack_buffer(&mut source, model, layout, buffer)?;
                self.load_buffer(planner, index, packed, &mut each).await?;
            }
            return Ok(());
        }
        let mut source = source.into_owned().await;
        for index in 0..layout.buffers.len() {
            let of = Arc::clone(planner);
            let work = move || {
                let packed = pack_buffer(&mut source, &of.model, &of.layout, &of.layout.buffers[index]);
                (packed, source)
            };
            let packed;
            (packed, source) = compute(work).await?;
            self.load_buffer(planner, index, packed?, &mut each).await?;
        }
        Ok(())
    }

    /// Adds buffer `index` of the layout, and calls `each` after it.
    async fn load_buffer(
        &mut self,
        planner: &Planner,
        index: usize,
        packed: PackedBuffer,
        each: &mut impl FnMut(&Buffer),
    ) -> Result<()> {
        let layout = &planner.layout;
        self.add(packed, layout.medium_of(index)).await.map_err(|e| planner.device.explain(e))?;
        each(&layout.buffers[index]);
        Ok(())
    }
}
