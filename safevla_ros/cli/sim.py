"""`safevla sim`: one episode in simulation, shown live, with a report at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from safevla_ros.cli.live import View
    from safevla_ros.cli.run_folder import RunFolder
    from safevla_ros.nodes.graph.bringup import Graph
    from safevla_ros.nodes.graph.supervisor import Supervisor
    from safevla_ros.nodes.operator import Operator, RunResult
    from safevla_ros.nodes.run_state import RunState

VIEW_NICE = 5
FRAME_S = 0.2  # between pictures of the live view
BAG_TIMEOUT_S = 15.0


def sim(
    scenario: Annotated[
        str, typer.Option(help="Name under sim/scenarios, or a path to a .yaml file.")
    ] = "default",
    policy: Annotated[
        str, typer.Option(help="Name of a policy, or its folder. Default: the scenario's own.")
    ] = "",
    mode: Annotated[
        str, typer.Option(help="shadow, observe or enforce. Default: the profile's, enforce.")
    ] = "",
    specification: Annotated[
        str,
        typer.Option(
            "--spec", "--specification", help="Name under config/safety, or a path to a .yaml file."
        ),
    ] = "",
    directory: Annotated[Path, typer.Option(help="Folder that the run's folder goes into.")] = Path(
        "runs"
    ),
    real_time_factor: Annotated[
        float, typer.Option(help="Simulated seconds per second.", min=0.01, max=100.0)
    ] = 1.0,
    headless: Annotated[
        bool, typer.Option("--headless", help="Plain lines, as where output is no terminal.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the summary as one JSON object; the rest goes to stderr."
        ),
    ] = False,
) -> None:
    """Run a robot doing a task in simulation, behind the safety monitor.

    Leaves `runs/TIME/` with the bag, a video, a picture of the path and summary.json, whatever the
    outcome. Ctrl-C at any moment leaves a readable bag, and the report of it; a second one skips
    the report.

    Example: `safevla sim --policy scripted-careful`
    """
    from safevla_ros.cli.ros import require_ros

    require_ros()
    from rich.console import Console

    from safevla_ros.cli.graph import describe_graph
    from safevla_ros.cli.run_folder import make_run_folder
    from safevla_ros.cli.summary import print_summary
    from safevla_ros.nodes.graph.bringup import Options

    options = Options(
        mode=mode,
        specification=specification,
        scenario=scenario,
        policy=policy,
        real_time_factor=real_time_factor,
    )
    describe_graph(options)  # whatever is wrong is said before there is a folder
    folder = make_run_folder(directory)
    options = dataclasses.replace(options, directory=str(folder.bags))
    console = Console(stderr=as_json)
    failure = None
    try:
        result = _run(describe_graph(options), folder, console, plain=headless)
        if not result.completed:
            failure = Failure(ExitCode.FAILED, f"the run was not completed: {result.reason}")
    except Failure as error:
        if not folder.logs.exists():  # nothing was started: another graph has the domain
            shutil.rmtree(folder.path)
            raise
        if not any(folder.bags.glob("*")):  # nothing was recorded
            raise
        failure = error
    summary = _report(folder, console)
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        print_summary(console, summary, folder.path)
    if failure is not None:
        raise failure


def _run(graph: Graph, folder: RunFolder, console: Console, *, plain: bool) -> RunResult:
    """Bring the graph up, run one episode, take the graph down."""
    from safevla_ros.cli.graph import graph_errors
    from safevla_ros.cli.live import view_for
    from safevla_ros.nodes.graph.supervisor import Interrupted, Supervisor
    from safevla_ros.nodes.operator import Operator, RunError
    from safevla_ros.nodes.run_state import RunState

    state = RunState(robot=graph.profile.description, policy=graph.policy)
    view = view_for(console, plain=plain)

    def report(name: str, what: str) -> None:
        state.nodes[name] = what
        view.update(state)

    # A run that has lost a node is not the run that was asked for, so each is required here.
    graph = dataclasses.replace(
        graph, nodes=tuple(dataclasses.replace(node, required=True) for node in graph.nodes)
    )
    state.nodes.update(dict.fromkeys((node.name for node in graph.nodes), "starting"))
    try:
        with graph_errors(), view, Supervisor(graph, folder.logs, report=report) as supervisor:
            supervisor.bring_up()
            os.nice(VIEW_NICE)  # drawing must not hold up the robot
            operator = Operator(state, context=supervisor.context, namespace=graph.namespace)
            supervisor.add_node(operator)
            watch = _Watch(supervisor, view, state)
            try:
                return _episode(operator, watch, folder)
            except Interrupted:
                state.add_event("stopping", "the bag is being finished")
                view.update(state)
                raise
    except RunError as error:
        raise Failure(ExitCode.FAILED, f"{error}; logs: {folder.logs}") from error
    except Interrupted as error:
        raise Failure(
            ExitCode.INTERRUPTED, f"stopped by {error}; what was recorded is in {folder.bags}"
        ) from error


class _Watch:
    """Spins the graph and redraws the view until something is the case."""

    def __init__(self, supervisor: Supervisor, view: View, state: RunState) -> None:
        self._supervisor = supervisor
        self._view = view
        self._state = state

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it became true within `timeout_s`."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            self._supervisor.spin(FRAME_S)
            self._view.update(self._state)
        return True


def _episode(operator: Operator, watch: _Watch, folder: RunFolder) -> RunResult:
    from safevla_ros.nodes.operator import run_scenario

    result = run_scenario(operator, watch.until)
    # The recorder waits for the last messages, then closes the bag. One that is still open when the
    # graph goes down is closed then.
    metadata = folder.bags / result.episode_id / "metadata.yaml"
    watch.until(metadata.is_file, BAG_TIMEOUT_S)
    return result


def _report(folder: RunFolder, console: Console) -> dict[str, Any]:
    from safevla_ros.assurance.run_report import SUMMARY, write_run_report
    from safevla_ros.bags import BagError

    # A run has one episode. The report is made of an interrupted one too; Ctrl-C skips it.
    with console.status("writing the report ...") as status:
        try:
            write_run_report(
                folder.bags,
                folder.path,
                progress=lambda what: status.update(f"writing the report: {what} ..."),
            )
            # As it is written: what is no number is null there.
            return json.loads((folder.path / SUMMARY).read_text(encoding="utf-8"))
        except BagError as error:
            raise Failure(ExitCode.FAILED, f"no report: {error}") from error
        except KeyboardInterrupt:
            raise Failure(
                ExitCode.INTERRUPTED, f"stopped while writing the report; the bag: {folder.bags}"
            ) from None
