//! The adapters of this machine as plain data, and the one that a caller's choice means.
//!
//! This comes before any device is opened. Choosing is pure, so that tests
//! need no driver; only `find` asks wgpu. Knows only `Limits` of a plan.

use super::info::{AdapterInfo, AdapterKind, Choice};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Limits;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

/// An adapter of wgpu, and our description of it.
pub(super) struct Found {
    pub(super) adapter: wgpu::Adapter,
    pub(super) info: AdapterInfo,
}

/// Returns every adapter that wgpu sees, each name through only one backend.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters() -> Vec<AdapterInfo> {
    block_on(find(&Choice::Auto { rank: 0 })).into_iter().map(|found| found.info).collect()
}

/// Lists the adapters in words.
pub(crate) async fn listed() -> String {
    let found = find(&Choice::Auto { rank: 0 }).await;
    list(&found.iter().map(|found| &found.info).collect::<Vec<_>>())
}

/// Returns the adapter that `choice` means, or `None` if `Choice::Auto` or `Choice::Gpu` finds no GPU of its rank.
///
/// # Errors
///
/// Returns an error of kind `Device` if no adapter has the name that was asked for.
pub(super) async fn choose(choice: &Choice) -> Result<Option<Found>> {
    let mut found = find(choice).await;
    let infos: Vec<_> = found.iter().map(|found| &found.info).collect();
    let picked = pick(choice, &infos)?;
    match picked {
        Some(index) => log::info!("adapter {}: chosen by {choice:?}", infos[index]),
        None => log::info!("adapter: none for {choice:?} among {}", list(&infos)),
    }
    Ok(picked.map(|index| found.swap_remove(index)))
}

/// Asks wgpu for adapters: for the noop adapter if the choice is `Choice::Noop`, else for the real ones.
async fn find(choice: &Choice) -> Vec<Found> {
    let backends = match choice {
        Choice::Noop => wgpu::Backends::NOOP,
        Choice::Auto { .. } | Choice::Gpu { .. } | Choice::Named(_) => {
            wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12 | wgpu::Backends::BROWSER_WEBGPU
        }
    };
    let mut instance = wgpu::InstanceDescriptor::new_without_display_handle();
    instance.backends = backends;
    instance.flags = wgpu::InstanceFlags::empty().with_env();
    instance.backend_options.noop = wgpu::NoopBackendOptions {
        enable: *choice == Choice::Noop,
        limits: Some(wgpu::Limits::default()),
        ..Default::default()
    };
    let mut found: Vec<Found> = Vec::new();
    for adapter in wgpu::Instance::new(instance).enumerate_adapters(backends).await {
        let info = describe(&adapter);
        if !found.iter().any(|other| same_on_another_backend(&other.info, &info)) {
            found.push(Found { adapter, info });
        }
    }
    found
}

fn describe(adapter: &wgpu::Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let limits = limits(&adapter.limits(), adapter.features(), &info);
    AdapterInfo {
        name: info.name,
        driver: info.driver,
        driver_info: info.driver_info,
        backend: match info.backend {
            wgpu::Backend::Noop => "noop",
            wgpu::Backend::Vulkan => "Vulkan",
            wgpu::Backend::Metal => "Metal",
            wgpu::Backend::Dx12 => "DX12",
            wgpu::Backend::Gl => "GL",
            wgpu::Backend::BrowserWebGpu => "WebGPU",
        },
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
        },
        limits,
        timestamps: adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY),
    }
}

/// Returns wgpu's limits as a plan's.
///
/// wgpu has no limit of loop iterations. Ours is the same for all drivers,
/// though only some fail past it. So no list of such drivers is needed.
pub(super) fn limits(limits: &wgpu::Limits, features: wgpu::Features, info: &wgpu::AdapterInfo) -> Limits {
    let subgroups = features.contains(wgpu::Features::SUBGROUP);
    Limits {
        binding_bytes: limits.max_storage_buffer_binding_size,
        buffer_bytes: limits.max_buffer_size,
        workgroups: limits.max_compute_workgroups_per_dimension,
        invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        loop_iterations: Limits::WEBGPU.loop_iterations,
        // No interface reports this: the self-check of the strategy that needs it measures it.
        co_resident_workgroups: Limits::WEBGPU.co_resident_workgroups,
        subgroup_lanes: if subgroups { info.subgroup_min_size } else { 1 },
    }
}

/// Whether both are one GPU, seen through two backends. Two GPUs with one name on one backend are two.
fn same_on_another_backend(a: &AdapterInfo, b: &AdapterInfo) -> bool {
    a.name == b.name && a.kind == b.kind && a.backend != b.backend
}

/// Returns the index of the adapter that `choice` means.
fn pick(choice: &Choice, infos: &[&AdapterInfo]) -> Result<Option<usize>> {
    match choice {
        Choice::Auto { rank } => Ok(best(infos, is_gpu).get(*rank).copied()),
        Choice::Gpu { rank } => Ok(best(infos, |info| info.kind != AdapterKind::Software).get(*rank).copied()),
        Choice::Noop => Ok((!infos.is_empty()).then_some(0)),
        Choice::Named(name) => {
            let wanted = name.to_lowercase();
            let names: Vec<_> = infos.iter().map(|info| info.name.to_lowercase()).collect();
            let fits = (0..infos.len()).filter(|&index| names[index].contains(&wanted));
            match fits.min_by_key(|&index| (names[index] != wanted, infos[index].kind)) {
                Some(index) => Ok(Some(index)),
                None => Err(Error::new(
                    ErrorKind::Device,
                    format!(
                        "device `{name}`: no adapter has this in its name; there is {}; `cpu` always works",
                        list(infos)
                    ),
                )),
            }
        }
    }
}

/// Returns the indices of the adapters that `may_be` accepts, best first.
fn best(infos: &[&AdapterInfo], may_be: impl Fn(&AdapterInfo) -> bool) -> Vec<usize> {
    let mut gpus: Vec<_> = (0..infos.len()).filter(|&index| may_be(infos[index])).collect();
    gpus.sort_by_key(|&index| infos[index].kind);
    gpus
}

/// Whether `Choice::Auto` may take the adapter. A browser does
/// not say what its adapters are, only whether one is software.
fn is_gpu(info: &AdapterInfo) -> bool {
    match info.kind {
        AdapterKind::Discrete | AdapterKind::Integrated => true,
        AdapterKind::Other => info.backend == "WebGPU",
        AdapterKind::Virtual | AdapterKind::Software => false,
    }
}

fn list(infos: &[&AdapterInfo]) -> String {
    if infos.is_empty() {
        return "none (is a Vulkan, Metal or DX12 driver installed?)".to_owned();
    }
    infos.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, backend: &'static str, kind: AdapterKind) -> AdapterInfo {
        AdapterInfo {
            name: name.to_owned(),
            driver: "a driver".to_owned(),
            driver_info: String::new(),
            backend,
            kind,
            limits: Limits::WEBGPU,
            timestamps: false,
        }
    }

    fn named(name: &str) -> Choice {
        Choice::Named(name.to_owned())
    }

    #[test]
    fn auto_takes_a_discrete_then_an_integrated_gpu_and_never_software() {
        let software = info("llvmpipe", "Vulkan", AdapterKind::Software);
        let integrated = info("Iris", "Vulkan", AdapterKind::Integrated);
        let discrete = info("Arc", "Vulkan", AdapterKind::Discrete);
        let auto = |infos: &[&AdapterInfo]| pick(&Choice::Auto { rank: 0 }, infos).unwrap();
        assert_eq!(auto(&[&software, &integrated, &discrete]), Some(2));
        assert_eq!(auto(&[&software, &integrated]), Some(1));
        assert_eq!(auto(&[&software]), None);
        assert_eq!(auto(&[]), None);
    }

    #[test]
    fn gpu_takes_what_auto_takes_then_any_other_and_never_software() {
        let infos = [
            info("llvmpipe", "Vulkan", AdapterKind::Software),
            info("virtio", "Vulkan", AdapterKind::Virtual),
            info("Arc", "Vulkan", AdapterKind::Discrete),
        ];
        let infos: Vec<_> = infos.iter().collect();
        let ranks = [0, 1, 2].map(|rank| pick(&Choice::Gpu { rank }, &infos).unwrap());
        assert_eq!(ranks, [Some(2), Some(1), None]);
        assert_eq!(pick(&Choice::Auto { rank: 1 }, &infos).unwrap(), None);
    }

    #[test]
    fn auto_goes_on_to_the_next_gpu_and_then_has_none() {
        let infos = [
            info("Iris", "Vulkan", AdapterKind::Integrated),
            info("llvmpipe", "Vulkan", AdapterKind::Software),
            info("Arc", "Vulkan", AdapterKind::Discrete),
        ];
        let infos: Vec<_> = infos.iter().collect();
        let ranks = [0, 1, 2].map(|rank| pick(&Choice::Auto { rank }, &infos).unwrap());
        assert_eq!(ranks, [Some(2), Some(0), None]);
    }

    #[test]
    fn a_whole_name_wins_over_a_better_adapter_that_has_it_in_its_name() {
        let whole = info("Arc", "Vulkan", AdapterKind::Integrated);
        let longer = info("Arc Pro", "Vulkan", AdapterKind::Discrete);
        assert_eq!(pick(&named("arc"), &[&longer, &whole]).unwrap(), Some(1));
        assert_eq!(pick(&named("ar"), &[&longer, &whole]).unwrap(), Some(0));
    }

    #[test]
    fn auto_trusts_a_browser_that_does_not_say_what_its_adapter_is() {
        assert_eq!(pick(&Choice::Auto { rank: 0 }, &[&info("", "WebGPU", AdapterKind::Other)]).unwrap(), Some(0));
        assert_eq!(pick(&Choice::Auto { rank: 0 }, &[&info("?", "Vulkan", AdapterKind::Other)]).unwrap(), None);
    }

    #[test]
    fn a_name_matches_in_any_case_and_the_better_of_two_wins() {
        let software = info("llvmpipe (LLVM 15)", "Vulkan", AdapterKind::Software);
        let small = info("NVIDIA T400", "Vulkan", AdapterKind::Integrated);
        let large = info("NVIDIA H100", "Vulkan", AdapterKind::Discrete);
        let infos = [&software, &small, &large];
        assert_eq!(pick(&named("LLVMpipe"), &infos).unwrap(), Some(0));
        assert_eq!(pick(&named("nvidia"), &infos).unwrap(), Some(2));
        assert_eq!(pick(&named("t400"), &infos).unwrap(), Some(1));
    }

    #[test]
    fn a_name_that_matches_nothing_lists_what_there_is() {
        let software = info("llvmpipe", "Vulkan", AdapterKind::Software);
        let error = pick(&named("voodoo"), &[&software]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert_eq!(
            error.to_string(),
            "device `voodoo`: no adapter has this in its name; there is llvmpipe [Vulkan, software, a driver]; \
             `cpu` always works"
        );
        assert_eq!(
            pick(&named("voodoo"), &[]).unwrap_err().to_string(),
            "device `voodoo`: no adapter has this in its name; there is none (is a Vulkan, Metal or DX12 driver \
             installed?); `cpu` always works"
        );
    }

    #[test]
    fn one_gpu_on_two_backends_is_listed_once_and_two_alike_twice() {
        let vulkan = info("Arc", "Vulkan", AdapterKind::Discrete);
        assert!(same_on_another_backend(&vulkan, &info("Arc", "DX12", AdapterKind::Discrete)));
        assert!(!same_on_another_backend(&vulkan, &info("Arc", "Vulkan", AdapterKind::Discrete)));
        assert!(!same_on_another_backend(&vulkan, &info("Iris", "DX12", AdapterKind::Discrete)));
    }
}
