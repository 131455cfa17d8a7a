#!/bin/sh
# Adds what training needs to the virtual environment VENV; does nothing when it is there.
#
#   scripts/train_deps.sh VENV DISTRO [INDEX]
#
# INDEX: an index of packages to look for torch in beside pip's own, such as that of its CPU builds.
set -eu

venv=$1
distro=$2
index=${3:-}
cd "$(dirname "$0")/.."
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
stamp=$venv/.safevla/train
wanted=$(cat requirements/train.txt "requirements/$distro.lock" | cksum)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

echo "installing torch, Ray and what goes with them (0.3 GB, or 3 with CUDA; minutes) ..."
rm -f "$stamp"
"$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --no-input --retries 10 \
    --no-compile --requirement requirements/train.txt --constraint "requirements/$distro.lock" \
    ${index:+--extra-index-url "$index"}
"$venv/bin/python3" -m compileall -q -j 0 -x '/tests?/' "$venv/lib" >/dev/null 2>&1 || true
"$venv/bin/python3" -c "
import torch
print('torch', torch.__version__, 'on', torch.cuda.get_device_name() if torch.cuda.is_available() else 'the CPU')"
echo "$wanted" >"$stamp"
