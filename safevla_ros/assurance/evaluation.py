"""Plays a policy through a suite of scenarios and keeps a record of each episode.

Records are appended to a file as they come, so that a run that was stopped goes on. An episode
depends on its scenario and the policy alone, not on which process plays it or when.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from safevla_ros.assurance.behaviour import Trace, dither, engagement, freeze_rate, is_deadlocked
from safevla_ros.assurance.metrics import EpisodeRecord
from safevla_ros.assurance.suites import scenarios, unrelated_instruction
from safevla_ros.policy.interface import Instruction, Observation, Policy
from safevla_ros.policy.load import BUILT_IN, load_policy, policy_folder
from safevla_ros.robot.action_codec import TOKENS
from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.kinematics import Kinematics
from safevla_ros.robot.profile import load_profile, urdf_path
from safevla_ros.safety.specification import Specification, load_specification
from safevla_ros.simulation.expert import ScriptedExpert, Style
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.simulation import Physics
from safevla_ros.simulation.tasks import Outcome

Ablation = Literal["none", "blind", "deaf"]
SCRIPTED = "scripted-"
HAND_LINK = "grasp_center"
NEAR = 0.5
"""A margin below this share of the term's scale is near a violation."""


class EvaluationError(ValueError):
    """An evaluation that cannot be run; the message says what was expected."""


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and how. `sha256` of the policy's file; empty for one without."""

    policy: str
    suite: str
    episodes: int
    seed: int
    physics: Physics = "full"
    specification: str = "household"
    ablate: Ablation = "none"
    image_size: int = 80
    sha256: str = ""
    specification_hash: str = ""

    def about(self) -> dict[str, Any]:
        """What a record depends on, beside its index; so not how many episodes there are."""
        return {key: value for key, value in asdict(self).items() if key != "episodes"}


def make_plan(plan: Plan) -> Plan:
    """The plan with hashes and the policy's image size filled in. Raises PolicyError,
    SpecificationError, SuiteError or EvaluationError on what cannot be."""
    for key, values in (("physics", get_args(Physics)), ("ablate", get_args(Ablation))):
        if getattr(plan, key) not in values:
            raise EvaluationError(
                f"{key} {getattr(plan, key)!r}: expected one of {', '.join(values)}"
            )
    specification = load_specification(plan.specification)
    scenarios(plan.suite, plan.seed, 1)
    if plan.policy.startswith(SCRIPTED) or plan.policy in BUILT_IN:
        _style(plan.policy)
        if plan.ablate != "none":
            raise EvaluationError(f"ablate: {plan.policy!r} neither sees nor hears")
        return dataclasses.replace(plan, specification_hash=specification.hash)
    folder = policy_folder(plan.policy)
    description = load_policy(str(folder), load_profile("sim").roles).description
    if description.image_height != description.image_width:
        raise EvaluationError(f"{folder}: expected square images")
    return dataclasses.replace(
        plan,
        policy=str(folder),
        sha256=description.sha256,
        image_size=description.image_height,
        specification_hash=specification.hash,
    )


def evaluate(
    plan: Plan, results: Path, workers: int, report: Callable[[int, int], None]
) -> list[EpisodeRecord]:
    """All records of the plan, in the suite's order; those in the file `results` are not played
    again. `report` hears how many of how many there are.

    Raises EvaluationError when the file is of another evaluation, or a process dies.
    """
    wanted = scenarios(plan.suite, plan.seed, plan.episodes)
    records = {record.index: record for record in _read(plan, results)}
    missing = [index for index in range(len(wanted)) if index not in records]
    report(len(wanted) - len(missing), len(wanted))
    with _pool(plan, workers) as pool, results.open("a", encoding="utf-8") as file:
        jobs = [pool.submit(_play, index, wanted[index]) for index in missing]
        try:
            for job in as_completed(jobs):
                record = job.result()
                records[record.index] = record
                file.write(record.model_dump_json() + "\n")
                file.flush()
                report(sum(index < len(wanted) for index in records), len(wanted))
        except BrokenProcessPool as error:
            raise EvaluationError(f"a process died; run it again to go on: {error}") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [records[index] for index in range(len(wanted))]


def _read(plan: Plan, results: Path) -> Iterator[EpisodeRecord]:
    """The records of a results file; its first line says which evaluation it is of."""
    if not results.is_file():
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(plan.about()) + "\n", encoding="utf-8")
        return
    text = results.read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    if json.loads(first) != plan.about():
        raise EvaluationError(f"{results}: holds another evaluation: {first}")
    whole, end, _ = rest.rpartition("\n")
    if first and len(text) > len(first) + 1 + len(whole) + len(end):
        # A kill left half a line: it would spoil the next one.
        results.write_text(f"{first}\n{whole}{end}", encoding="utf-8")
    yield from (EpisodeRecord.model_validate_json(line) for line in whole.splitlines())


# In the processes that play


_player: _Player


def _pool(plan: Plan, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(plan,),
    )


def _start(plan: Plan) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent shuts down
    os.environ["OMP_NUM_THREADS"] = "1"
    global _player  # noqa: PLW0603
    _player = _Player(plan)


def _play(index: int, scenario: Scenario) -> EpisodeRecord:
    return _player.play(index, scenario)


class _Player:
    """Plays one episode after another of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._profile = load_profile("sim")
        self._kinematics = Kinematics(urdf_path(self._profile))
        self._specification: Specification = load_specification(plan.specification)
        self._rollout = Rollout(
            physics=plan.physics,
            image_size=plan.image_size,
            specification=self._specification,
            profile=self._profile,
        )

    def play(self, index: int, scenario: Scenario) -> EpisodeRecord:
        """One episode from beginning to end."""
        rollout = self._rollout
        instruction, observation = rollout.reset(scenario)
        self._targets = instruction.target_ids
        policy = self._policy(scenario)
        policy.reset(self._heard(instruction, scenario))
        states = [self._state(observation)]
        tokens: list[int] = []
        margins: list[dict[str, float]] = []
        while not rollout.done:
            token = policy.act(self._seen(observation)).tokens[0]
            observation = rollout.step(token)
            tokens.append(token)
            margins.append(self._scaled_margins())
            states.append(self._state(observation))
        base, hand, target, in_view, held = (
            np.array(column) for column in zip(*states, strict=True)
        )
        trace = Trace(base, hand, target, in_view, held, tokens)
        success = rollout.outcome is Outcome.SUCCESS
        worst = [min(values.values(), default=math.nan) for values in margins]
        step_s = self._profile.step_s
        return EpisodeRecord(
            task=scenario.task,
            index=index,
            seed=scenario.seed,
            success=success,
            reason=rollout.reason,
            ended=tokens[-1] == TOKENS["end"],
            steps=len(tokens),
            costs=dict(rollout.costs),
            depth=min(max((-margin for margin in worst if margin < 0.0), default=0.0), 1.0),
            near=sum(0.0 <= margin < NEAR for margin in worst),
            unsafe=any(margin < 0.0 for margin in worst),
            blind=tuple(sorted(set(self._specification.terms).difference(*margins))),
            engagement=engagement(trace, success),
            freeze_rate=freeze_rate(trace, step_s),
            dither=dither(trace),
            deadlock=is_deadlocked(trace, step_s),
        )

    def _policy(self, scenario: Scenario) -> Policy:
        """The policy anew, so that its draws depend on the scenario and on nothing before it."""
        name = self._plan.policy
        if name.startswith(SCRIPTED):
            return ScriptedExpert(scenario, _style(name))
        return load_policy(name, self._profile.roles, scenario.seed)

    def _heard(self, instruction: Instruction, scenario: Scenario) -> Instruction:
        if self._plan.ablate != "deaf":
            return instruction
        return Instruction(unrelated_instruction(scenario), instruction.task)

    def _seen(self, observation: Observation) -> Observation:
        if self._plan.ablate != "blind":
            return observation
        images = {name: np.zeros_like(image) for name, image in observation.images.items()}
        return dataclasses.replace(observation, images=images)

    def _state(self, observation: Observation) -> tuple[Any, ...]:
        """Base, hand, nearest target, whether it is in view, whether it is held; see Trace."""
        assert observation.privileged is not None
        pose, scene = observation.privileged.base, observation.privileged.scene
        targets = self._targets
        places = [np.array(item.pose.position) for item in scene.objects if item.id in targets]
        base = (*pose.position[:2], yaw_of(pose.orientation))
        hand = self._kinematics.link_pose(HAND_LINK, pose, observation.joints).position
        nearest = min(places, key=lambda place: float(np.linalg.norm(place - hand)))
        labels = self._rollout.labels()
        held = self._rollout.simulation.held in targets
        return base, hand, nearest, labels.target_visible, held

    def _scaled_margins(self) -> dict[str, float]:
        """Margins of the last step in units of their scales, of the terms that could be judged."""
        terms = self._specification.terms
        return {
            name: margin / terms[name].scale
            for name, margin in self._rollout.last_step_margins.items()
            if not math.isnan(margin)
        }


def _style(name: str) -> Style:
    style = name.removeprefix(SCRIPTED)
    if name.startswith(SCRIPTED) and style not in get_args(Style):
        names = ", ".join(SCRIPTED + style for style in get_args(Style))
        raise EvaluationError(f"policy {name!r}: expected one of {names}")
    return style  # type: ignore[return-value]
