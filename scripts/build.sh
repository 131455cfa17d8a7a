#!/bin/sh
# Brings the virtual environment VENV up to date: the packages that requirements/DISTRO.lock pins,
# ROS 2 among them, then this package's messages, Python sources and data. Does only what has
# changed, can be interrupted at any moment, and lets one of several calls at once do the work.
#
#   scripts/build.sh VENV DISTRO [PYTHON]
set -eu

venv=$1
distro=$2
python=${3:-python3}
cd "$(dirname "$0")/.."
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
build=build/$distro
lock=requirements/$distro.lock
log=$build/log.txt
stamps=$venv/.safevla

if ! [ -e "$lock" ]; then
    echo "safevla_ros: DISTRO=$distro: expected one of" \
        "$(cd requirements && echo *.lock | sed 's/\.lock//g')" >&2
    exit 1
fi

if [ -z "${SAFEVLA_BUILD_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
    mkdir -p "$build"
    export SAFEVLA_BUILD_LOCKED=1
    flock --nonblock "$build.lock" true || echo "waiting for another build in this folder ..."
    # Closed in children, so that a process that outlives the build does not keep the lock.
    exec flock --close "$build.lock" "$0" "$venv" "$distro" "$python"
fi
unset SAFEVLA_BUILD_LOCKED

# Other installations of ROS 2 must not be found in the place of this one.
unset PYTHONPATH PYTHONHOME COLCON_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH || true
unset ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION || true
export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"

quietly() {    # runs a command; its output is shown only if it fails
    mkdir -p "$build"
    if ! "$@" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "safevla_ros: this failed: $*; all of its output: $log" >&2
        exit 1
    fi
}

changed() {    # changed STAMP PATH...: is a path newer than the stamp, or the stamp missing?
    stamp=$1
    shift
    [ -e "$stamp" ] || return 0
    for path in "$@"; do
        [ -e "$path" ] || continue
        [ -z "$(find "$path" -newer "$stamp" ! -name __pycache__ ! -name '*.pyc' -print -quit)" ] || return 0
    done
    return 1
}

begin() { mkdir -p "$stamps" && : >"$stamps/$1.begun"; }    # before reading the sources
finish() { mv "$stamps/$1.begun" "$stamps/$1"; }            # keeps the time of begin

# 1. The packages.
wanted=$(cksum <"$lock")
if ! [ -x "$venv/bin/python3" ] || [ "$(cat "$stamps/dependencies" 2>/dev/null)" != "$wanted" ]; then
    scripts/preflight.sh "$python" "$venv"
    rm -f "$stamps/dependencies"
    # pip writes INSTALLER when all else of a package is there: without it, a package is not.
    if ! [ -x "$venv/bin/python3" ] || ! ls "$venv"/lib/python3*/site-packages/pip-*.dist-info/INSTALLER >/dev/null 2>&1; then
        echo "creating $venv ..."
        quietly "$python" -m venv --clear "$venv"
    fi
    for information in "$venv"/lib/python3*/site-packages/*.dist-info; do
        [ -e "$information/INSTALLER" ] || rm -rf "$information"
    done
    echo "installing $(grep -c == "$lock") packages, ROS 2 $distro among them (about 1.7 GB; minutes) ..."
    quietly "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check \
        --no-input --retries 10 --no-compile --requirement "$lock"
    quietly "$venv/bin/python3" scripts/relocate_wheels.py
    # pip compiles on one core, this on all, and leaves out the packages' own tests. Some packages
    # hold files that no Python 3 compiles.
    "$venv/bin/python3" -m compileall -q -j 0 -x '/tests?/' "$venv/lib" >"$log" 2>&1 || true
    mkdir -p "$stamps"
    echo "$wanted" >"$stamps/dependencies"
fi

# 2. The messages, in C++ and Python.
if changed "$stamps/interfaces" "$stamps/dependencies" \
    CMakeLists.txt package.xml cmake msg srv action; then
    scripts/preflight.sh "$python" "$venv"
    echo "building the messages ..."
    # An interrupted build may have left half a file, and one for another environment is of no use.
    if [ -e "$stamps/interfaces.begun" ] ||
        ! grep -qsx "CMAKE_INSTALL_PREFIX:PATH=$venv" "$build/CMakeCache.txt"; then
        rm -rf "$build"
    fi
    begin interfaces
    begin sources
    quietly cmake -S . -B "$build" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=0 \
        -DCMAKE_INSTALL_PREFIX="$venv" -DPython3_EXECUTABLE="$venv/bin/python3" -DBUILD_TESTING=OFF
    quietly cmake --build "$build" --parallel "$(nproc 2>/dev/null || echo 2)"
    quietly cmake --install "$build"
    finish interfaces
    finish sources
fi

# 3. Python sources and data.
if changed "$stamps/sources" safevla_ros config launch policies sim; then
    begin sources
    quietly cmake --install "$build" --component safevla_sources
    finish sources
fi
