#!/bin/sh
# Says in one sentence each what this machine lacks to install safevla_ros, and how to get it.
# Exits with 1 if anything is missing.
#
#   scripts/preflight.sh PYTHON VENV
set -u

python=${1:-python3}
venv=${2:-.venv}
faults=0
packages=

fault() {
    faults=$((faults + 1))
    printf 'safevla_ros: %s\n' "$1" >&2
}

lacks() {    # what is missing, the Debian package that holds it
    fault "$1"
    packages="$packages $2"
}

case "$(uname -s) $(uname -m)" in
    "Linux x86_64") ;;
    *) fault "ROS 2 as Python wheels exists for Linux on x86-64, and this is $(uname -s) on $(uname -m); install ROS 2 itself and build with colcon (see README.md)." ;;
esac

command -v g++ >/dev/null 2>&1 || lacks "the C++ compiler g++ is missing." g++
command -v make >/dev/null 2>&1 || lacks "make is missing." make

if ! command -v cmake >/dev/null 2>&1; then
    lacks "cmake is missing (3.20 or newer is needed)." cmake
else
    found=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
    major=${found%%.*}
    minor=${found#*.}
    minor=${minor%%.*}
    if [ "$major" -lt 3 ] || { [ "$major" -eq 3 ] && [ "$minor" -lt 20 ]; }; then
        fault "cmake 3.20 or newer is needed, and this is $found; a newer one: $python -m pip install cmake."
    fi
fi

if ! command -v "$python" >/dev/null 2>&1; then
    lacks "the Python interpreter '$python' is missing (3.10 to 3.13 is needed)." "python3 python3-venv python3-dev"
elif ! found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
    fault "'$python' does not run; name another interpreter: make PYTHON=/path/to/python3."
else
    case $found in
        3.10 | 3.11 | 3.12 | 3.13)
            "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                lacks "Python $found cannot make virtual environments (the modules venv and ensurepip)." "python$found-venv"
            "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
                lacks "the headers of Python $found (Python.h) are missing." "python$found-dev"
            ;;
        *)
            fault "Python 3.10 to 3.13 is needed, and '$python' is $found; name another one: make PYTHON=python3.12."
            ;;
    esac
fi

# The environment takes 1.7 GB, the downloads' cache another 0.5.
if ! [ -e "$venv/.safevla/dependencies" ]; then
    parent=$(dirname "$venv")
    free_mb=$(df -Pm "$parent" 2>/dev/null | awk 'NR == 2 { print $4 }')
    if [ -n "$free_mb" ] && [ "$free_mb" -lt 2500 ]; then
        fault "2500 MB of free disk space are needed in $(cd "$parent" && pwd), and there are $free_mb; another folder: make VENV=/path/to/folder."
    fi
fi

if [ -n "$packages" ]; then
    printf 'safevla_ros: on Debian and Ubuntu: sudo apt-get install%s\n' "$packages" >&2
fi
[ "$faults" -eq 0 ]
