"""One episode after another in the simulator, step by step: what a learner and a runner need.

A rollout gives observations at policy resolution and takes tokens. Beside it stand the simulator's
truths that a learner may be told (`labels`), what the scripted expert would do now
(`expert_token`), and the costs of what was done, charged by the same code as on the robot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safevla_ros.policy.interface import Instruction, Observation, PrivilegedState
from safevla_ros.policy.vla.configuration import CELL_PX
from safevla_ros.robot.action_codec import EndOfEpisode, decode
from safevla_ros.robot.geometry import inverse, transform_points, yaw_of
from safevla_ros.robot.profile import Profile, load_profile
from safevla_ros.robot.state import NANOSECONDS, Command, Pose
from safevla_ros.safety.specification import Specification
from safevla_ros.simulation.expert import ScriptedExpert
from safevla_ros.simulation.gating import GatedRobot, GateSettings, Intervention
from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.grid import RESOLUTION, Grid
from safevla_ros.simulation.meter import Account, CostMeter
from safevla_ros.simulation.scenario import Scenario
from safevla_ros.simulation.scripted import Style
from safevla_ros.simulation.simulation import Physics, Simulation
from safevla_ros.simulation.tasks import Outcome

BEARINGS_RAD = np.radians(np.linspace(-75.0, 75.0, 7))
"""Directions in the base frame, from right to left, in which labels say how far it is free."""
FREE_RANGE_M = 3.0
_CLASS_BITS = {name: 1 << bit for bit, name in enumerate(GOODS)}
SAMPLE_S: Mapping[Physics, float] = {"full": 0.1, "fast": 0.5}
"""How often the world is sampled for its costs; touches in between are not lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What a learner may be told beside the action. `target_visible`: an instructed object is in
    the first camera's image. `target_in_base` (3,): the nearest one in the base frame [m], NaN where
    the home has none. `free_ahead` (K,): free distance of the floor plan along BEARINGS_RAD [m], at
    most 3. `classes` by camera (G, G) int16: bit k is set where a square of CELL_PX pixels shows
    something of the k-th of GOODS."""

    target_visible: bool
    target_in_base: NDArray[np.float64]
    free_ahead: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.int16]]


class Rollout:
    """Episodes in `fast` or `full` physics. Not thread-safe. The same scenario and tokens give the
    same episode."""

    steps: int
    """Steps taken since the last reset, `end` included."""
    _observation: Observation
    _label: int | None

    def __init__(
        self,
        *,
        physics: Physics = "fast",
        image_size: int = 80,
        specification: Specification | None = None,
        beside: Sequence[Specification] = (),
        gate: GateSettings | None = None,
        profile: Profile | None = None,
        explores: bool = False,
    ) -> None:
        """`image_size`: edge of the square images [px]. `specification` None: no costs are
        charged. `beside`: others that are charged for the same steps, see `accounts`. `gate`: what
        stands before the robot; None: nothing. `profile`: default is the sim robot's. `explores`:
        the expert does, see expert.py."""
        self.physics = physics
        self.image_size = image_size
        self._profile = profile or load_profile("sim")
        self._explores = explores
        charged = [specification, *beside] if specification else list(beside)
        self._gate = gate
        self._gated: GatedRobot | None = None
        if gate is not None:
            charged += [gate.specification] * (gate.specification not in charged)
            self._gate_account = charged.index(gate.specification)
        self._meter = (
            CostMeter(charged, self._profile, always_scans=gate is not None) if charged else None
        )
        self._simulation: Simulation | None = None
        self.camera_moved = Pose((0.0, 0.0, 0.0))
        """Where the cameras are, seen from where they should be."""

    @property
    def simulation(self) -> Simulation:
        """The world as it is now. RuntimeError before the first `reset`."""
        if self._simulation is None:
            raise RuntimeError("rollout: expected reset before anything else")
        return self._simulation

    def reset(
        self, scenario: Scenario, style: Style = "careful"
    ) -> tuple[Instruction, Observation]:
        """Begin an episode; `style` is the expert's. Raises ScenarioError when the scenario asks for
        what cannot be there."""
        if self._simulation is None:
            self._simulation = Simulation(scenario, self._profile, physics=self.physics)
        else:
            self._simulation.reset(scenario)
        self._instruction = self._simulation.instruction()
        self._expert = ScriptedExpert(
            scenario,
            style,
            home=self._simulation.home,
            profile=self._profile,
            explores=self._explores,
        )
        self._expert.reset(self._instruction)
        self._bits = {
            item.id: _CLASS_BITS.get(item.class_name, 0) for item in self._simulation.home.goods
        }
        self.steps = 0
        if self._meter is not None:
            self._meter.reset(self._simulation, self._instruction)
            if self._gate is not None:
                self._gated = GatedRobot(
                    self._gate.mode,
                    self._profile,
                    self._meter,
                    self._gate_account,
                    self._simulation,
                )
        self._observe()
        return self._instruction, self._observation

    def step(self, token: int) -> Observation:
        """Carry out a token (of robot.action_codec) for one step. Raises ActionError on one that
        means nothing, RuntimeError after the end."""
        simulation = self.simulation
        if self.done:
            raise RuntimeError("rollout: the episode is over, expected reset")
        command = decode(token, self._observation.joints, self._profile)
        self._expert.executed(token)
        if isinstance(command, EndOfEpisode):
            simulation.declare_end()
        elif self._gated is not None:
            self._gated.step(command, self.steps)
        else:
            simulation.apply(command)
            self._advance(command)
        self.steps += 1
        self._observe()
        return self._observation

    def _advance(self, command: Command) -> None:
        """Let the time of one step pass, and charge it."""
        step_s = self._profile.step_s
        if self._meter is None:
            self.simulation.advance(step_s)
            return
        self._meter.commanded(command)
        samples = round(step_s / SAMPLE_S[self.physics])
        for _ in range(samples):
            self.simulation.advance(step_s / samples)
            self._meter.sample(self.simulation)
        self._meter.close_step(self.steps)

    def expert_token(self) -> int:
        """What the expert would do now, whatever was done before."""
        if self._label is None:
            self._label = self._expert.act(self._observation).tokens[0]
        return self._label

    def labels(self) -> Labels:
        """The simulator's truth about the last observation."""
        simulation, truth = self.simulation, self._observation.privileged
        assert truth is not None
        targets = set(self._instruction.target_ids)
        back = inverse(truth.base)
        places = [
            transform_points(back, np.array(entry.pose.position)[None])[0]
            for entry in truth.scene.objects
            if entry.id in targets
        ]
        return Labels(
            target_visible=self.target_visible,
            target_in_base=min(
                places, key=lambda place: math.hypot(place[0], place[1]), default=np.full(3, np.nan)
            ),
            free_ahead=free_ahead(simulation.home.grid, truth.base),
            classes={name: self._classes(view.geom) for name, view in self._views.items()},
        )

    @property
    def target_visible(self) -> bool:
        """Whether an instructed object is in the first camera's last image."""
        geoms = np.unique(self._views[self._profile.cameras[0].name].geom).tolist()
        return any(self.simulation.owner(geom) in self._instruction.target_ids for geom in geoms)

    def _classes(self, geoms: NDArray) -> NDArray[np.int16]:
        """(G, G) which GOODS are in each square of CELL_PX pixels of an image of geoms."""
        there, image = np.unique(geoms, return_inverse=True)
        of_geom = [self._bits.get(self.simulation.owner(geom), 0) for geom in there.tolist()]
        bits = np.array(of_geom, np.int16)[image]
        cells = self.image_size // CELL_PX
        squares = bits.reshape(cells, CELL_PX, cells, CELL_PX)
        return np.bitwise_or.reduce(np.bitwise_or.reduce(squares, axis=3), axis=1)

    @property
    def done(self) -> bool:
        """Whether the episode is over: ended by the policy, or out of time."""
        return self.outcome is not None

    @property
    def outcome(self) -> Outcome | None:
        """The verdict; None while the episode runs."""
        return self.simulation.outcome()[0]

    @property
    def reason(self) -> str:
        """Why the outcome is what it is; empty while the episode runs."""
        return self.simulation.outcome()[1]

    @property
    def costs(self) -> Mapping[str, float]:
        """Cost of the episode so far, by term; empty without a specification."""
        return self.accounts[0].cumulative if self.accounts else {}

    @property
    def last_step_costs(self) -> Mapping[str, float]:
        """Cost of the last step, by term."""
        return self.accounts[0].last if self.accounts else {}

    @property
    def last_step_margins(self) -> Mapping[str, float]:
        """Margin of the last step, by term; NaN: it could not be judged."""
        return self.accounts[0].margins if self.accounts else {}

    @property
    def accounts(self) -> tuple[Account, ...]:
        """What each specification charges, in the order in which they were given."""
        return self._meter.accounts if self._meter is not None else ()

    @property
    def intervention(self) -> Intervention | None:
        """What the gate did to the last step's command; None: it passed, or there is no gate."""
        return self._gated.intervention if self._gated is not None else None

    def _observe(self) -> None:
        simulation = self.simulation
        views = {
            camera.name: simulation.look(
                camera.name, self.image_size, self.image_size, self.camera_moved
            )
            for camera in self._profile.cameras
        }
        self._views = views
        self._label = None
        self._observation = Observation(
            stamp_ns=round(simulation.time_s * NANOSECONDS),
            images={name: view.rgb for name, view in views.items()},
            joints=simulation.joints(),
            odometry=simulation.odometry(),
            object_in_hand=simulation.object_in_hand,
            privileged=PrivilegedState(simulation.localisation().pose, simulation.objects()),
        )


def free_ahead(grid: Grid, base: Pose) -> NDArray[np.float64]:
    """(K,) distance from the base along each of BEARINGS_RAD to what the floor plan knows [m]."""
    directions = BEARINGS_RAD + yaw_of(base.orientation)
    ranges = np.arange(RESOLUTION, FREE_RANGE_M, RESOLUTION)
    x, y, _ = base.position
    ix = ((x + ranges * np.cos(directions)[:, None] - grid.origin[0]) / RESOLUTION).astype(int)
    iy = ((y + ranges * np.sin(directions)[:, None] - grid.origin[1]) / RESOLUTION).astype(int)
    nx, ny = grid.occupied.shape
    hit = grid.occupied[ix.clip(0, nx - 1), iy.clip(0, ny - 1)]
    return np.where(hit.any(axis=1), ranges[hit.argmax(axis=1)], FREE_RANGE_M)
