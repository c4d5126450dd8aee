#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine able to run the tests: installs the Vulkan loader and two software adapters,
# only what is missing. Does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/adapters.sh

missing=()
vulkan_loader || missing+=(libvulkan1)
lavapipe_icd >/dev/null || missing+=(mesa-vulkan-drivers)
# chromium-common holds SwiftShader without the browser.
swiftshader_icd >/dev/null || missing+=(chromium-common)

if [ "${#missing[@]}" -eq 0 ]; then
    echo "setup: the Vulkan loader, lavapipe and SwiftShader are there"
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    cat >&2 <<'HELP'
setup: this is no Debian or Ubuntu; install by its own means
  - the Vulkan loader (libvulkan.so.1)
  - Mesa's lavapipe    (Fedora: mesa-vulkan-drivers, Arch: vulkan-swrast)
  - SwiftShader, which Chromium and Chrome ship beside their binary as vk_swiftshader_icd.json
and, where a driver file stands elsewhere than on Debian, name it in GATEWAVE_LAVAPIPE_ICD and GATEWAVE_SWIFTSHADER_ICD.
Without a software adapter, on macOS or Windows say: GATEWAVE_ADAPTER=<part of your GPU's name> cargo test --release
HELP
    exit 1
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "setup: not root and no sudo; as root, run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
}

echo "setup: installing ${missing[*]}"
as_root apt-get update -q
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" || {
    echo "setup: apt-get could not install ${missing[*]}" >&2
    echo "setup: Ubuntu has no chromium-common; install Google Chrome, or name a vk_swiftshader_icd.json in GATEWAVE_SWIFTSHADER_ICD" >&2
    exit 1
}

lavapipe_icd >/dev/null || { echo "setup: lavapipe's driver file did not appear" >&2; exit 1; }
swiftshader_icd >/dev/null || { echo "setup: SwiftShader's driver file did not appear" >&2; exit 1; }
echo "setup: done"
