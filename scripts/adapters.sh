# Where the two software adapters of the tests are. Sourced by setup.sh and test.sh.
#
# Both are Vulkan drivers that run on the CPU: lavapipe (Mesa, "llvmpipe") and SwiftShader, which Chromium ships.

# Prints the first of its arguments that is a file.
first_file() {
    local file
    for file in "$@"; do
        if [ -f "$file" ]; then
            printf '%s\n' "$file"
            return 0
        fi
    done
    return 1
}

# The driver file of lavapipe. GATEWAVE_LAVAPIPE_ICD names it where it stands elsewhere.
lavapipe_icd() {
    first_file "${GATEWAVE_LAVAPIPE_ICD:-}" \
        /usr/share/vulkan/icd.d/lvp_icd."$(uname -m)".json \
        /usr/share/vulkan/icd.d/lvp_icd*.json
}

# The driver file of SwiftShader. GATEWAVE_SWIFTSHADER_ICD names it where it stands elsewhere.
swiftshader_icd() {
    first_file "${GATEWAVE_SWIFTSHADER_ICD:-}" \
        /usr/lib/chromium/vk_swiftshader_icd.json \
        /opt/google/chrome/vk_swiftshader_icd.json \
        /usr/lib64/chromium-browser/vk_swiftshader_icd.json
}

# Whether the Vulkan loader is there.
vulkan_loader() {
    /sbin/ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'
}

# Runs a command on one adapter alone: on_adapter DRIVER_FILE NAME COMMAND…
# Loaders before 1.3.207 read VK_ICD_FILENAMES, later ones VK_DRIVER_FILES. NODEVICE_SELECT keeps out a layer of Mesa's
# that looks for a display, and complains where there is none.
on_adapter() {
    local icd=$1 name=$2
    shift 2
    NODEVICE_SELECT=1 VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd GATEWAVE_ADAPTER=$name "$@"
}
