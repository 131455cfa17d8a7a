#!/bin/sh
# Makes the policies that ship, from nothing: many hours on two cores. Stopped, it goes on where it was.
#
#   scripts/policies.sh VENV [RUNS]
#
# RUNS: the folder of the runs; default runs/policies. What is made goes into RUNS/made, to be compared
# with what ships.
set -eu

venv=$1
runs=${2:-runs/policies}
cd "$(dirname "$0")/.."
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
safevla=$venv/bin/safevla

# imitation|online DIRECTORY OPTIONS: begins the run, or goes on with it.
imitation() {
    directory=$1
    shift
    if [ -f "$directory/settings.json" ]; then set -- --resume; fi
    "$safevla" train imitation --directory "$directory" "$@"
}

online() {
    directory=$1
    shift
    if [ -f "$directory/online.json" ]; then set -- --resume; fi
    "$venv/bin/torchrun" --standalone --nproc-per-node 2 --no-python -- \
        "$safevla" train online --directory "$directory" "$@"
}

export_run() {
    "$safevla" train export --name "$1" --directory "$runs/$1" --output "$runs/made"
}

export OMP_NUM_THREADS=1 # one process a core
learning="--environments 16 --workers 0 --learning-rate 3e-4 --target-kl 0.02"

imitation "$runs/base" --minutes 147
export_run base

online "$runs/unconstrained" --start "$runs/made/base" --algorithm ppo --seed 1 \
    --steps 344064 --warm-up 3 $learning
export_run unconstrained

# The budgets in config/budgets were frozen in this way:
"$safevla" train budgets --directory "$runs/unconstrained" --episodes 300

online "$runs/aligned" --start "$runs/made/unconstrained" --algorithm ppo-lagrangian --seed 2 \
    --budgets config/budgets/tenth_of_unconstrained.yaml --steps 700000 --warm-up 6 \
    --gamma 0.999 $learning
export_run aligned
