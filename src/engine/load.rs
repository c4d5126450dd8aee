//! Weights → packed buffers → an executor, one after the other.

use std::sync::Arc;

use super::executor::Executor;
use super::planner::Planner;
use crate::error::Result;
use crate::layout::Buffer;
use crate::pack::pack_buffer;
use crate::platform::{compute, waits};
use crate::weights::Source;

impl Executor {
    /// Loads the weights of the planner's model from `source`, and calls `each` after every buffer. If the polling
    /// thread must not block, they are read and packed in another thread.
    ///
    /// # Errors
    ///
    /// Errors of reading and packing. Returns an error of kind `ErrorKind::Limits` if a buffer does not fit the device.
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
                self.add(packed, layout.medium_of(index)).await.map_err(|e| planner.device.explain(e))?;
                each(buffer);
            }
            return Ok(());
        }
        let mut source = source.into_owned().await;
        for (index, buffer) in layout.buffers.iter().enumerate() {
            let of = Arc::clone(planner);
            let work = move || {
                let packed = pack_buffer(&mut source, &of.model, &of.layout, &of.layout.buffers[index]);
                (packed, source)
            };
            let packed;
            (packed, source) = compute(work).await?;
            self.add(packed?, layout.medium_of(index)).await.map_err(|e| planner.device.explain(e))?;
            each(buffer);
        }
        Ok(())
    }
}
