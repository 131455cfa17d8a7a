"""`safevla bench`: how fast things are here, each beside a baseline in the same run.

A benchmark imports what it measures, so its file is read only when it is asked for.
"""

from __future__ import annotations

import importlib

import typer
from typer.core import TyperGroup

NAMES = ("bags", "faults", "gate", "inference", "ingest", "monitor", "sim", "stop")
"""Each is the function of that name in bench_<name>.py."""


class Benchmarks(TyperGroup):
    """The benchmarks as commands."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: typer.Context, cmd_name: str):
        if cmd_name not in NAMES:
            return None
        module = importlib.import_module(f"safevla_ros.cli.bench_{cmd_name}")
        only = typer.Typer(add_completion=False)
        only.command(cmd_name)(getattr(module, cmd_name))
        return typer.main.get_command(only)


app = typer.Typer(
    help="Measure how fast things are on this machine, each beside a baseline in the same run."
    "\n\nExample: `safevla bench gate`",
    no_args_is_help=True,
    cls=Benchmarks,
)


@app.callback()
def _benchmarks() -> None:
    pass
