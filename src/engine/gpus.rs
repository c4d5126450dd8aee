//! The GPUs of this process: each is opened once for as long as an engine holds it, and checked only once.
//!
//! Opening starts the driver and compiles every kernel, so engines share a device.
//! Decides only whether a device may be used at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::Result;
use crate::gpu::{AdapterInfo, AdapterKind, Choice, Gpu, Loaded, MOST_CO_RESIDENT};
use crate::plan::tune::Target;
use crate::plan::{Limits, ListedIo, Strategy};

use super::device::{Checked, SelfCheck};
use super::self_check::KnownAnswer;

/// Open devices, by the choice that was asked for.
static OPEN: Mutex<Vec<(Choice, Weak<Gpu>)>> = Mutex::new(Vec::new());

/// The self-checks that were done, by adapter.
static CHECKED: Mutex<Vec<(AdapterInfo, SelfCheck)>> = Mutex::new(Vec::new());

/// How many workgroups are known to run side by side, by adapter.
static CO_RESIDENT: Mutex<Vec<(AdapterInfo, u32)>> = Mutex::new(Vec::new());

/// Whether workgroups of an open device, or of one that is gone, have stalled, by adapter.
static STALLED: Mutex<Vec<(AdapterInfo, Arc<AtomicBool>)>> = Mutex::new(Vec::new());

/// How often in a row workgroups must meet. If threads are given to workgroups by turns, they may meet by chance.
const TRIES: usize = 8;

/// Opens the GPU that `choice` means, and does its self-checks, also those of training if it `trains`. Returns `None`
/// if `Choice::Auto` finds no GPU of its rank.
///
/// # Errors
///
/// As [`open`] and [`self_checks`]. Returns an error of kind `ErrorKind::Device` if the device computes wrong numbers
/// in steps or in training; the other strategies are optional.
pub(super) async fn open_sound(choice: &Choice, trains: bool) -> Result<Option<Arc<Gpu>>> {
    let Some(gpu) = open(choice).await? else { return Ok(None) };
    let mut checks = self_checks(&gpu, &Checked::chosen()).await?;
    checks.retain(|check| check.checked == Checked::Running(Strategy::Step));
    if trains && checks.iter().all(|check| check.fault.is_none()) {
        checks.extend(self_checks(&gpu, &Checked::training()).await?);
        checks.retain(|check| check.checked != Checked::TrainingByScans);
    }
    match checks.iter().find_map(SelfCheck::error) {
        Some(error) => Err(error),
        None => Ok(Some(gpu)),
    }
}

/// Returns the strategy that plans for `gpu` must use: the requested one, or steps if another one failed its
/// self-check. It is `None` if all is well or nothing was checked.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Device` if the requested strategy failed.
pub(super) fn sound(gpu: &Gpu, asked: Option<Strategy>) -> Result<Option<Strategy>> {
    let checked = lock(&CHECKED);
    check_strategy(checked.iter().filter(|(known, _)| known == gpu.info()).map(|(_, check)| check), asked)
}

fn check_strategy<'a>(
    checks: impl Iterator<Item = &'a SelfCheck>,
    asked: Option<Strategy>,
) -> Result<Option<Strategy>> {
    let mut failed = checks.filter(|check| check.fault.is_some());
    match asked {
        Some(strategy) => match failed.find(|check| check.checked.is_of(strategy)).and_then(SelfCheck::error) {
            Some(error) => Err(error),
            None => Ok(asked),
        },
        None => {
            let is_chosen =
                |check: &&SelfCheck| Strategy::CHOSEN.into_iter().any(|strategy| check.checked.is_of(strategy));
            Ok(failed.find(is_chosen).map(|_| Strategy::Step))
        }
    }
}

/// Opens the GPU that `choice` means, unless another engine has opened it. Returns `None` if `Choice::Auto` finds no
/// GPU of its rank. Two threads that ask for a new one at the same time both open it.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Device` if none has the requested name, or if the driver refuses.
pub(super) async fn open(choice: &Choice) -> Result<Option<Arc<Gpu>>> {
    let known = lock(&OPEN).iter().filter(|(known, _)| known == choice).find_map(|(_, gpu)| gpu.upgrade());
    if let Some(gpu) = known.filter(|gpu| !gpu.is_lost()) {
        return Ok(Some(gpu));
    }
    let Some(gpu) = Gpu::open(choice.clone()).await? else { return Ok(None) };
    let gpu = Arc::new(gpu);
    let mut open = lock(&OPEN);
    open.retain(|(known, gpu)| known != choice && gpu.strong_count() > 0);
    open.push((choice.clone(), Arc::downgrade(&gpu)));
    let mut stalled = lock(&STALLED);
    // A device that is gone and never stalled is not worth remembering.
    stalled.retain(|(_, stalled)| Arc::strong_count(stalled) > 1 || stalled.load(Ordering::Relaxed));
    stalled.push((gpu.info().clone(), gpu.stalled()));
    Ok(Some(gpu))
}

/// Returns the results of the self-checks of `all` on `gpu`. A check runs now unless this process has done it before.
///
/// # Errors
///
/// As [`Gpu::add`] and [`Gpu::trace`]: a check that could not be done is no verdict, and is not remembered.
pub(super) async fn self_checks(gpu: &Gpu, all: &[Checked]) -> Result<Vec<SelfCheck>> {
    let mut checks = Vec::new();
    for &checked in all {
        let of = |(known, check): &&(AdapterInfo, SelfCheck)| known == gpu.info() && check.checked == checked;
        let known = lock(&CHECKED).iter().find(of).map(|(_, check)| check.clone());
        let check = match known {
            Some(check) => check,
            None => {
                let fault = fault(gpu, checked).await.map_err(|e| e.at(format!("self-check of {checked}")))?;
                let check = SelfCheck { adapter: gpu.info().to_string(), checked, fault };
                log::info!("{check}");
                lock(&CHECKED).push((gpu.info().clone(), check.clone()));
                check
            }
        };
        checks.push(check);
    }
    Ok(checks)
}

/// The outcome of a known answer.
enum Verdict {
    /// The right numbers.
    Right,
    /// Workgroups stalled.
    Stalled,
    /// A wrong number, in words.
    Wrong(String),
}

async fn fault(gpu: &Gpu, checked: Checked) -> Result<Option<String>> {
    match checked {
        Checked::Running(Strategy::Persistent) => fault_of_sharing(gpu).await,
        Checked::Running(strategy) => Ok(known_answer(gpu, strategy, &gpu.limits()).await?.fault(gpu)),
        Checked::Training => {
            let (target, limits) = (target(gpu), gpu.limits());
            for answer in [KnownAnswer::of_training(target, &limits)?, KnownAnswer::of_update(target, &limits)?] {
                if let Some(fault) = show(gpu, &answer).await?.fault(gpu) {
                    return Ok(Some(fault));
                }
            }
            Ok(None)
        }
        Checked::TrainingByScans => {
            Ok(show(gpu, &KnownAnswer::of_training_by_scans(target(gpu), &gpu.limits())?).await?.fault(gpu))
        }
    }
}

/// The fault of layers that workgroups share, after a count of how many workgroups run side by side.
async fn fault_of_sharing(gpu: &Gpu) -> Result<Option<String>> {
    let strategy = Strategy::Persistent;
    let (co_resident, met) = count_co_resident(gpu).await?;
    let mut limits = Limits { co_resident_workgroups: co_resident, ..gpu.limits() };
    let mut shown = match met {
        Verdict::Wrong(_) => met,
        Verdict::Right | Verdict::Stalled => known_answer(gpu, strategy, &limits).await?,
    };
    if co_resident > 1 && matches!(shown, Verdict::Stalled) {
        // They have met before and now did not: no workgroup may wait on this device.
        limits.co_resident_workgroups = 1;
        shown = known_answer(gpu, strategy, &limits).await?;
    }
    let co_resident = limits.co_resident_workgroups;
    match co_resident {
        1 => log::warn!(
            "{}: no two workgroups of a dispatch are sure to run side by side: `persistent` gives each layer to one, as \
             `scan` does",
            gpu.info()
        ),
        _ => log::info!("{}: {co_resident} workgroups of a dispatch run side by side", gpu.info()),
    }
    lock(&CO_RESIDENT).push((gpu.info().clone(), co_resident));
    Ok(shown.fault(gpu))
}

impl Verdict {
    fn fault(self, gpu: &Gpu) -> Option<String> {
        match self {
            Self::Right => None,
            Self::Stalled => Some(gpu.stall_error().to_string()),
            Self::Wrong(text) => Some(text),
        }
    }
}

async fn known_answer(gpu: &Gpu, strategy: Strategy, limits: &Limits) -> Result<Verdict> {
    show(gpu, &KnownAnswer::of(strategy, target(gpu), limits)?).await
}

/// How many workgroups, up to [`MOST_CO_RESIDENT`], are known to run side by side on `gpu`. It is 1 if nobody has
/// counted, if none were seen to, or if some have stalled since.
pub(super) fn co_resident(gpu: &Gpu) -> u32 {
    let of = |known: &AdapterInfo| known == gpu.info();
    if lock(&STALLED).iter().any(|(known, stalled)| of(known) && stalled.load(Ordering::Relaxed)) {
        return 1;
    }
    let known = lock(&CO_RESIDENT).iter().find(|(known, _)| of(known)).map(|(_, co_resident)| *co_resident);
    known.unwrap_or(Limits::WEBGPU.co_resident_workgroups)
}

/// Counts the workgroups that run side by side: twice as many each time, until some stall
/// or give wrong numbers. Returns the last verdict too.
async fn count_co_resident(gpu: &Gpu) -> Result<(u32, Verdict)> {
    let (mut co_resident, mut shown) = (1, Verdict::Right);
    // A browser kills work that waits.
    while co_resident < MOST_CO_RESIDENT && !cfg!(target_arch = "wasm32") {
        let limits = Limits { co_resident_workgroups: 2 * co_resident, ..gpu.limits() };
        shown = meet(gpu, &KnownAnswer::of_meeting(target(gpu), &limits)?).await?;
        if !matches!(shown, Verdict::Right) {
            break;
        }
        co_resident *= 2;
    }
    Ok((co_resident, shown))
}

/// Runs `answer` on `gpu` several times, until the first verdict that is not right.
async fn meet(gpu: &Gpu, answer: &KnownAnswer) -> Result<Verdict> {
    for _ in 0..TRIES {
        match show(gpu, answer).await? {
            Verdict::Right => {}
            shown => return Ok(shown),
        }
    }
    Ok(Verdict::Right)
}

/// Runs `answer` on `gpu`, and returns the verdict.
async fn show(gpu: &Gpu, answer: &KnownAnswer) -> Result<Verdict> {
    let mut loaded = Loaded::default();
    for (index, buffer) in answer.packed.buffers.iter().enumerate() {
        gpu.add(&mut loaded, buffer.clone(), answer.layout.medium_of(index)).await?;
    }
    let got = gpu.trace(&loaded, &answer.plan, &mut ListedIo::of(&answer.plan, &answer.feeds)?).await?;
    Ok(got.map_or(Verdict::Stalled, |got| answer.fault(&got).map_or(Verdict::Right, Verdict::Wrong)))
}

/// The kind of device that plans for `gpu` are made for.
pub(super) fn target(gpu: &Gpu) -> Target {
    match gpu.info().kind {
        AdapterKind::Software => Target::Software,
        AdapterKind::Discrete | AdapterKind::Integrated | AdapterKind::Virtual | AdapterKind::Other => Target::Gpu,
    }
}

/// Locks `mutex`. Entries go in whole or not at all, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// wgpu's validator computes nothing, and the self-check must notice.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_device_that_computes_wrong_numbers_is_refused_with_the_first_of_them_and_what_to_do() {
        let refused = pollster::block_on(open_sound(&Choice::Noop, false)).err().expect("it computes nothing");
        assert_eq!(refused.kind(), ErrorKind::Device);
        let text = refused.to_string();
        assert!(text.contains(": self-check of step: slot ") && text.contains(": expected "), "{text}");
        assert!(text.ends_with("; this driver computes wrong numbers: update it, or use --device cpu"), "{text}");
    }

    #[test]
    fn a_device_that_trains_wrongly_is_refused_with_slot_and_kernel() {
        let gpu = pollster::block_on(open(&Choice::Noop)).unwrap().expect("wgpu always has its validator");
        let checks = pollster::block_on(self_checks(&gpu, &[Checked::Training])).unwrap();
        let text = checks[0].error().expect("it computes nothing").to_string();
        assert!(text.contains(": self-check of training: slot 0.vectors of gather [0, 0, 0]: expected "), "{text}");
        assert!(text.ends_with("; this driver computes wrong numbers: update it, or use --device cpu"), "{text}");
        // It still runs models, as far as this check goes.
        assert_eq!(check_strategy(checks.iter(), None).unwrap(), None);
    }

    #[test]
    fn a_strategy_that_failed_its_self_check_is_not_used() {
        let check = |strategy, fault: Option<&str>| SelfCheck {
            adapter: "Voodoo".to_owned(),
            checked: Checked::Running(strategy),
            fault: fault.map(str::to_owned),
        };
        let all = [check(Strategy::Step, None), check(Strategy::Wavefront, None)];
        let some = [check(Strategy::Step, None), check(Strategy::Wavefront, Some("slot 0.output.0 [0]: a fault"))];
        for asked in [None, Some(Strategy::Step), Some(Strategy::Wavefront)] {
            assert_eq!(check_strategy(all.iter(), asked).unwrap(), asked);
        }
        assert_eq!(check_strategy(some.iter(), None).unwrap(), Some(Strategy::Step));
        assert_eq!(check_strategy(some.iter(), Some(Strategy::Step)).unwrap(), Some(Strategy::Step));
        let error = check_strategy(some.iter(), Some(Strategy::Wavefront)).unwrap_err();
        assert!(error.to_string().starts_with("Voodoo: self-check of wavefront: slot 0.output.0"), "{error}");
    }

    #[test]
    fn a_device_that_scans_wrongly_on_the_way_back_goes_by_steps() {
        let check = SelfCheck {
            adapter: "Voodoo".to_owned(),
            checked: Checked::TrainingByScans,
            fault: Some("a fault".to_owned()),
        };
        assert_eq!(check_strategy([&check].into_iter(), None).unwrap(), Some(Strategy::Step));
        assert_eq!(check_strategy([&check].into_iter(), Some(Strategy::Step)).unwrap(), Some(Strategy::Step));
        let error = check_strategy([&check].into_iter(), Some(Strategy::Scan)).unwrap_err();
        assert!(error.to_string().starts_with("Voodoo: self-check of training by scans: a fault"), "{error}");
    }

    #[test]
    fn the_verdict_on_a_device_is_remembered() {
        let gpu = pollster::block_on(open(&Choice::Noop)).unwrap().expect("wgpu always has its validator");
        let all: Vec<_> = Strategy::ALL.map(Checked::Running).into_iter().chain(Checked::training()).collect();
        let checks = pollster::block_on(self_checks(&gpu, &all)).unwrap();
        assert_eq!(checks.len(), all.len());
        assert!(checks.iter().all(|check| check.fault.is_some()), "{checks:?}");
        // A lost device could not be checked again.
        gpu.lose();
        assert_eq!(pollster::block_on(self_checks(&gpu, &all)).unwrap(), checks);
    }
}
