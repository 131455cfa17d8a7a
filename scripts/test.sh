#!/bin/sh
# Runs pytest once for each tier that is there, all of them even if one fails.
#
#   scripts/test.sh VENV TIER... [-- PYTEST_ARGUMENT...]
#
# A tier is a folder of test/, or several joined by commas. JOBS: how many tests run at a time (the
# number of cores, four at most; of those of nodes, which mostly wait, one more on fewer cores); those
# of the whole graph need the machine for themselves.
#
# A test that failed is run once more, and the summary names it (RERUN) with the reason of the first
# failure: see CONTRIBUTING.md. Tests run in processes beside pytest, also where it is one at a time:
# one that hangs ends its process, and the next one goes on.
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

cores=$(nproc 2>/dev/null || echo 2)
jobs=${JOBS:-$((cores < 4 ? cores : 4))}
waiting=${JOBS:-$((cores < 4 ? cores + 1 : 4))}
status=0
for tier in $tiers; do
    folders=
    for folder in $(echo "$tier" | tr ',' ' '); do
        [ -d "test/$folder" ] && folders="$folders test/$folder"
    done
    [ -n "$folders" ] || continue
    case $tier in
        # With torch and Ray at hand, the tests of bags that a machine without them skips.
        learning)
            torch_batches=test_torch_batches_are_the_same_with_and_without_workers
            folders="$folders test/unit/bags/test_dataset.py::$torch_batches"
            folders="$folders test/unit/cli/test_bags_many.py"
            ;;
    esac
    case $tier in
        system) options="--numprocesses 1" ;;
        # What a file or class brings up once (a graph, a cluster, a trained policy) is brought up once.
        graph* | faults*) options="--numprocesses $waiting --dist loadscope" ;;
        learning) options="--numprocesses $jobs --dist loadscope" ;;
        *) options="--numprocesses $jobs" ;;
    esac
    echo "==$folders"
    # The executable, not `python -m pytest`: that one puts the checkout, which holds no generated
    # messages, before the installed package.
    # shellcheck disable=SC2086
    "$venv/bin/pytest" --reruns 1 -rsR $options $folders "$@"
    result=$?
    # 5: nothing was collected, as when -k or -m leaves out a whole tier.
    if [ "$result" -ne 0 ] && [ "$result" -ne 5 ]; then
        status=1
    fi
done
exit "$status"
