#!/usr/bin/env bash
# Exactness on processors that are not at hand, by user-mode QEMU: x86-64 without AVX-512 and VNNI (Haswell), without
# AVX (Nehalem), and 64-bit ARM. Streams are made on each and read on each; the table goes to standard output and to
# FOLDER/table.md, the exit code is 1 where a symbol differs or pixels leave the tolerance.
#
#     tests/emulated/run.sh FOLDER          a path without blanks; needs Debian or a relative, and: apt install qemu-user-static
#
# PYTHON: an x86-64 Python 3.11 with `pip install '.[dev]'`, by default python3.11. MIRROR: where Debian's arm64
# packages come from. FOLDER is kept: steps whose result lies there already are not done again.
set -euo pipefail
if [ $# -ne 1 ]; then sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
mkdir -p "$1"
work=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/../.." && pwd)
python=$(command -v "${PYTHON:-python3.11}")
mirror=${MIRROR:-http://deb.debian.org/debian}
suite=bookworm # whose Python is 3.11
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

for tool in qemu-x86_64-static qemu-aarch64-static apt-get dpkg; do
    command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 2; }
done

# The package itself is plain Python: one wheel, unpacked, serves every processor.
if [ ! -d "$work/package/nacre" ]; then
    "$python" -m pip wheel -q --disable-pip-version-check --no-deps -w "$work/wheel" "$source"
    "$python" -m zipfile -e "$work"/wheel/nacre-*.whl "$work/package"
fi

# Debian's arm64 Python, unpacked beside this system, and the aarch64 wheels of the versions that run here.
root=$work/arm64
if [ ! -x "$root/usr/bin/python3.11" ]; then
    state=$work/apt
    mkdir -p "$state"/lists/partial "$state"/cache/archives/partial
    : >"$state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$state/sources.list"
    options=(-q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$state"
        -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache"
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null)
    apt-get "${options[@]}" update >&2
    apt-get "${options[@]}" -y --no-install-recommends --download-only install \
        python3.11-minimal libpython3.11-stdlib libstdc++6 >&2
    for package in "$state"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
    # ONNX Runtime looks at the processor when it is imported, and crashes where an ARM finds the description of this
    # one. QEMU gives it these files instead, which describe one core of a Cortex-A72.
    mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
    for list in possible present; do echo 0 >"$root/sys/devices/system/cpu/$list"; done
    printf '%s\n' 'processor : 0' 'BogoMIPS : 50.00' 'Features : fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid' \
        'CPU implementer : 0x41' 'CPU architecture: 8' 'CPU variant : 0x0' 'CPU part : 0xd08' 'CPU revision : 3' '' \
        >"$root/proc/cpuinfo"
fi
if [ ! -d "$work/arm64-packages/onnxruntime" ]; then
    read -ra wanted < <("$python" -c '
from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "pillow")))')
    "$python" -m pip install -q --disable-pip-version-check --target "$work/arm64-packages" --only-binary=:all: \
        --implementation cp --python-version 3.11 --platform manylinux_2_28_aarch64 \
        --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        "${wanted[@]}"
fi

# on MACHINE ARGUMENTS...: the tool on that machine.
on() {
    local machine=$1
    shift
    local tool=(-W ignore -m nacre.tools.exactness "$@" --machine "$machine")
    case $machine in
    native) PYTHONPATH=$work/package "$python" "${tool[@]}" ;;
    haswell | nehalem)
        PYTHONPATH=$work/package qemu-x86_64-static -cpu "${machine^}" "$python" "${tool[@]}" \
            2> >(grep -v "TCG doesn't support" >&2)
        ;;
    arm64)
        PYTHONPATH=$work/package:$work/arm64-packages \
            qemu-aarch64-static -cpu cortex-a72 -L "$root" "$root/usr/bin/python3.11" "${tool[@]}"
        ;;
    esac
}

# step KIND ROWS MACHINE ENVIRONMENT [OPTIONS]: make or read the streams of a folder, unless the report lies there.
step() {
    local kind=$1 rows=$2 machine=$3 environment=$4 reports=made
    shift 4
    if [ "$kind" = read ]; then reports=read; fi
    if [ ! -f "$rows/$reports/$machine--$environment.json" ]; then
        on "$machine" "$kind" "$rows" --environment "$environment" --weights "$source/weights/fast" "$@"
    fi
}

# together COMMAND...: the commands at the same time, each a line of words; fails where one of them does.
together() {
    local command pids=()
    for command in "$@"; do
        $command &
        pids+=($!)
    done
    for command in "${pids[@]}"; do wait "$command"; done
}

rows=$work/rows
large=$work/large
for set in rows large; do
    if [ ! -f "$work/$set/cases.json" ]; then
        PYTHONPATH=$work/package "$python" -m nacre.tools.exactness pictures "$work/$set" --set "${set/rows/emulated}"
    fi
done
golden="--weights $source/tests/data/tiny --golden $source/tests/data/golden"
# What comes first is what the others are compared with. On ARM the coder is the plain-Python one. What takes longest is
# left out under emulation: making large pictures, and the pixels of all but small ones, which do not depend on what
# runs the scale network either.
step make "$rows" native onnxruntime-1-all
together "step make $rows haswell onnxruntime-1-all --largest 400000" \
    "step make $rows nehalem onnxruntime-1-all --largest 400000" \
    "step make $rows arm64 onnxruntime-python --largest 400000"
step read "$rows" native onnxruntime-1-all $golden
together "step read $rows haswell onnxruntime-1-all --largest 100000 $golden" \
    "step read $rows haswell numpy-python --largest 0 $golden" \
    "step read $rows nehalem onnxruntime-1-all --largest 100000 $golden" \
    "step read $rows nehalem numpy-python --largest 0 $golden" \
    "step read $rows arm64 onnxruntime-python --largest 100000 $golden" \
    "step read $rows arm64 numpy-python --largest 0 $golden"
step read "$rows" native numpy-python $golden
step make "$large" native onnxruntime-1-all
step read "$large" native onnxruntime-1-all --largest 0
together "step read $large haswell onnxruntime-1-all --largest 0" \
    "step read $large nehalem onnxruntime-1-all --largest 0" "step read $large arm64 onnxruntime-python --largest 0"
PYTHONPATH=$work/package "$python" -m nacre.tools.exactness table "$rows" "$large" | tee "$work/table.md"
exit "${PIPESTATUS[0]}"
