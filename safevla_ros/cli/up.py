"""`safevla up`: the graph for a robot, without `ros2 launch`; or a check of what the robot offers."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.nodes.graph.bringup import Graph
    from safevla_ros.nodes.graph.graph_check import Finding


def up(
    robot: Annotated[
        str, typer.Option(help="Name under config/robots, or a path to a .yaml file.")
    ],
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Start nothing: say what the live graph lacks of the robot's profile."
        ),
    ] = False,
    policy: Annotated[str, typer.Option(help="Name of a policy, or its folder.")] = "",
    mode: Annotated[
        str, typer.Option(help="shadow, observe or enforce. Default: the profile's.")
    ] = "",
    specification: Annotated[
        str,
        typer.Option(
            "--spec", "--specification", help="Name under config/safety, or a path to a .yaml file."
        ),
    ] = "",
    scenario: Annotated[
        str, typer.Option(help="Of a simulated robot: name under sim/scenarios, or a path.")
    ] = "",
    namespace: Annotated[str, typer.Option(help="Namespace of all relative names.")] = "",
    params_file: Annotated[
        Path | None,
        typer.Option(
            help="ROS parameter file; what is given here as an option goes first.", exists=True
        ),
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Folder that the folder for bags and logs goes into.")
    ] = Path("runs"),
    log_level: Annotated[str, typer.Option(help="debug, info, warn, error or fatal.")] = "info",
    respawn: Annotated[bool, typer.Option(help="Start optional nodes anew when they exit.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --check: print one JSON object.")
    ] = False,
) -> None:
    """Bring up all nodes for a robot and keep them up until Ctrl-C.

    With --check nothing is started or commanded: it exits with 0 when the live graph has all that
    the robot's profile asks for, else with 1.

    Example: `safevla up --robot stretch --check`
    """
    from safevla_ros.cli.ros import require_ros

    require_ros()
    if as_json and not check:
        raise Failure(ExitCode.BAD_INPUT, "--json goes with --check")
    from safevla_ros.cli.graph import describe_graph
    from safevla_ros.cli.run_folder import make_run_folder
    from safevla_ros.nodes.graph.bringup import Options

    options = Options(
        robot=robot,
        mode=mode,
        specification=specification,
        scenario=scenario,
        policy=policy,
        namespace=namespace,
    )
    if policy or not check:
        describe_graph(options)  # whatever is wrong is said before there is a folder
    if check:
        _check(robot, namespace, as_json)
        return
    folder = make_run_folder(directory)
    options = dataclasses.replace(options, directory=str(folder.bags))
    _keep_up(
        describe_graph(options),
        folder.logs,
        params_file=params_file,
        log_level=log_level,
        respawn=respawn,
    )


def _keep_up(
    graph: Graph, logs: Path, *, params_file: Path | None, log_level: str, respawn: bool
) -> None:
    from safevla_ros.cli.graph import graph_errors
    from safevla_ros.nodes.graph.domain import domain_id
    from safevla_ros.nodes.graph.supervisor import Interrupted, Supervisor

    def report(name: str, what: str) -> None:
        print(f"{name}: {what}", flush=True)

    with graph_errors():
        print(f"{graph.profile.description} on ROS domain {domain_id()}; logs: {logs}", flush=True)
        began = time.monotonic()
        try:
            with Supervisor(
                graph,
                logs,
                params_file=params_file,
                log_level=log_level,
                may_respawn=respawn,
                report=report,
            ) as supervisor:
                supervisor.bring_up()
                print(f"up after {time.monotonic() - began:.1f} s; Ctrl-C stops it", flush=True)
                while True:
                    supervisor.spin(1.0)
        except Interrupted as error:
            print("stopped", flush=True)
            if str(error) == "SIGINT":
                raise typer.Exit(ExitCode.INTERRUPTED) from None


def _check(robot: str, namespace: str, as_json: bool) -> None:
    from safevla_ros.nodes.graph.discovery import check_graph
    from safevla_ros.robot.profile import ProfileError, load_profile

    try:
        profile = load_profile(robot)
    except ProfileError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    findings = check_graph(profile, namespace)
    faults = [finding for finding in findings if finding.is_fault]
    if as_json:
        entries = {
            finding.key: {
                "name": finding.name,
                "verdict": finding.verdict,
                "text": finding.text,
                "required": finding.required,
            }
            for finding in findings
        }
        print(
            json.dumps({"robot": profile.name, "faults": len(faults), "checks": entries}, indent=2)
        )
    else:
        _print_findings(profile.description, findings, len(faults))
    raise typer.Exit(ExitCode.FAILED if faults else ExitCode.DONE)


def _print_findings(robot: str, findings: list[Finding], faults: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # names are there to be read and copied
    for finding in findings:
        style = "red" if finding.is_fault else "green" if finding.verdict == "ok" else "yellow"
        verdict = finding.verdict if finding.required else f"{finding.verdict} (optional)"
        if finding.verdict == "ok":
            verdict = "ok"
        table.add_row(
            f"[{style}]{verdict}[/]",
            f"{finding.key}  {escape(finding.name)}\n[dim]{escape(finding.text)}[/]",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{robot}: {faults} {'fault' if faults == 1 else 'faults'}"
        if faults
        else f"{robot}: everything required is there",
        highlight=False,
    )
