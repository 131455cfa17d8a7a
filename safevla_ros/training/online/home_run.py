"""A run of the compact VLA in homes; its folder, beside state and log (run.py):

online.json       what it was told, budgets included
start/            the policy that it started from, as a checkpoint
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from safevla_ros.policy.vla.checkpoint import DESCRIPTION, load_checkpoint, save_checkpoint
from safevla_ros.policy.vla.modeling import CompactVla, extended
from safevla_ros.safety.specification import Specification, load_specification
from safevla_ros.training import imitation
from safevla_ros.training.checkpoint import CheckpointError
from safevla_ros.training.online.budgets import (
    ALL,
    BudgetError,
    Budgets,
    Constraints,
    make_constraints,
)
from safevla_ros.training.online.distributed import device, rank
from safevla_ros.training.online.homes import HomeMaker
from safevla_ros.training.online.run import STATE, Report, Run
from safevla_ros.training.online.settings import OnlineSettings, load_settings, save_settings
from safevla_ros.training.online.state import load_state
from safevla_ros.training.online.vla import VlaAgent
from safevla_ros.training.online.workers import WorkerWorld
from safevla_ros.training.online.world import LocalWorld, World
from safevla_ros.training.settings import load_settings as load_imitation_settings

SETTINGS, START = "online.json", "start"


def start_policy(folder: Path) -> CompactVla:
    """The policy of a policy folder, or of an imitation or online run, as it was last written.
    Raises PolicyError, SettingsError or CheckpointError."""
    if (folder / SETTINGS).is_file():
        return trained_policy(folder)[0]
    if (folder / imitation.SETTINGS).is_file():
        settings = load_imitation_settings(folder / imitation.SETTINGS)
        return imitation.load_averaged(settings, folder)[0]
    if not (folder / DESCRIPTION).is_file():
        raise CheckpointError(
            f"{folder}: expected a policy folder ({DESCRIPTION}) or the folder of a run "
            f"({imitation.SETTINGS} or {SETTINGS})"
        )
    return load_checkpoint(folder)


def prepare(folder: Path, settings: OnlineSettings, start: Path) -> None:
    """Make a new run's folder. Raises what `start_policy` does, and BudgetError."""
    _constraints(settings)
    policy = start_policy(start)
    save_checkpoint(folder / START, policy, {"from": start.name})
    save_settings(settings, folder / SETTINGS)


def lengthen(folder: Path, steps: int) -> None:
    """Give a run another length, with all else as it was: multipliers go on from where they are,
    which in a new run would begin at zero. Raises SettingsError."""
    settings = load_settings(folder / SETTINGS)
    learning = settings.learning.model_copy(update={"steps": steps})
    save_settings(settings.model_copy(update={"learning": learning}), folder / SETTINGS)


def trained_policy(folder: Path) -> tuple[CompactVla, OnlineSettings, int]:
    """The policy of a run as it was last written, what the run was told, and its steps so far.
    Raises PolicyError, SettingsError or CheckpointError."""
    settings = load_settings(folder / SETTINGS)
    agent = _agent(folder, settings, _constraints(settings))
    state = load_state(folder / STATE)
    try:
        agent.load_state_dict(state["learner"]["agent"])
    except (KeyError, RuntimeError) as error:
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder / STATE}: expected the state of this run: {line}"
        ) from error
    return agent.model.eval(), settings, state["steps"]


@contextmanager
def open_run(folder: Path, report: Report) -> Iterator[Run]:
    """The run that `prepare` made, at its beginning or where its state was last written."""
    settings = load_settings(folder / SETTINGS)
    learning, homes = settings.learning, settings.homes
    constraints = _constraints(settings)
    torch.manual_seed(learning.seed)
    agent = _agent(folder, settings, constraints)
    make = HomeMaker(homes, agent.model.configuration.features, constraints.terms, learning.seed)
    first = rank() * learning.environments
    indices = range(first, first + learning.environments)
    world: World = (
        WorkerWorld(make, indices, homes.workers)
        if homes.workers
        else LocalWorld([make(index) for index in indices])
    )
    try:
        yield Run(learning, agent.to(device()), world, homes.tasks, constraints, folder, report)
    finally:
        world.close()


def specification_budgets(specification: Specification) -> Budgets:
    """The budgets that a specification states, for all tasks together."""
    return {ALL: specification.budgets} if specification.budgets else {}


def _constraints(settings: OnlineSettings) -> Constraints:
    specification = load_specification(settings.homes.specification)
    constraints = make_constraints(
        settings.budgets, settings.homes.tasks, list(specification.terms), "budgets"
    )
    if settings.learning.algorithm == "ppo-lagrangian" and not constraints.any:
        raise BudgetError(
            f"specification {specification.name}: no term has a budget; ppo-lagrangian needs one, "
            "there or in a file of budgets"
        )
    return constraints


def _agent(folder: Path, settings: OnlineSettings, constraints: Constraints) -> VlaAgent:
    start = load_checkpoint(folder / START)
    budget_terms = start.configuration.budget_terms
    model = extended(start, budget_terms, constraints.terms)
    keeps_near = settings.learning.ppo.reference_kl > 0.0
    homes = settings.homes
    reference = start.to(device()) if keeps_near else None
    return VlaAgent(model, homes.temperature, reference, homes.freeze_perception)
