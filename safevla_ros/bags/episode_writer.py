"""Writes an episode as a bag where no graph runs: from a simulator, another data set, another bag.

What it writes is what a data set reads: the episode, the specification, and for each step the
observation, the action with its decision, and the costs. Times of receipt are the stamps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safevla_ros import __version__
from safevla_ros.bags import BagError, RawMessage
from safevla_ros.bags import metadata as keys
from safevla_ros.bags.mcap_file import McapFile
from safevla_ros.bags.own_messages import constant, new_message, own_topic, to_cdr
from safevla_ros.robot.messages import fill_joint_states, fill_odometry, fill_twist, set_stamp
from safevla_ros.robot.state import BaseVelocity, Command, Joint, Odometry, Pose
from safevla_ros.safety.accounting import Status, TermCost
from safevla_ros.safety.specification import Specification

TYPES = {
    "episode": "Episode",
    "cost_specification": "CostSpecification",
    "observation": "Observation",
    "action_chunk": "ActionChunk",
    "gated_action": "GatedAction",
    "cost_vector": "CostVector",
}
ORIGIN = Pose((0.0, 0.0, 0.0))
LATCHED = ("episode", "cost_specification")


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """What an episode is, as its bag says it."""

    id: str
    instruction: str
    task: str = ""
    target_class: str = ""
    target_ids: tuple[str, ...] = ()
    policy_id: str = ""
    policy_sha256: str = ""
    robot: str = ""
    session: str = ""
    scenario: str = ""
    seed: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class WrittenStep:
    """One step. `images` (H, W, 3) rgb8 by camera; `stamp_ns` is when it was seen and decided,
    `ends_ns` when the step ended. `token` None: a continuous action. `log_probability` None: not
    known. `decision` is a name of GatedAction's, `source` whose command it was. `predicted`: cost
    that the gate foresaw, by term. `pose`: of the base, by odometry."""

    stamp_ns: int
    ends_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    joints: Mapping[str, Joint]
    velocity: BaseVelocity
    object_in_hand: bool
    proposed: Command
    applied: Command
    costs: Sequence[TermCost] = ()
    token: int | None = None
    log_probability: float | None = None
    decision: str = "PASS"
    source: str = "policy"
    predicted: Mapping[str, float] = field(default_factory=dict)
    frame: str = ""
    pose: Pose = ORIGIN


class EpisodeWriter:
    """A new bag at `folder`. A context manager: leaving it on an exception leaves an unfinished bag
    that can be read. Methods raise OSError when the disk refuses."""

    def __init__(
        self,
        folder: Path,
        episode: EpisodeInfo,
        specification: Specification | None = None,
        *,
        begin_ns: int = 0,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        """Begin the bag. Raises BagError when the folder exists or cannot be made."""
        self._episode = episode
        self._hash = "" if specification is None else specification.hash
        self._begin_ns = begin_ns
        self._steps = 0
        self._costs: dict[str, float] = {}
        self._worst: dict[str, object] = {}
        self._deepest = 0.0
        self._scales = (
            {}
            if specification is None
            else {name: term.scale for name, term in specification.terms.items()}
        )
        self._sequence = 0
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise BagError(f"{folder}: expected a new folder: {error.strerror}") from error
        said = {
            keys.KIND: "episode",
            keys.ROBOT: episode.robot,
            keys.SESSION: episode.session or episode.id,
            keys.EPISODE_ID: episode.id,
            keys.INSTRUCTION: episode.instruction,
            keys.TASK: episode.task,
            keys.POLICY_ID: episode.policy_id,
            keys.POLICY_SHA256: episode.policy_sha256,
            keys.SCENARIO: episode.scenario,
            keys.SEED: episode.seed,
            keys.SPECIFICATION: "" if specification is None else specification.name,
            keys.SPECIFICATION_HASH: self._hash,
            keys.SOFTWARE_VERSION: __version__,
            keys.TOPICS: json.dumps({role: f"/{role}" for role in TYPES}),
        }
        self._file = McapFile(folder / f"{folder.name}_0.mcap", said | dict(provenance or {}))
        for role, kind in TYPES.items():
            self._file.add_topic(own_topic(f"/{role}", kind, latched=role in LATCHED))
        if specification is not None:
            self._put("cost_specification", _specification(specification), begin_ns)
        self._put("episode", self._episode_message("RUNNING"), begin_ns)

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._file.flush(sync=False)
            self._file.abandon({})

    def add(self, step: WrittenStep) -> None:
        """Write the next step."""
        number = self._steps
        self._steps += 1
        self._put("observation", _observation(step), step.stamp_ns)
        self._put("action_chunk", self._chunk(step, number), step.stamp_ns)
        self._put("gated_action", self._gated(step, number), step.stamp_ns)
        self._put("cost_vector", self._vector(step, number), step.ends_ns)
        for term in step.costs:
            self._costs[term.name] = term.cumulative
            depth = -term.margin / self._scales.get(term.name, 1.0)
            if depth > self._deepest:
                self._deepest = depth
                self._worst = {"term": term.name, "margin": term.margin, "step": number}

    def finish(self, outcome: str, reason: str = "", *, end_ns: int) -> None:
        """End the episode; `outcome` is a name of Episode's, UNKNOWN where nobody said."""
        self._put("episode", self._episode_message("ENDED", outcome, reason), end_ns)
        self._file.finish(
            {
                keys.OUTCOME: outcome,
                keys.OUTCOME_REASON: reason,
                keys.COSTS: json.dumps(self._costs),
                keys.WORST: json.dumps(self._worst),
                keys.DROPPED: "{}",
                keys.COMPLETE: "true",
            }
        )

    def _put(self, role: str, message: Any, stamp_ns: int) -> None:
        set_stamp(message.header.stamp, stamp_ns)
        self._sequence += 1
        data = to_cdr(message)
        self._file.write(RawMessage(f"/{role}", data, stamp_ns, stamp_ns), self._sequence)

    def _episode_message(self, state: str, outcome: str = "UNKNOWN", reason: str = "") -> Any:
        episode = self._episode
        message = new_message(
            "Episode",
            id=episode.id,
            instruction=episode.instruction,
            task=episode.task,
            target_class=episode.target_class,
            target_ids=list(episode.target_ids),
            policy_id=episode.policy_id,
            policy_sha256=episode.policy_sha256,
            state=constant("Episode", state),
            outcome=constant("Episode", outcome),
            outcome_reason=reason,
            steps=self._steps,
        )
        set_stamp(message.started, self._begin_ns)
        return message

    def _chunk(self, step: WrittenStep, number: int) -> Any:
        message = new_message(
            "ActionChunk",
            episode_id=self._episode.id,
            policy_id=self._episode.policy_id,
            chunk_id=number,
            first_step=number,
            step_s=(step.ends_ns - step.stamp_ns) / 1e9,
        )
        if step.token is not None:
            message.representation = constant("ActionChunk", "TOKEN")
            message.tokens = [step.token]
        else:
            message.representation = constant("ActionChunk", "CONTINUOUS")
        columns = {
            f"base.{axis}": getattr(step.proposed.velocity, axis) for axis in ("x", "y", "yaw")
        }
        columns |= step.proposed.joints
        message.names, message.data = list(columns), list(columns.values())
        if step.log_probability is not None:
            message.log_probabilities = [step.log_probability]
        return message

    def _gated(self, step: WrittenStep, number: int) -> Any:
        message = new_message(
            "GatedAction",
            episode_id=self._episode.id,
            step=number,
            source=step.source,
            decision=constant("GatedAction", step.decision),
            reason="recorded",
            predicted_terms=list(step.predicted),
            predicted_costs=list(step.predicted.values()),
            applied_joint_names=list(step.applied.joints),
            applied_joint_positions=list(step.applied.joints.values()),
        )
        fill_twist(message.applied_twist, step.applied.velocity)
        proposed = message.proposed
        proposed.source, proposed.episode_id = step.source, self._episode.id
        proposed.chunk_id = proposed.step = number
        proposed.joint_names = list(step.proposed.joints)
        proposed.joint_positions = list(step.proposed.joints.values())
        fill_twist(proposed.twist, step.proposed.velocity)
        return message

    def _vector(self, step: WrittenStep, number: int) -> Any:
        message = new_message(
            "CostVector",
            episode_id=self._episode.id,
            step=number,
            specification_hash=self._hash,
            terms=[
                new_message(
                    "TermCost",
                    name=term.name,
                    status=constant(
                        "TermCost", "OK" if term.status is Status.OK else "NOT_APPLICABLE"
                    ),
                    cost=float(term.cost),
                    margin=float(term.margin),
                    cumulative=float(term.cumulative),
                    remaining=float(term.remaining),
                    cause=term.cause,
                )
                for term in step.costs
            ],
        )
        message.header.frame_id = step.frame
        return message


def _observation(step: WrittenStep) -> Any:
    images = []
    for name, pixels in step.images.items():
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise BagError(
                f"camera {name}: expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}"
            )
        height, width, _ = pixels.shape
        image = new_message(
            "sensor_msgs/msg/Image",
            height=height,
            width=width,
            step=3 * width,
            encoding="rgb8",
            data=np.ascontiguousarray(pixels).reshape(-1),
        )
        set_stamp(image.header.stamp, step.stamp_ns)
        images.append(image)
    message = new_message(
        "Observation",
        camera_names=list(step.images),
        images=images,
        camera_infos=[new_message("sensor_msgs/msg/CameraInfo") for _ in images],
        ages_s=[0.0] * len(images),
        frozen=[False] * len(images),
        object_in_hand=step.object_in_hand,
    )
    fill_joint_states(message.joint_states, step.joints)
    fill_odometry(message.odometry, Odometry("odom", step.pose, step.velocity))
    return message


def _specification(specification: Specification) -> Any:
    terms = [new_message("CostTermSpecification", **fields) for fields in specification.described()]
    return new_message(
        "CostSpecification",
        name=specification.name,
        hash=specification.hash,
        yaml=specification.text,
        terms=terms,
    )
