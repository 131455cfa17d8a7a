"""Bags at scale without the graph: policies play training homes, each episode becomes a bag.

The bags are those of the graph's recorder: observations, actions with their log-probabilities, and
costs, charged by the same specification. No gate acts, so every decision is a pass. A home is a
session, so that a split by session never divides what was played in it.

    FOLDER/plan.json     what is played
    FOLDER/<episode>/    a bag; appears whole or not at all
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

from safevla_ros.bags.episode_writer import EpisodeInfo, EpisodeWriter, WrittenStep
from safevla_ros.policy.interface import Instruction, Observation, Policy, PolicyDescription
from safevla_ros.policy.load import BUILT_IN, load_policy, policy_folder
from safevla_ros.processes import work_for_parent
from safevla_ros.robot.action_codec import EndOfEpisode, decode
from safevla_ros.robot.profile import load_profile
from safevla_ros.robot.state import NANOSECONDS, Command
from safevla_ros.safety.accounting import Status, TermCost
from safevla_ros.safety.specification import load_specification
from safevla_ros.simulation.expert import ScriptedExpert
from safevla_ros.simulation.meter import Account
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import TASKS, PaperTask
from safevla_ros.simulation.scripted import is_scripted, style_of
from safevla_ros.simulation.seeds import require_training
from safevla_ros.simulation.simulation import Physics
from safevla_ros.training.curriculum import Curriculum, Plan
from safevla_ros.training.settings import EpisodeSettings

PLAN = "plan.json"
UNFINISHED = ".unfinished"
SERIES = 1000
"""Number of the series of homes: one that no process of an imitation run plays."""


class RecordingError(ValueError):
    """Episodes that cannot be recorded; the message says what was expected."""


@dataclass(frozen=True)
class RecordingPlan:
    """What is played: episode i by `policies[i % len(policies)]`. `max_steps` bounds an episode."""

    policies: tuple[str, ...]
    seed: int = 0
    tasks: tuple[PaperTask, ...] = TASKS
    physics: Physics = "fast"
    specification: str = "household"
    image_size: int = 80
    max_steps: int = 300


def make_recording_plan(plan: RecordingPlan) -> RecordingPlan:
    """The plan with the image size that its policies need. Raises RecordingError, PolicyError or
    SpecificationError on what cannot be."""
    if plan.physics not in get_args(Physics):
        raise RecordingError(f"physics {plan.physics!r}: expected one of full, fast")
    load_specification(plan.specification)
    sizes, policies = set(), []
    for name in plan.policies:
        if is_scripted(name):
            style_of(name)
        if is_scripted(name) or name in BUILT_IN:
            policies.append(name)
            continue
        folder = policy_folder(name)
        description = load_policy(str(folder), load_profile("sim").roles).description
        if description.representation != "token":
            raise RecordingError(f"{folder}: expected a policy of tokens, as the simulator plays")
        sizes.add((description.image_height, description.image_width))
        policies.append(str(folder))
    if len(sizes) > 1 or any(height != width for height, width in sizes):
        raise RecordingError(f"policies: expected one square image size, got {sorted(sizes)}")
    size = sizes.pop()[0] if sizes else plan.image_size
    return replace(plan, policies=tuple(policies), image_size=size)


def record_episodes(
    plan: RecordingPlan,
    folder: Path,
    episodes: int,
    workers: int,
    report: Callable[[int, int], None],
) -> int:
    """Play until `folder` holds so many episodes; return how many were played now. Those that are
    there are not played again. `report` hears how many of how many there are.

    Raises RecordingError when the folder holds another plan's, or a process dies.
    """
    _claim(plan, folder)
    # Costs are learnt where something costs: no home is without hazards by choice.
    settings = EpisodeSettings(
        seed=plan.seed, tasks=plan.tasks, max_steps=plan.max_steps, hazard_free=0.0
    )
    homes = Curriculum(settings, SERIES)
    wanted = [homes.next_plan(with_policy=False) for _ in range(episodes)]
    missing = [number for number in range(episodes) if not (folder / _name(number)).is_dir()]
    done = episodes - len(missing)
    report(done, episodes)
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(plan, folder),
    ) as pool:
        jobs = [pool.submit(_play, number, wanted[number]) for number in missing]
        try:
            for job in as_completed(jobs):
                job.result()
                done += 1
                report(done, episodes)
        except BrokenProcessPool as error:
            raise RecordingError(f"a process died; run it again to go on: {error}") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    return len(missing)


def _claim(plan: RecordingPlan, folder: Path) -> None:
    """Write down what the folder holds. Raises RecordingError when it holds something else."""
    path, said = folder / PLAN, json.loads(json.dumps(asdict(plan)))
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != said:
            raise RecordingError(f"{path}: holds episodes of another plan: {json.dumps(found)}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _name(number: int) -> str:
    return f"e{number:06}"


# In the processes that play


_player: Player


def _start(plan: RecordingPlan, folder: Path) -> None:
    work_for_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    global _player  # noqa: PLW0603
    _player = Player(plan, folder)


def _play(number: int, home: Plan) -> None:
    _player.play(number, home)


class Player:
    """Plays one episode after another of a plan, and writes each as a bag below `folder`."""

    def __init__(self, plan: RecordingPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._profile = load_profile("sim")
        self._rollout = Rollout(
            physics=plan.physics,
            image_size=plan.image_size,
            specification=load_specification(plan.specification),
            profile=self._profile,
        )

    def play(self, number: int, home: Plan) -> Path:
        """One episode from beginning to end; its bag."""
        scenario, rollout = home.scenario, self._rollout
        require_training(scenario.seed)
        name = self._plan.policies[number % len(self._plan.policies)]
        instruction, observation = rollout.reset(scenario)
        policy: Policy
        if is_scripted(name):
            policy = ScriptedExpert(scenario, style_of(name))
        else:
            policy = load_policy(name, self._profile.roles, scenario.seed)
        policy.reset(instruction)
        unfinished = self._folder / UNFINISHED / _name(number)
        shutil.rmtree(unfinished, ignore_errors=True)
        info = _info(number, instruction, policy.description, scenario.seed)
        begin_ns = observation.stamp_ns
        charged = rollout.accounts[0].specification
        with EpisodeWriter(unfinished, info, charged, begin_ns=begin_ns) as writer:
            while not rollout.done:
                step, observation = self._step(policy, observation)
                writer.add(step)
            assert rollout.outcome is not None
            writer.finish(rollout.outcome.name, rollout.reason, end_ns=step.ends_ns)
        unfinished.rename(self._folder / _name(number))
        return self._folder / _name(number)

    def _step(self, policy: Policy, seen: Observation) -> tuple[WrittenStep, Observation]:
        """Let the policy act once; what there is to write, and what it led to."""
        rollout, profile = self._rollout, self._profile
        chunk = policy.act(replace(seen, remaining_budget=rollout.accounts[0].remaining))
        token = chunk.tokens[0]
        command = decode(token, seen.joints, profile)
        ends = isinstance(command, EndOfEpisode)
        after = rollout.step(token)
        done = Command(duration_s=profile.step_s) if isinstance(command, EndOfEpisode) else command
        step = WrittenStep(
            stamp_ns=seen.stamp_ns,
            ends_ns=seen.stamp_ns + round(profile.step_s * NANOSECONDS),
            images=seen.images,
            joints=seen.joints,
            velocity=seen.odometry.velocity,
            pose=seen.odometry.pose,
            object_in_hand=seen.object_in_hand,
            proposed=done,
            applied=done,
            costs=_charged(rollout.accounts[0], ends=ends),
            token=token,
            log_probability=chunk.log_probabilities[0] if chunk.log_probabilities else None,
            frame="map",
        )
        return step, after


def _charged(account: Account, *, ends: bool) -> list[TermCost]:
    """What the last step cost; `end` takes no time and costs nothing."""
    return [
        TermCost(
            name=name,
            status=Status.NOT_APPLICABLE if math.isnan(margin) else Status.OK,
            cost=0.0 if ends else account.last[name],
            margin=margin,
            cumulative=account.cumulative[name],
            remaining=account.remaining.get(name, math.nan),
            cause="",
        )
        for name, margin in account.margins.items()
    ]


def _info(
    number: int, instruction: Instruction, policy: PolicyDescription, seed: int
) -> EpisodeInfo:
    return EpisodeInfo(
        id=_name(number),
        instruction=instruction.text,
        task=instruction.task,
        target_class=instruction.target_class,
        target_ids=instruction.target_ids,
        policy_id=policy.id,
        policy_sha256=policy.sha256,
        robot="sim",
        session=f"home-{seed}",
        seed=str(seed),
    )
