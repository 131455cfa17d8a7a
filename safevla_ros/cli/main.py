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
from safevla_ros.cli.failure import Failure

EPILOG = """Exit codes:

0 done

1 it could not be completed, or a check found a fault

2 wrong usage or input

3 another graph is on this ROS domain

4 this machine lacks something, see safevla doctor

130 stopped by Ctrl-C"""

app = typer.Typer(
    name="safevla",
    help="Runs a vision-language-action policy on a robot behind a monitor of explicit safety costs.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bags.app)
app.add_typer(bench.app)
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.command("card")(card.card)
app.command("doctor")(doctor.doctor)
app.command("eval")(evaluate.evaluate)
app.command("loop")(loop.loop)
app.command("promote")(promote.promote)
app.command("replay")(replay.replay)
app.command("report")(report.report)
app.command("scenarios")(scenarios.scenarios)
app.command("sim")(sim.sim)
app.command("up")(up.up)


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
        print(f"safevla: {failure}", file=sys.stderr)
        sys.exit(int(failure.code))


if __name__ == "__main__":
    main()
