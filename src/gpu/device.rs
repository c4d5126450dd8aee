//! The open device: its limits, its errors, and the wait for its work.
//!
//! wgpu reports errors out of band, and this file returns them in band. Objects are
//! made and work is submitted inside [`Device::guard`], and waits go through
//! [`Device::wait`]. Both return the first error as ours. Knows no plan and no kernel.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::adapter::{self, Found};
use super::info::AdapterInfo;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Limits;
use crate::platform;

/// The device of an adapter, its queue, and their errors.
pub(super) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) info: AdapterInfo,
    /// The alignment of a uniform's offset, in bytes.
    pub(super) uniform_align: u64,
    /// How many objects were made: `objects` counts them.
    pub(super) objects: AtomicU64,
    faults: Arc<Faults>,
}

/// Errors that were reported outside of a scope.
#[derive(Default)]
struct Faults {
    /// The reason why the device was lost, for good.
    lost: OnceLock<String>,
    /// The first uncaptured error, which the next call returns.
    uncaptured: Mutex<Option<Error>>,
}

impl Device {
    /// Opens the device of `found`, with everything that the adapter can do.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the driver refuses.
    pub(super) async fn open(Found { adapter, mut info }: Found) -> Result<Self> {
        let limits = adapter.limits();
        let features = adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gatewave"),
            required_features: features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            Error::new(ErrorKind::Device, format!("{}: the driver opens no device: {error}", info.name)).because(error)
        })?;
        info.limits = adapter::limits(&device.limits(), device.features(), &adapter.get_info());
        let faults = Arc::new(Faults::default());
        device.set_device_lost_callback({
            let faults = faults.clone();
            move |reason, text| faults.lose(format!("{reason:?} {text}").trim_end().to_owned())
        });
        device.on_uncaptured_error({
            let faults = faults.clone();
            Arc::new(move |error| {
                lock(&faults.uncaptured).get_or_insert_with(|| ours(error));
            })
        });
        let uniform_align = u64::from(device.limits().min_uniform_buffer_offset_alignment);
        Ok(Self { device, queue, info, uniform_align, objects: AtomicU64::new(0), faults })
    }

    pub(super) fn limits(&self) -> Limits {
        self.info.limits
    }

    /// Does `work`, and returns the first error that wgpu reports of it, with `place` in front.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if memory ran out, of kind
    /// `Lost` if the device is lost, or else of kind `Device`.
    pub(super) fn guard<T>(&self, place: &str, work: impl FnOnce() -> T) -> impl Future<Output = Result<T>> {
        // The scopes of a thread are a stack, so they are popped before anything is awaited.
        let outer = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let middle = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let inner = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = work();
        let popped = (inner.pop(), middle.pop(), outer.pop());
        async move {
            let (validation, memory, internal) = (popped.0.await, popped.1.await, popped.2.await);
            self.check().map_err(|error| error.at(place))?;
            match memory.or(internal).or(validation) {
                Some(error) => Err(self.blame(ours(error).at(place).at(&self.info.name))),
                None => Ok(value),
            }
        }
    }

    /// Checks that `bytes` fit one buffer.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if they do not.
    pub(super) fn fits(&self, name: &str, bytes: u64) -> Result<()> {
        let most = self.limits().buffer_bytes;
        if bytes <= most {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Limits,
            format!("{}: buffer `{name}`: {bytes} bytes, but the device's largest has {most}", self.info.name),
        ))
    }

    /// Checks for errors outside of a scope.
    ///
    /// # Errors
    ///
    /// Returns the loss of the device, or the error that was reported since the last check.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(why) = self.faults.lost.get() {
            return Err(self.lost(why));
        }
        lock(&self.faults.uncaptured).take().map_or(Ok(()), |error| Err(error.at(&self.info.name)))
    }

    /// Returns the loss of the device if that caused `error`, else `error` itself. Objects of a lost
    /// device are invalid. wgpu reports this before the loss, which it reports only when polled.
    pub(super) fn blame(&self, error: Error) -> Error {
        if reports_loss(&self.device) {
            self.faults.lose(REPORTED_LOST.to_owned());
        }
        self.faults.lost.get().map_or(error, |why| self.lost(why))
    }

    /// Whether the device is known to be lost.
    pub(super) fn is_lost(&self) -> bool {
        self.faults.lost.get().is_some()
    }

    /// Returns the error of work that did not come back.
    pub(super) fn unanswered(&self) -> Error {
        self.check().err().unwrap_or_else(|| self.lost("it did not give back what it computed"))
    }

    fn lost(&self, why: &str) -> Error {
        lost(&self.info.name, why)
    }

    /// Waits until the submission is done. Its callbacks have then run, or are running in another thread.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if it will never be done.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) async fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        if platform::waits() {
            return poll(&self.device, &self.faults, &self.info.name, &submission);
        }
        let (device, faults, name) = (self.device.clone(), self.faults.clone(), self.info.name.clone());
        platform::begin_aside(move || poll(&device, &faults, &name, &submission))?.ended().await
    }

    /// Returns at once: in a browser, the event loop waits.
    #[cfg(target_arch = "wasm32")]
    pub(super) async fn wait(&self, _submission: wgpu::SubmissionIndex) -> Result<()> {
        Ok(())
    }

    /// Destroys the device, as a driver's crash does.
    pub(super) fn lose(&self) {
        self.faults.lose("it was destroyed".to_owned());
        self.device.destroy();
    }
}

/// Our words for wgpu 30's panic in `Device::poll`.
const REPORTED_LOST: &str = "the driver reports it lost";

/// Whether the driver reports `device` lost. wgpu 30 then panics in `Device::poll`.
/// The panic is caught here, because a lost device is an error like any other.
fn reports_loss(device: &wgpu::Device) -> bool {
    platform::caught(|| device.poll(wgpu::PollType::Poll)).is_none()
}

/// Blocks until `submission` is done, in slices, since the loss may be reported to another thread.
///
/// wgpu 30 also panics, with nothing lost, if a slice runs out just as another thread sees
/// the queue empty. So the device is asked again, and slices are longer than the work takes.
#[cfg(not(target_arch = "wasm32"))]
fn poll(device: &wgpu::Device, faults: &Faults, name: &str, submission: &wgpu::SubmissionIndex) -> Result<()> {
    const SLICE: std::time::Duration = std::time::Duration::from_secs(20);
    loop {
        let turn = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: Some(SLICE) };
        match platform::caught(|| device.poll(turn)) {
            Some(Ok(_)) => return Ok(()),
            Some(Err(wgpu::PollError::Timeout)) => log::debug!("{name}: still computing"),
            Some(Err(error)) => faults.lose(format!("the work was not taken: {error}")),
            None if reports_loss(device) => faults.lose(REPORTED_LOST.to_owned()),
            None => log::debug!("{name}: waiting again"),
        }
        if let Some(why) = faults.lost.get() {
            return Err(lost(name, why));
        }
    }
}

impl Faults {
    fn lose(&self, why: String) {
        log::warn!("device lost: {why}");
        // The first reason stays: later ones are its consequences.
        let _ = self.lost.set(why);
    }
}

/// Locks `mutex`. Its contents are consistent at all times, so a panic elsewhere does not matter.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Lost, format!("{name}: the device was lost: {why}; make a new engine and call again"))
}

fn ours(error: wgpu::Error) -> Error {
    match &error {
        wgpu::Error::OutOfMemory { .. } => {
            Error::new(ErrorKind::Limits, "the device is out of memory; use a smaller batch or fewer timesteps")
        }
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::new(ErrorKind::Device, description.trim_end())
        }
    }
    .because(error.to_string())
}
