"""Entry point of `safevla`: the list of its verbs.

A verb is a function in a file of its own; to add one, write it and register it below.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from safevla_ros import __version__
from safevla_ros.cli import (
    bags,
    bench,
    card,
    data,
    doctor,
    evaluate,
    loop,
    promote,
    replay,
    report,
    scenarios,
    sim,
    train,
    up,
)
from safevla_ros.cli.failure import ExitCode, Failure
from safevla_ros.extras import missing

EPILOG = """Exit codes:

- 0: done
- 1: it could not be completed, or a check found a fault
- 2: wrong usage or input
- 3: another graph is on this ROS domain
- 4: this machine lacks something, see `safevla doctor`
- 130: stopped by Ctrl-C"""

app = typer.Typer(
    name="safevla",
    help="Runs a vision-language-action policy on a robot behind a monitor of explicit safety costs."
    "\n\nExample: `safevla sim`",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
RUN, LEARN, PROVE = "Run a robot", "Record and learn", "Prove"
app.command("sim", rich_help_panel=RUN)(sim.sim)
app.command("up", rich_help_panel=RUN)(up.up)
app.command("scenarios", rich_help_panel=RUN)(scenarios.scenarios)
app.command("doctor", rich_help_panel=RUN)(doctor.doctor)
app.command("replay", rich_help_panel=LEARN)(replay.replay)
app.command("loop", rich_help_panel=LEARN)(loop.loop)
app.add_typer(bags.app, name="bags", rich_help_panel=LEARN)
app.add_typer(data.app, name="data", rich_help_panel=LEARN)
app.add_typer(train.app, name="train", rich_help_panel=LEARN)
app.command("eval", rich_help_panel=PROVE)(evaluate.evaluate)
app.command("report", rich_help_panel=PROVE)(report.report)
app.command("promote", rich_help_panel=PROVE)(promote.promote)
app.command("card", rich_help_panel=PROVE)(card.card)
app.add_typer(bench.app, name="bench", rich_help_panel=PROVE)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"safevla_ros {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit."""
    try:
        app(prog_name="safevla")
    except Failure as failure:
        _end(failure)
    except ModuleNotFoundError as error:
        if (sentence := missing(error)) is None:
            raise
        _end(Failure(ExitCode.LACKS_SOFTWARE, sentence))


def _end(failure: Failure) -> None:
    print(f"safevla: {failure}", file=sys.stderr)
    sys.exit(int(failure.code))


if __name__ == "__main__":
    main()
