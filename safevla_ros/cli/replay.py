"""`safevla replay`: a bag played to the safety nodes, and what they make of it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.bags.reader import Bag
    from safevla_ros.nodes.graph.replay import Comparison

MATCH_TIMEOUT_S = 20.0


def replay(
    bag: Annotated[Path, typer.Argument(help="A bag: its folder.", show_default=False)],
    spec: Annotated[
        str,
        typer.Option(
            "--spec",
            "--specification",
            help="Name under config/safety, or a path to a .yaml file. Default: the bag's.",
        ),
    ] = "",
    mode: Annotated[
        str, typer.Option(help="observe, enforce or shadow. Default: as recorded.")
    ] = "",
    robot: Annotated[str, typer.Option(help="Robot profile. Default: what the bag says.")] = "",
    rate: Annotated[
        float, typer.Option(help="Recorded seconds per second.", min=0.1, max=10.0)
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play a bag to cost monitor and watchdog, and compare what they say with what they said.

    The real nodes run, in the namespace /replay and without any of the robot's services, so nothing
    moves. To score many bags without a graph, and exactly: `safevla bags score`.

    Example: `safevla replay runs/20260101-120000/bag/e1 --mode enforce`
    """
    from safevla_ros.cli.ros import require_ros

    require_ros()
    from safevla_ros.bags import BagError
    from safevla_ros.bags.reader import Bag

    try:
        opened = Bag(bag)
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    with tempfile.TemporaryDirectory(prefix="safevla-replay-") as folder:
        comparison = _run(opened, Path(folder), spec=spec, mode=mode, robot=robot, rate=rate)
    if as_json:
        print(json.dumps(dataclasses.asdict(comparison)))
        return
    costs = ", ".join(f"{name} {cost:g}" for name, cost in comparison.costs.items())
    decisions = ", ".join(f"{count} {name}" for name, count in comparison.decisions.items())
    print(f"{comparison.replayed} steps replayed of {comparison.recorded} recorded")
    print(f"costs: {costs or 'none'}")
    print(f"gate: {decisions or 'nothing was proposed'}")
    print(
        f"{comparison.equal} steps as recorded; costs and margins differ by at most "
        f"{comparison.largest_difference:.3g}"
    )


def _run(bag: Bag, folder: Path, *, spec: str, mode: str, robot: str, rate: float) -> Comparison:
    from rich.console import Console

    from safevla_ros.bags import BagError
    from safevla_ros.bags import metadata as keys
    from safevla_ros.cli.graph import graph_errors
    from safevla_ros.nodes.graph import replay as graph
    from safevla_ros.nodes.graph.supervisor import Interrupted, Supervisor
    from safevla_ros.robot.profile import ProfileError, load_profile
    from safevla_ros.safety.specification import SpecificationError, load_specification

    try:
        specification, recorded_mode = _recorded(bag)
        profile = graph.replay_profile(load_profile(robot or bag.provenance.get(keys.ROBOT, "")))
        if spec:
            specification = load_specification(spec).text
        if not specification:
            raise BagError(f"{bag.path}: holds no cost specification: give --spec")
        played = graph.played_topics(bag, profile)
    except (BagError, ProfileError, SpecificationError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    path = folder / "specification.yaml"
    path.write_text(specification, encoding="utf-8")
    described = graph.describe_replay(profile, folder, mode or recorded_mode, path)
    console = Console(stderr=True)
    try:
        with graph_errors(), Supervisor(described, folder / "logs") as supervisor:
            player = graph.Player(supervisor.context, bag, played)
            supervisor.add_node(player)
            with console.status("starting the safety nodes ...") as status:
                supervisor.bring_up()
                waited_s = 0.0
                while not player.is_heard():
                    if waited_s > MATCH_TIMEOUT_S:
                        raise Failure(ExitCode.FAILED, "the monitor does not hear the replay")
                    supervisor.spin(0.1)
                    waited_s += 0.1
                for second in player.play(rate, supervisor.spin):
                    status.update(f"playing: {second:.1f} s, {len(player.steps)} steps ...")
            return graph.compare(bag, player)
    except Interrupted as error:
        raise Failure(ExitCode.INTERRUPTED, f"stopped by {error}") from error


def _recorded(bag: Bag) -> tuple[str, str]:
    """Text of the specification and mode of the monitor, as the bag has them. Raises BagError."""
    specification, mode = "", ""
    for raw in bag.messages():
        kind = bag.topics[raw.topic].type
        if kind == "safevla_ros/msg/CostSpecification":
            specification = bag.decode(raw).yaml
        elif kind == "safevla_ros/msg/SafetyStatus" and not mode:
            value = bag.decode(raw).mode
            constants = bag.constants(raw.topic)
            names = ("SHADOW", "OBSERVE", "ENFORCE")
            mode = next((name.lower() for name in names if constants.get(name) == value), "")
        if specification and mode:
            break
    return specification, mode
