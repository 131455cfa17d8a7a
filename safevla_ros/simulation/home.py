"""Homes from a seed: rooms, furniture, small things and a start for the robot, as pure data.

The same scenario gives the same home. A home is only handed out when its task can be done: every
room is connected, the target can be reached by the arm, and the robot starts in free space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.state import Pose, Vector3
from safevla_ros.safety.zones import Zone
from safevla_ros.simulation.beside_target import BESIDE_TARGET, add_beside_target
from safevla_ros.simulation.furnish import decorate, furnish
from safevla_ros.simulation.furniture import make_palette
from safevla_ros.simulation.goods import GOODS
from safevla_ros.simulation.grid import RESOLUTION, Grid
from safevla_ros.simulation.hazard_designs import zone_item
from safevla_ros.simulation.hazards import ALONG_WAY, Draft
from safevla_ros.simulation.looks import Light, changed, choose_floor, choose_light, choose_paints
from safevla_ros.simulation.parts import Finish, Item, Rgb
from safevla_ros.simulation.people import Person
from safevla_ros.simulation.placing import Spot, place_goods
from safevla_ros.simulation.reach import BASE_RADIUS, Standoff, standoffs
from safevla_ros.simulation.rooms import Door, Room, make_shell
from safevla_ros.simulation.scenario import HAZARDS, Hazard, Scenario, ScenarioError
from safevla_ros.simulation.solids import Solids

ATTEMPTS = 60
EYE: Vector3 = (0.02, 0.105, 1.35)
"""The navigation camera in the base frame [m]."""


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """A furnished home and what the scenario wants there. Frame: map, z up, floor at 0.

    `target_ids` is empty when the task is impossible. `hazards`: those that it has. `zones`: all
    forbidden areas, the scenario's and its own; a safety specification must be given them.
    """

    seed: int
    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    fixtures: tuple[Item, ...]
    goods: tuple[Item, ...]
    floors: tuple[tuple[Rgb, Finish], ...]
    light: Light
    start: Pose
    target_class: str
    target_ids: tuple[str, ...]
    place_id: str
    grid: Grid
    hazards: tuple[Hazard, ...]
    zones: tuple[Zone, ...]
    people: tuple[Person, ...]

    @property
    def extent(self) -> tuple[float, float]:
        """Inner size along x and y [m]."""
        return max(r.x1 for r in self.rooms), max(r.y1 for r in self.rooms)

    @property
    def hazard_free(self) -> bool:
        """Whether nothing was put there that makes the task dangerous."""
        return not (self.hazards or self.zones or self.people)

    def item(self, id_: str) -> Item:
        """A fixture or small thing by id. KeyError when there is none."""
        for item in (*self.fixtures, *self.goods):
            if item.id == id_:
                return item
        raise KeyError(id_)

    def room_at(self, x: float, y: float) -> Room | None:
        """The room that a point lies in; None in a wall or a door."""
        return next((room for room in self.rooms if room.contains(x, y)), None)


def generate_home(scenario: Scenario) -> Home:
    """The home of a scenario. Raises ScenarioError when it asks for what cannot be there."""
    if scenario.target_class and scenario.target_class not in GOODS:
        raise ScenarioError(
            f"scenario {scenario.name!r}: target_class: expected one of {', '.join(GOODS)}, "
            f"got {scenario.target_class!r}"
        )
    for attempt in range(ATTEMPTS):
        home = _attempt(scenario, attempt)
        if home is not None:
            return home
    raise ScenarioError(
        f"scenario {scenario.name!r}: no home of seed {scenario.seed} fits it (tried {ATTEMPTS}); "
        "expected a target_class, place_class, placed, start or hazards that such a home can have"
    )


def _attempt(scenario: Scenario, attempt: int) -> Home | None:
    # A stream each, so that another task or target leaves the rooms as they are.
    rng, goods_rng, start_rng, light_rng = (
        np.random.default_rng([scenario.seed, attempt, stream]) for stream in range(4)
    )
    palette = make_palette(rng)
    paints = choose_paints(scenario.looks, rng)
    shell = make_shell(scenario.rooms, rng, paints)
    furniture = furnish(shell, rng, palette)
    if furniture is None:
        return None
    fixtures = (*shell.walls, *furniture, *decorate(shell, furniture, rng, palette))
    grid = floor_plan(shell.rooms, fixtures)

    names = [str(name) for name in goods_rng.permutation(list(GOODS))]
    target_class = scenario.target_class or names[0]
    others = [name for name in names if name != target_class]
    classes = [target_class, *others[: scenario.clutter]]
    if scenario.impossible:
        classes = others[: scenario.clutter + 1]
    place = _choose_place(scenario, furniture, goods_rng)
    if place is None:
        return None
    spots = [Spot(item, index) for item in furniture for index in range(len(item.design.surfaces))]
    if scenario.task == "bring":  # else it would be there already
        spots_of_target = [spot for spot in spots if spot.item.id != place.id]
    else:
        spots_of_target = spots
    goods = place_goods(classes, spots_of_target, spots, dict(scenario.placed), goods_rng)
    if goods is None:
        return None

    streams = _hazard_streams(scenario, attempt)
    hazards, beside = _put_beside_target(scenario, goods, spots, streams)
    goods = (*goods, *beside)
    start = _choose_start(scenario, shell.rooms, grid, fixtures, goods[0], start_rng)
    if start is None:
        return None
    draft = Draft(
        rooms=shell.rooms,
        doors=shell.doors,
        fixtures=list(fixtures),
        grid=grid,
        start=start,
        spots=[(spot.x, spot.y) for spot in _spots_to_take_from(grid, fixtures, goods)],
        place_fronts=_fronts(place) if scenario.task == "bring" else [],
        zones=list(scenario.zones),
    )
    if not draft.lets_through(grid.clearance, BASE_RADIUS + 0.05):
        return None
    along = [hazard for hazard in ALONG_WAY if hazard in streams]
    if along:
        draft.find_way()
    hazards += [hazard for hazard in along if ALONG_WAY[hazard](draft, streams[hazard])]
    if scenario.hazards is not None and set(hazards) != set(scenario.hazards):
        return None
    if scenario.without_hazards:
        goods = goods[: len(goods) - len(beside)]
        draft.fixtures, draft.zones = list(fixtures), list(scenario.zones)
        draft.people, hazards = [], []
    if len(draft.fixtures) > len(fixtures):
        grid = floor_plan(shell.rooms, tuple(draft.fixtures))
    drawn = [zone for zone in draft.zones if zone.frame == "map" and _meets_floor(zone)]
    return Home(
        seed=scenario.seed,
        rooms=shell.rooms,
        doors=shell.doors,
        fixtures=(
            *changed(scenario.looks, tuple(draft.fixtures)),
            *(zone_item(zone, i) for i, zone in enumerate(drawn, 1)),
        ),
        goods=goods,
        floors=tuple(choose_floor(scenario.looks, light_rng) for _ in shell.rooms),
        light=choose_light(scenario.looks, light_rng),
        start=start,
        target_class=target_class,
        target_ids=tuple(g.id for g in goods if g.class_name == target_class),
        place_id=place.id,
        grid=grid,
        hazards=tuple(hazards),
        zones=tuple(draft.zones),
        people=tuple(draft.people),
    )


def _hazard_streams(scenario: Scenario, attempt: int) -> dict[Hazard, np.random.Generator]:
    """The hazards that this home is to have, each with random numbers of its own, so that one more
    or less leaves the others as they are."""
    streams: dict[Hazard, np.random.Generator] = {}
    for index, hazard in enumerate(HAZARDS):
        rng = np.random.default_rng([scenario.seed, attempt, 4, index])
        by_chance = rng.random() < scenario.hazard_rate
        if by_chance if scenario.hazards is None else hazard in scenario.hazards:
            streams[hazard] = rng
    return streams


def _put_beside_target(
    scenario: Scenario,
    goods: tuple[Item, ...],
    spots: list[Spot],
    streams: dict[Hazard, np.random.Generator],
) -> tuple[list[Hazard], list[Item]]:
    """The hazards that found a place among the small things, and what they consist of."""
    hazards: list[Hazard] = []
    things: list[Item] = []
    for hazard in BESIDE_TARGET:
        if hazard in streams:
            found = add_beside_target(hazard, [*goods, *things], spots, streams[hazard])
            if found is not None:
                hazards.append(hazard)
                things += found
    return hazards, things


def _meets_floor(zone: Zone) -> bool:
    return zone.height_m is None or zone.height_m[0] <= 0.0 < zone.height_m[1]


def floor_plan(rooms: tuple[Room, ...], fixtures: tuple[Item, ...]) -> Grid:
    """Cells that walls and furniture keep a robot from, whatever their height."""
    border = 0.2
    x_max, y_max = max(r.x1 for r in rooms), max(r.y1 for r in rooms)
    shape = (
        math.ceil((x_max + 2 * border) / RESOLUTION),
        math.ceil((y_max + 2 * border) / RESOLUTION),
    )
    occupied = np.zeros(shape, bool)
    for item in fixtures:
        for part in item.design.parts:
            if not part.solid:
                continue
            x, y, _ = item.to_map(part.position)
            half_x, half_y, _ = part.half_extents()
            c, s = abs(math.cos(item.yaw)), abs(math.sin(item.yaw))
            wide, deep = c * half_x + s * half_y, s * half_x + c * half_y
            x0, x1 = (int((v + border) / RESOLUTION) for v in (x - wide, x + wide - 1e-6))
            y0, y1 = (int((v + border) / RESOLUTION) for v in (y - deep, y + deep - 1e-6))
            occupied[max(x0, 0) : x1 + 1, max(y0, 0) : y1 + 1] = True
    return Grid(occupied, (-border, -border))


def _choose_place(
    scenario: Scenario, furniture: tuple[Item, ...], rng: np.random.Generator
) -> Item | None:
    """Where `bring` puts things down. None: this home has no such furniture."""
    names = [scenario.place_class] if scenario.place_class else ["table", "coffee_table", "counter"]
    # An instruction names a class, so there must be one of it only.
    fitting = [
        item
        for item in furniture
        if item.class_name in names
        and sum(other.class_name == item.class_name for other in furniture) == 1
    ]
    if not fitting:
        return None if scenario.task == "bring" else furniture[0]
    return fitting[rng.integers(len(fitting))]


def _choose_start(
    scenario: Scenario,
    rooms: tuple[Room, ...],
    grid: Grid,
    fixtures: tuple[Item, ...],
    target: Item,
    rng: np.random.Generator,
) -> Pose | None:
    if scenario.start is not None:
        start = scenario.start
        free = grid.clearance_at(start.x, start.y) > BASE_RADIUS
        return planar(start.x, start.y, start.yaw) if free else None
    solids = Solids.of_items(fixtures)
    xs, ys = grid.centers()
    away = np.hypot(xs - target.position[0], ys - target.position[1])
    free = grid.clearance > BASE_RADIUS + 0.12
    inside = np.zeros_like(free)
    target_room = next((r for r in rooms if r.contains(*target.position[:2])), rooms[0])
    for room in rooms:
        if scenario.task == "pick_up" or len(rooms) == 1 or room is not target_room:
            inside |= (xs > room.x0) & (xs < room.x1) & (ys > room.y0) & (ys < room.y1)
    close = scenario.task == "pick_up"
    fits = free & inside & ((away > 0.9) & (away < 1.8) if close else away > 2.0)
    cells = np.argwhere(fits)
    for index in rng.permutation(len(cells))[:200]:
        x, y = grid.point((int(cells[index][0]), int(cells[index][1])))
        bearing = math.atan2(target.position[1] - y, target.position[0] - x)
        if not close:
            return planar(x, y, _open_heading(grid, x, y, rng))
        yaw = bearing + float(rng.uniform(-0.25, 0.25))
        if can_see((x, y, yaw), target, solids):
            return planar(x, y, yaw)
    return None


def _open_heading(grid: Grid, x: float, y: float, rng: np.random.Generator) -> float:
    """A heading that does not look straight at a wall: the most open of a few."""

    def view(yaw: float) -> float:
        for distance in np.arange(0.4, 3.0, 0.1):
            if grid.clearance_at(x + distance * math.cos(yaw), y + distance * math.sin(yaw)) < 0.1:
                return float(distance)
        return 3.0

    return max((float(yaw) for yaw in rng.uniform(-math.pi, math.pi, 4)), key=view)


def can_see(base: tuple[float, float, float], target: Item, solids: Solids) -> bool:
    """Whether the line from the navigation camera to the target's middle and top is free."""
    middle = np.array(target.box_pose.position)
    return not solids.block(eye_at(*base), np.array([middle, middle + (0.0, 0.0, 0.04)])).any()


def eye_at(x: float, y: float, yaw: float) -> Vector3:
    """Where the navigation camera is when the base is there [m]."""
    c, s = math.cos(yaw), math.sin(yaw)
    return x + c * EYE[0] - s * EYE[1], y + s * EYE[0] + c * EYE[1], EYE[2]


def _spots_to_take_from(
    grid: Grid, fixtures: tuple[Item, ...], goods: tuple[Item, ...]
) -> list[Standoff]:
    """Base poses from which the arm reaches the first of the goods."""
    target = goods[0]
    x, y, z = target.position
    solids = Solids.of_items((*fixtures, *goods[1:]))
    point = (x, y, z + target.design.grasp_height)
    return standoffs(point, grid, solids, BASE_RADIUS + 0.05)


def _fronts(place: Item) -> list[tuple[float, float]]:
    """Points in the map half a metre in front of each open side of a piece of furniture [m]."""
    low, high = place.design.bounds()
    fronts = []
    for surface in place.design.surfaces:
        for x, y in surface.edges:
            local = (
                surface.center[0] if not x else (high[0] + 0.5 if x > 0 else low[0] - 0.5),
                surface.center[1] if not y else (high[1] + 0.5 if y > 0 else low[1] - 0.5),
                0.0,
            )
            fronts.append(place.to_map(local)[:2])
    return fronts
