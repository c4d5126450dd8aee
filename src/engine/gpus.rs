//! The GPUs of this process: each is opened once for as long as an engine holds it, and checked once for good.
//!
//! Opening costs the driver's start and the compilation of every kernel, so engines share a device. Decides nothing but
//! whether a device may be used at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::Result;
use crate::gpu::{AdapterInfo, AdapterKind, Choice, Gpu, Loaded, MOST_RESIDENT};
use crate::plan::tune::Target;
use crate::plan::{Limits, Listed, Strategy};

use super::device::{Checked, SelfCheck};
use super::self_check::KnownAnswer;

/// Open devices, by what was asked for.
static OPEN: Mutex<Vec<(Choice, Weak<Gpu>)>> = Mutex::new(Vec::new());

/// The self-checks that were done, by adapter.
static CHECKED: Mutex<Vec<(AdapterInfo, SelfCheck)>> = Mutex::new(Vec::new());

/// How many workgroups are known to run side by side, by adapter.
static RESIDENT: Mutex<Vec<(AdapterInfo, u32)>> = Mutex::new(Vec::new());

/// Whether workgroups of an open device, or one that was, have waited in vain, by adapter.
static STALLED: Mutex<Vec<(AdapterInfo, Arc<AtomicBool>)>> = Mutex::new(Vec::new());

/// How often in a row workgroups must meet: where the threads that run them are given out by turns, they may by chance.
const TRIES: usize = 8;

/// The GPU that `choice` means, after its self-checks, that of training among them where it `trains`; `None` where
/// `Choice::Auto` finds none of its rank.
///
/// # Errors
///
/// Those of [`open`] and [`self_checks`]; kind `Device`, where the device computes wrong numbers in steps, or in training: the
/// other strategies are optional.
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

/// The strategy that plans for `gpu` are held to: the one that is asked for, steps where another one failed its
/// self-check, and none where all is well or nothing was checked.
///
/// # Errors
///
/// Kind `Device`, where the one that is asked for failed.
pub(super) fn sound(gpu: &Gpu, asked: Option<Strategy>) -> Result<Option<Strategy>> {
    let checked = lock(&CHECKED);
    held_to(checked.iter().filter(|(known, _)| known == gpu.info()).map(|(_, check)| check), asked)
}

fn held_to<'a>(checks: impl Iterator<Item = &'a SelfCheck>, asked: Option<Strategy>) -> Result<Option<Strategy>> {
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

/// The GPU that `choice` means, which another engine may have opened; `None` where `Choice::Auto` finds none of its
/// rank. Two threads that ask for a new one at the same time both open it.
///
/// # Errors
///
/// Kind `Device`: none has the name asked for, or the driver refuses.
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
    // What is gone and never stalled is not worth remembering.
    stalled.retain(|(_, stalled)| Arc::strong_count(stalled) > 1 || stalled.load(Ordering::Relaxed));
    stalled.push((gpu.info().clone(), gpu.stalled()));
    Ok(Some(gpu))
}

/// What the self-checks of `all` show on `gpu`: done now, where none of this process did it.
///
/// # Errors
///
/// Those of [`Gpu::add`] and [`Gpu::trace`]: a check that could not be done is no verdict, and is not remembered.
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

/// What a known answer shows.
enum Shown {
    /// What it should be.
    Right,
    /// Workgroups that waited for each other in vain.
    InVain,
    /// Something else, in words.
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

/// That of layers that workgroups share, after a look at how many of them run side by side.
async fn fault_of_sharing(gpu: &Gpu) -> Result<Option<String>> {
    let strategy = Strategy::Persistent;
    let (resident, met) = count_resident(gpu).await?;
    let mut limits = Limits { resident_workgroups: resident, ..gpu.limits() };
    let mut shown = match met {
        Shown::Wrong(_) => met,
        Shown::Right | Shown::InVain => known_answer(gpu, strategy, &limits).await?,
    };
    if resident > 1 && matches!(shown, Shown::InVain) {
        // They have met, and then they have not: nobody is to wait on this device.
        limits.resident_workgroups = 1;
        shown = known_answer(gpu, strategy, &limits).await?;
    }
    let resident = limits.resident_workgroups;
    match resident {
        1 => log::warn!(
            "{}: no two workgroups of a dispatch are sure to run side by side: `persistent` gives each layer to one, as \
             `scan` does",
            gpu.info()
        ),
        _ => log::info!("{}: {resident} workgroups of a dispatch run side by side", gpu.info()),
    }
    lock(&RESIDENT).push((gpu.info().clone(), resident));
    Ok(shown.fault(gpu))
}

impl Shown {
    fn fault(self, gpu: &Gpu) -> Option<String> {
        match self {
            Self::Right => None,
            Self::InVain => Some(gpu.in_vain().to_string()),
            Self::Wrong(text) => Some(text),
        }
    }
}

async fn known_answer(gpu: &Gpu, strategy: Strategy, limits: &Limits) -> Result<Shown> {
    show(gpu, &KnownAnswer::of(strategy, target(gpu), limits)?).await
}

/// How many workgroups, up to [`MOST_RESIDENT`], are known to run side by side on `gpu`: 1 where nobody looked, where none
/// were seen to, and where some have waited in vain since.
pub(super) fn resident(gpu: &Gpu) -> u32 {
    let of = |known: &AdapterInfo| known == gpu.info();
    if lock(&STALLED).iter().any(|(known, stalled)| of(known) && stalled.load(Ordering::Relaxed)) {
        return 1;
    }
    let known = lock(&RESIDENT).iter().find(|(known, _)| of(known)).map(|(_, resident)| *resident);
    known.unwrap_or(Limits::WEBGPU.resident_workgroups)
}

/// Looks: twice as many workgroups each time, until some wait in vain, or give wrong numbers. With what they showed last.
async fn count_resident(gpu: &Gpu) -> Result<(u32, Shown)> {
    let (mut resident, mut shown) = (1, Shown::Right);
    // A browser ends what waits.
    while resident < MOST_RESIDENT && !cfg!(target_arch = "wasm32") {
        let limits = Limits { resident_workgroups: 2 * resident, ..gpu.limits() };
        shown = meet(gpu, &KnownAnswer::of_meeting(target(gpu), &limits)?).await?;
        if !matches!(shown, Shown::Right) {
            break;
        }
        resident *= 2;
    }
    Ok((resident, shown))
}

/// What `gpu` makes of `answer` again and again, up to the first time that is not right.
async fn meet(gpu: &Gpu, answer: &KnownAnswer) -> Result<Shown> {
    for _ in 0..TRIES {
        match show(gpu, answer).await? {
            Shown::Right => {}
            shown => return Ok(shown),
        }
    }
    Ok(Shown::Right)
}

/// What `gpu` makes of `answer`.
async fn show(gpu: &Gpu, answer: &KnownAnswer) -> Result<Shown> {
    let mut loaded = Loaded::default();
    for (index, buffer) in answer.packed.buffers.iter().enumerate() {
        gpu.add(&mut loaded, buffer.clone(), answer.layout.medium_of(index)).await?;
    }
    let got = gpu.trace(&loaded, &answer.plan, &mut Listed::of(&answer.plan, &answer.feeds)?).await?;
    Ok(got.map_or(Shown::InVain, |got| answer.fault(&got).map_or(Shown::Right, Shown::Wrong)))
}

/// What plans for `gpu` are to be made for.
pub(super) fn target(gpu: &Gpu) -> Target {
    match gpu.info().kind {
        AdapterKind::Software => Target::Software,
        AdapterKind::Discrete | AdapterKind::Integrated | AdapterKind::Virtual | AdapterKind::Other => Target::Gpu,
    }
}

/// Locks `mutex`: entries go in whole or not at all, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// wgpu's validator computes nothing: the self-check must find it out.
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
        // It runs models all the same, as far as this check goes.
        assert_eq!(held_to(checks.iter(), None).unwrap(), None);
    }

    #[test]
    fn a_strategy_that_failed_its_self_check_is_not_used() {
        let check = |strategy, fault: Option<&str>| SelfCheck {
            adapter: "Voodoo".to_owned(),
            checked: Checked::Running(strategy),
            fault: fault.map(str::to_owned),
        };
        let all = [check(Strategy::Step, None), check(Strategy::Diagonal, None)];
        let some = [check(Strategy::Step, None), check(Strategy::Diagonal, Some("slot 0.output.0 [0]: a fault"))];
        for asked in [None, Some(Strategy::Step), Some(Strategy::Diagonal)] {
            assert_eq!(held_to(all.iter(), asked).unwrap(), asked);
        }
        assert_eq!(held_to(some.iter(), None).unwrap(), Some(Strategy::Step));
        assert_eq!(held_to(some.iter(), Some(Strategy::Step)).unwrap(), Some(Strategy::Step));
        let error = held_to(some.iter(), Some(Strategy::Diagonal)).unwrap_err();
        assert!(error.to_string().starts_with("Voodoo: self-check of diagonal: slot 0.output.0"), "{error}");
    }

    #[test]
    fn a_device_that_scans_wrongly_on_the_way_back_goes_by_steps() {
        let check = SelfCheck {
            adapter: "Voodoo".to_owned(),
            checked: Checked::TrainingByScans,
            fault: Some("a fault".to_owned()),
        };
        assert_eq!(held_to([&check].into_iter(), None).unwrap(), Some(Strategy::Step));
        assert_eq!(held_to([&check].into_iter(), Some(Strategy::Step)).unwrap(), Some(Strategy::Step));
        let error = held_to([&check].into_iter(), Some(Strategy::Scan)).unwrap_err();
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
