#!/bin/sh
# Runs pytest once for each tier that is there, all of them even if one fails.
#
#   scripts/test.sh VENV TIER... [-- PYTEST_ARGUMENT...]
#
# A tier is a folder of test/, or several joined by commas.
set -u
cd "$(dirname "$0")/.." || exit
venv=$1
shift
tiers=
while [ $# -gt 0 ]; do
    if [ "$1" = -- ]; then
        shift
        break
    fi
    tiers="$tiers $1"
    shift
done

status=0
for tier in $tiers; do
    folders=
    for folder in $(echo "$tier" | tr ',' ' '); do
        [ -d "test/$folder" ] && folders="$folders test/$folder"
    done
    [ -n "$folders" ] || continue
    echo "==$folders"
    # The executable, not `python -m pytest`: that one puts the checkout, which holds no generated
    # messages, before the installed package.
    # shellcheck disable=SC2086
    "$venv/bin/pytest" $folders "$@"
    result=$?
    # 5: nothing was collected, as when -k or -m leaves out a whole tier.
    if [ "$result" -ne 0 ] && [ "$result" -ne 5 ]; then
        status=1
    fi
done
exit "$status"
