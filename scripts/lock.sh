#!/bin/sh
# Writes requirements/DISTRO.lock from pyproject.toml and requirements/DISTRO.in, one lock for all
# supported versions of Python. Needs uv: the one on PATH, or one installed under build/.
#
#   scripts/lock.sh kilted jazzy
set -eu
cd "$(dirname "$0")/.."

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    uv=build/uv/bin/uv
    if ! [ -x "$uv" ]; then
        echo "installing uv in build/uv ..."
        "${PYTHON:-python3}" -m venv build/uv
        build/uv/bin/pip install --quiet uv
    fi
fi

for distro in "$@"; do
    partial="requirements/$distro.lock.partial"
    trap 'rm -f "$partial"' EXIT
    # An existing lock is the starting point, so that only what must change does.
    # `make lock UPGRADE=1` takes the newest versions.
    if [ -z "${UPGRADE:-}" ] && [ -e "requirements/$distro.lock" ]; then
        cp "requirements/$distro.lock" "$partial"
    fi
    UV_PYTHON_DOWNLOADS=never "$uv" pip compile --quiet --universal --python-version 3.10 \
        --custom-compile-command "make lock" --no-annotate ${UPGRADE:+--upgrade} \
        --extra viewer --extra test --extra lint \
        pyproject.toml "requirements/$distro.in" --output-file "$partial" >/dev/null
    # pyproject.toml limits the resolution to Linux and Python < 3.14; said on each line it is noise.
    sed -e "s/ and sys_platform == 'linux'//; s/python_full_version < '3.14' and //" \
        -e "s/ and python_full_version < '3.14'//; s/ ; python_full_version < '3.14'\$//" \
        -e "s/ ; sys_platform == 'linux'\$//" "$partial" >"requirements/$distro.lock"
    rm -f "$partial"
    echo "requirements/$distro.lock: $(grep -c == "requirements/$distro.lock") packages"
done
