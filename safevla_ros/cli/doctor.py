"""`safevla doctor`: what works on this machine, and how to get the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from safevla_ros.cli.failure import ExitCode

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Say what works on this machine, and how to get what does not.

    Exits with 0 when `safevla sim` can run, else with 1.

    Example: `safevla doctor`
    """
    from safevla_ros.cli import machine

    findings = [check() for check in machine.CHECKS]
    can_run = all(finding.status != "missing" for finding in findings)
    if as_json:
        checks = {f.name: {k: v for k, v in asdict(f).items() if k != "name"} for f in findings}
        print(json.dumps({"sim_can_run": can_run, "checks": checks}, indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")  # a path is there to be copied
        for finding in findings:
            text = escape(finding.text)
            if finding.status != "ok" and finding.fix:
                text += f"\n[dim]{escape(finding.fix)}[/]"
            table.add_row(_MARKS[finding.status], finding.name.replace("_", " "), text)
        console = Console()
        console.print(table)
        console.print(
            "safevla sim can run."
            if can_run
            else "safevla sim cannot run yet: see what is missing. Verbs that need no graph, such as eval and "
            "bags, do without ros, messages and rmw."
        )
    raise typer.Exit(ExitCode.DONE if can_run else ExitCode.FAILED)
