"""`safevla loop`: run, record, learn from the bags, prove, replace, and again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from rich.console import Console

    from safevla_ros.assurance.rounds import LoopState, Played, Round

BAGS, SCENARIOS, FIT, PROOF = "bags", "scenarios", "fit", "proof"
BAG_TIMEOUT_S = 30.0
SAID = "safevla: "
"""What the sentence of a failure begins with."""


def loop(
    policy: Annotated[str, typer.Option(help="What runs first: a policy's name or folder.")],
    rounds: Annotated[int, typer.Option(help="Of playing, learning and proving.", min=1)] = 3,
    episodes: Annotated[int, typer.Option(help="Through the graph in each round.", min=1)] = 30,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="Cost allowed per episode, as TERM=NUMBER; once for each term. Others: "
            "the specification's."
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="Of the gate while playing: observe or enforce.")
    ] = "observe",
    specification: Annotated[
        str, typer.Option("--spec", "--specification", help="Costs: a name under config/safety.")
    ] = "household",
    evaluation_episodes: Annotated[
        int, typer.Option(help="Homes for each task in which a candidate is proved.", min=1)
    ] = 60,
    evaluation_physics: Annotated[str, typer.Option(help="full or fast.")] = "full",
    margin: Annotated[float, typer.Option(help="See `safevla promote`.", min=0.0, max=1.0)] = 0.05,
    fit: Annotated[
        str, typer.Option(help="Further arguments of `safevla train offline`, as one text.")
    ] = "",
    time_limit_s: Annotated[
        float, typer.Option(help="Of an episode, in simulated time.", min=1.0)
    ] = 180.0,
    real_time_factor: Annotated[
        float, typer.Option(help="Simulated seconds per second.", min=0.01, max=100.0)
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the homes that are played in.", min=0, max=79)] = 0,
    directory: Annotated[Path, typer.Option(help="Folder of the loop.")] = Path("runs/loop"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rounds as JSON; the rest goes to stderr.")
    ] = False,
) -> None:
    """Close the loop: each round plays episodes through the ROS graph, learns a candidate from all
    bags so far, and lets it run in the next round if it passes the release gate.

    Stopped at any moment and run again, it goes on where it was.

    Example: `safevla loop --policy policies/mine --rounds 3 --episodes 30 --budget collision=0.5`
    """
    from safevla_ros.cli.budgets import read_budgets
    from safevla_ros.cli.learning import require_torch
    from safevla_ros.cli.ros import require_ros

    # What only a later step needs is asked for here: it would else fail after hours of playing.
    for option, value, known in (
        ("--mode", mode, ("observe", "enforce")),
        ("--evaluation-physics", evaluation_physics, ("full", "fast")),
    ):
        if value not in known:
            expected = " or ".join(known)
            raise Failure(ExitCode.BAD_INPUT, f"{option} {value}: expected {expected}")
    require_ros()
    require_torch()
    import shlex

    from rich.console import Console

    from safevla_ros.assurance.rounds import LoopError, LoopSettings, load_state, run_loop
    from safevla_ros.safety.specification import SpecificationError, load_specification

    console = Console(stderr=as_json)
    try:
        costs = load_specification(specification)
        allowed = costs.budgets | read_budgets(budget or [], costs.terms)
        state = load_state(
            directory,
            LoopSettings(
                policy=policy,
                rounds=rounds,
                episodes=episodes,
                mode=mode,
                specification=specification,
                budgets=allowed,
                evaluation_episodes=evaluation_episodes,
                evaluation_physics=evaluation_physics,
                margin=margin,
                fit=tuple(shlex.split(fit)),
                time_limit_s=time_limit_s,
                real_time_factor=real_time_factor,
                seed=seed,
            ),
        )
    except (LoopError, SpecificationError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    steps = Steps(directory, console)
    try:
        run_loop(directory, state, {"play": steps.play, "fit": steps.fit, "prove": steps.prove})
    except KeyboardInterrupt:
        raise Failure(ExitCode.INTERRUPTED, "stopped; run it again to go on") from None
    finally:
        _print(console, state)
    if as_json:
        print(json.dumps([entry.model_dump() for entry in state.rounds], indent=2))


class Steps:
    """Carries out the steps of a loop in its folder."""

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder.absolute()
        self._console = console

    def play(self, state: LoopState, entry: Round, keep: Callable[[], None]) -> None:
        """The round's episodes, each through a graph of its own: data are split by starts of the
        recorder, so a round that is one start could not be learnt from and judged."""
        from safevla_ros.assurance.rounds import scenario_of, write_scenario

        settings = state.settings
        for number in range(len(entry.played), settings.episodes):
            scenario = scenario_of(settings, entry.number, number)
            file = write_scenario(self._round(entry) / SCENARIOS, scenario)
            entry.played.append(self._play(state, entry, file))
            keep()

    def _play(self, state: LoopState, entry: Round, scenario: Path) -> Played:
        from safevla_ros.assurance.rounds import Played
        from safevla_ros.cli.graph import describe_graph, graph_errors
        from safevla_ros.nodes.graph.bringup import Options
        from safevla_ros.nodes.graph.supervisor import Interrupted, Supervisor
        from safevla_ros.nodes.operator import Operator, RunError, run_scenario
        from safevla_ros.nodes.run_state import RunState

        settings, bags = state.settings, self._round(entry) / BAGS
        options = Options(
            mode=settings.mode,
            specification=settings.specification,
            scenario=str(scenario),
            policy=entry.policy,
            directory=str(bags),
            real_time_factor=settings.real_time_factor,
        )
        run = RunState()
        try:
            with (
                graph_errors(),
                Supervisor(describe_graph(options), self._round(entry) / "logs") as supervisor,
            ):
                supervisor.bring_up()
                operator = Operator(run, context=supervisor.context)
                supervisor.add_node(operator)
                result = run_scenario(operator, supervisor.until)
                metadata = bags / result.episode_id / "metadata.yaml"
                closed = supervisor.until(metadata.is_file, BAG_TIMEOUT_S)
        except RunError as error:
            raise Failure(
                ExitCode.FAILED, f"{error}; logs: {self._round(entry) / 'logs'}"
            ) from error
        except Interrupted as error:
            raise KeyboardInterrupt from error
        if not closed:
            raise Failure(
                ExitCode.FAILED,
                f"{metadata.parent}: not closed within {BAG_TIMEOUT_S:g} s; logs: "
                f"{self._round(entry) / 'logs'}",
            )
        costs = {name: term.cumulative for name, term in run.terms.items()}
        self._console.print(
            f"round {entry.number}, episode {len(entry.played) + 1} of {settings.episodes}: "
            f"{result.outcome.lower()}, cost {sum(costs.values()):g}: {result.reason}",
            highlight=False,
        )
        return Played(
            scenario=scenario.stem,
            episode_id=result.episode_id,
            outcome=result.outcome,
            steps=result.steps,
            costs=costs,
        )

    def fit(self, state: LoopState, entry: Round, keep: Callable[[], None]) -> None:
        """Learn a candidate from the bags of all rounds. Bags that do not support the budgets leave
        the round without one."""
        from safevla_ros.policy.load import BUILT_IN
        from safevla_ros.simulation.scripted import is_scripted

        folder = self._round(entry) / FIT
        resumes = (folder / "settings.json").is_file()
        command = ["train", "offline", "--directory", str(folder)]
        if resumes:
            command.append("--resume")
        else:
            scripted = is_scripted(entry.policy) or entry.policy in BUILT_IN
            command += ["--bags", str(self._folder), *state.settings.fit]
            command += ["--policy", "new" if scripted else entry.policy]
            for name, value in state.settings.budgets.items():
                command += ["--budget", f"{name}={value:g}"]
        done = self._safevla(entry, *command)
        # A verb that crashed ends with the same code, but says no sentence.
        done.require(ExitCode.DONE, *([ExitCode.FAILED] if done.sentence else []))
        if done.code == ExitCode.FAILED:
            entry.note = f"nothing learnt: {done.sentence}"
        else:
            entry.candidate = str(folder / "policy")

    def prove(self, state: LoopState, entry: Round, keep: Callable[[], None]) -> None:
        """Meet the release gate."""
        settings, results = state.settings, self._round(entry) / PROOF
        command = ["promote", entry.candidate, "--over", entry.policy, "--json"]
        command += ["--results", str(results), "--spec", settings.specification]
        command += ["--episodes", str(settings.evaluation_episodes)]
        command += ["--least-episodes", str(min(settings.evaluation_episodes, 59))]
        command += ["--physics", settings.evaluation_physics, "--margin", str(settings.margin)]
        for before in state.rounds:
            if before.candidate == entry.policy:  # it was played when it was promoted
                command += ["--running-results", str(self._round(before) / PROOF)]
        for name, value in settings.budgets.items():
            command += ["--budget", f"{name}={value:g}"]
        done = self._safevla(entry, *command)
        done.require(ExitCode.DONE, ExitCode.FAILED)
        try:
            decision = json.loads(done.out.read_text(encoding="utf-8"))
        except ValueError as error:  # it failed, and did not refuse
            raise Failure(ExitCode.FAILED, done.sentence) from error
        entry.promoted, entry.reasons = decision["promoted"], decision["reasons"]
        entry.figures = _figures(results, settings.specification)

    def _round(self, entry: Round) -> Path:
        return self._folder / f"round-{entry.number}"

    def _safevla(self, entry: Round, *arguments: str) -> Done:
        """Another verb, in a process of its own."""
        out = self._round(entry) / f"{arguments[0]}.out"
        self._console.print(
            f"safevla {' '.join(arguments)} > {out}", style="dim", soft_wrap=True, highlight=False
        )
        with (
            out.open("w", encoding="utf-8") as file,
            subprocess.Popen(
                [sys.executable, "-m", "safevla_ros.cli.main", *arguments],
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            ) as process,
        ):
            try:
                last = self._said(process)
            except KeyboardInterrupt:
                # The verb heard Ctrl-C too: it goes on speaking until its state is written.
                self._said(process)
                raise
        if process.returncode == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        sentence = last.removeprefix(SAID) if last.startswith(SAID) else ""
        return Done(process.returncode, sentence, out)

    def _said(self, process: subprocess.Popen[str]) -> str:
        """Show what a verb says until it ends; its last line."""
        assert process.stderr is not None
        last = ""
        for line in process.stderr:
            last = line.strip() or last
            self._console.print(line.rstrip(), highlight=False, markup=False)
        return last


@dataclass(frozen=True)
class Done:
    """How a verb ended: its exit code, the sentence of its failure (empty: it said none), and the
    file of what it printed."""

    code: int
    sentence: str
    out: Path

    def require(self, *codes: ExitCode) -> None:
        """Raises Failure for another code."""
        if self.code not in codes:
            raise Failure(ExitCode.FAILED, self.sentence or f"{self.out}: exit code {self.code}")


def _figures(results: Path, specification: str) -> dict[str, Any]:
    """Success and cost of a candidate's evaluation; nothing where it could not be played."""
    from safevla_ros.assurance.metrics import figures
    from safevla_ros.assurance.records import ResultsError, read_results

    try:
        found = figures(read_results(results).suites["tasks"], specification)
    except (ResultsError, KeyError, ValueError):
        return {}
    return {key: found[key] for key in ("success_rate", "cumulative_cost")}


def _print(console: Console, state: LoopState) -> None:
    from rich.markup import escape
    from rich.table import Table

    from safevla_ros.assurance.rounds import table

    head, *rows = table(state)
    shown = Table(*head)
    for row in rows:
        shown.add_row(*map(escape, row))
    console.print(shown)
