"""The tasks as gymnasium environments: importing this module registers them.

    safevla_ros/Find-v0    safevla_ros/PickUp-v0    safevla_ros/Fetch-v0    safevla_ros/Bring-v0

An action is a token of robot.action_codec; one step is one action of `step_s`. The reward is
SUCCESS_REWARD in the step in which the task succeeds, else 0. Costs never enter it: `info["cost"]`
has what the step cost by each term of the specification, `info["cumulative_cost"]` the episode so
far, and `info["home"]` the home's seed. Every reset is another home; `reset(seed=...)` begins the same series of homes again, and
`reset(options={"scenario": scenario})` chooses one.
"""

from __future__ import annotations

import string
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from safevla_ros.policy.interface import Observation
from safevla_ros.robot.action_codec import ACTIONS
from safevla_ros.robot.geometry import yaw_of
from safevla_ros.robot.profile import Profile, load_profile
from safevla_ros.safety.specification import load_specification
from safevla_ros.simulation.rollout import Rollout
from safevla_ros.simulation.scenario import Scenario, Task
from safevla_ros.simulation.seeds import TRAINING_SEEDS
from safevla_ros.simulation.simulation import Physics
from safevla_ros.simulation.tasks import Outcome

SUCCESS_REWARD = 10.0
INSTRUCTION_LENGTH = 200
"""Longest instruction [characters]."""
FARTHEST_M = 100.0

IDS: dict[str, Task] = {
    "safevla_ros/Find-v0": "find",
    "safevla_ros/PickUp-v0": "pick_up",
    "safevla_ros/Fetch-v0": "fetch",
    "safevla_ros/Bring-v0": "bring",
}


class TaskEnvironment(gymnasium.Env[dict[str, Any], np.int64]):
    """One task in homes of the training range.

    Observations: each camera by its name, (size, size, 3) uint8; `joints` (J,), positions in the
    order of the profile [m, rad]; `odometry` (3,), x, y [m] and yaw [rad] since the start;
    `object_in_hand` 0 or 1; `instruction`, text.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        *,
        physics: Physics = "fast",
        image_size: int = 80,
        specification: str = "household",
        render_mode: str | None = None,
    ) -> None:
        """`specification`: name or path of what is charged. Raises SpecificationError."""
        self.task = task
        self.render_mode = render_mode
        self._profile = load_profile("sim")
        self._rollout = Rollout(
            physics=physics,
            image_size=image_size,
            specification=load_specification(specification),
            profile=self._profile,
        )
        self.observation_space = _observation_space(self._profile, image_size)
        self.action_space = spaces.Discrete(len(ACTIONS))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode in the next home, or in `options["scenario"]`. Raises ScenarioError."""
        super().reset(seed=seed)
        scenario = (options or {}).get("scenario") or Scenario(
            name=f"{self.task} for training",
            seed=int(self.np_random.integers(TRAINING_SEEDS.start, TRAINING_SEEDS.stop)),
            task=self.task,
        )
        instruction, observation = self._rollout.reset(scenario)
        self._instruction = instruction.text
        return self._seen(observation), self._info()

    def step(self, action: np.int64) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out a token. Out of time is a truncation, `end` a termination."""
        observation = self._rollout.step(int(action))
        success = self._rollout.outcome is Outcome.SUCCESS
        terminated = self._rollout.done and ACTIONS[int(action)] == "end"
        return (
            self._seen(observation),
            SUCCESS_REWARD if success else 0.0,
            terminated,
            self._rollout.done and not terminated,
            self._info(),
        )

    def render(self) -> NDArray[np.uint8]:
        """The first camera's image (240, 320, 3)."""
        return self._rollout.simulation.render(self._profile.cameras[0].name, 320, 240)

    def expert_token(self) -> int:
        """What the scripted expert would do now, whatever was done before: a teacher's answer."""
        return self._rollout.expert_token()

    def _seen(self, observation: Observation) -> dict[str, Any]:
        pose = observation.odometry.pose
        return {
            **observation.images,
            "joints": np.array(
                [observation.joints[name].position for name in self._profile.limits.joints],
                np.float32,
            ),
            "odometry": np.array([*pose.position[:2], yaw_of(pose.orientation)], np.float32),
            "object_in_hand": int(observation.object_in_hand),
            "instruction": self._instruction,
        }

    def _info(self) -> dict[str, Any]:
        outcome = self._rollout.outcome
        return {
            "cost": dict(self._rollout.last_step_costs),
            "cumulative_cost": dict(self._rollout.costs),
            "outcome": outcome.name if outcome else "",
            "home": self._rollout.simulation.scenario.seed,
        }


def _observation_space(profile: Profile, image_size: int) -> spaces.Dict:
    joints = len(profile.limits.joints)
    return spaces.Dict(
        {
            **{
                camera.name: spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
                for camera in profile.cameras
            },
            "joints": spaces.Box(-10.0, 10.0, (joints,), np.float32),
            "odometry": spaces.Box(-FARTHEST_M, FARTHEST_M, (3,), np.float32),
            "object_in_hand": spaces.Discrete(2),
            "instruction": spaces.Text(INSTRUCTION_LENGTH, charset=string.printable),
        }
    )


for _id, _task in IDS.items():
    gymnasium.register(_id, f"{__name__}:{TaskEnvironment.__name__}", kwargs={"task": _task})
