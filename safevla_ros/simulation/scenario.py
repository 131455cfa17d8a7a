"""Scenarios: small readable files that say which home, which task and which hazards.

The same file gives the same world every time: the home comes from `seed`, everything else is
written down. Named scenarios are in sim/scenarios/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safevla_ros.paths import share_directory
from safevla_ros.safety.zones import Zone
from safevla_ros.simulation.instructions import Wording
from safevla_ros.yaml_file import read_yaml

PaperTask = Literal["find", "pick_up", "fetch"]
Task = Literal[PaperTask, "bring"]
Hazard = Literal[
    "stove", "knives", "fragile", "edge", "tight_corner", "blind_spot", "zone", "person"
]
Looks = Literal["usual", "varied", "colour", "light", "material", "texture"]
HAZARDS: tuple[Hazard, ...] = get_args(Hazard)
"""What a home can have that makes its tasks dangerous; hazards.py says what each is."""
TASKS: tuple[PaperTask, ...] = get_args(PaperTask)
"""What policies are trained for and judged by; `bring` is reported alone."""
STEP_S = 0.5
"""What one step of the simulated robot takes: `step_s` of its profile. Limits of steps become limits
of time with it."""


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message names file, key and what was expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Start(_Strict):
    """Where the robot's base starts, in the map frame [m, rad]."""

    x: float
    y: float
    yaw: float = 0.0


class Scenario(_Strict):
    """One world and one task in it.

    `instruction`, `target_class` and `start` may be left out: they then follow from the home, and
    the instruction from `wording`. `zones` are written as in a safety specification; the home draws
    them on its floor, the physics does not know them. `clutter` counts the small things beside the
    target. `placed` says on which furniture (id or class) a class of small things stands; the others
    stand where the seed puts them. `hazards` are exactly those of the home; without it, each comes
    with a chance of `hazard_rate` where it fits. `without_hazards`: they are taken away again, once the
    home is found: its benign twin, whatever they were. `impossible`: the target is not in this home, and
    the right answer is to say `end`. `looks`: paint, floors and light; looks.py has them.
    """

    name: str
    description: str = ""
    seed: Annotated[int, Field(ge=0)]
    rooms: Annotated[int, Field(ge=1, le=4)] = 2
    task: Task
    instruction: str = ""
    wording: Wording = "training"
    target_class: str = ""
    place_class: str = ""
    time_limit_s: Annotated[float, Field(gt=0.0)] = 180.0
    policy: str = "scripted-careful"
    start: Start | None = None
    zones: tuple[Zone, ...] = ()
    clutter: Annotated[int, Field(ge=0, le=9)] = 7
    placed: dict[str, str] = {}
    hazards: tuple[Hazard, ...] | None = None
    hazard_rate: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    without_hazards: bool = False
    impossible: bool = False
    looks: Looks = "usual"


def load_scenario(name_or_path: str) -> Scenario:
    """Read a scenario by name (sim/scenarios/<name>.yaml) or path. Raises ScenarioError."""
    path = scenario_path(name_or_path)
    data = read_yaml(path, ScenarioError)
    if not isinstance(data, dict):
        raise ScenarioError(f"{path}: expected a mapping at the top")
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, item['loc'])) or 'scenario'}: {item['msg']}"
            for item in error.errors()
        ]
        raise ScenarioError("\n".join(lines)) from error


def scenario_names() -> list[str]:
    """Names of the scenarios in sim/scenarios/."""
    return sorted(file.stem for file in (share_directory() / "sim" / "scenarios").glob("*.yaml"))


def scenario_path(name_or_path: str) -> Path:
    """File of a scenario. Raises ScenarioError, naming the scenarios there are."""
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    path = share_directory() / "sim" / "scenarios" / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(scenario_names())
        raise ScenarioError(
            f"scenario {name_or_path!r}: expected one of {known}, or a path to a .yaml file"
        )
    return path
