"""`safevla report`: policies side by side on one page, from the results of `safevla eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of `safevla eval`, one for each row; the first is the subject."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The page; the table for a card goes beside it, as .md.")
    ] = Path("report.html"),
    subject: Annotated[
        str, typer.Option(help="Row that the page is about. Default: the first.")
    ] = "",
    reference: Annotated[
        str, typer.Option(help="Row that the others are compared with. Default: the first.")
    ] = "",
    log: Annotated[
        list[Path] | None,
        typer.Option(
            help="Log of a training run, for its multipliers; may be given several times."
        ),
    ] = None,
    clips: Annotated[
        int, typer.Option(help="Worst episodes of each row that are played again.", min=0)
    ] = 2,
) -> None:
    """Write one page about policies: success, costs with intervals, tails, what safety was bought
    with, clips of the worst episodes, what is constrained and how it was tested, and what was not.

    Example: `safevla report runs/evaluations/mine runs/evaluations/random --out report.html`
    """
    from rich.console import Console

    from safevla_ros.assurance.policy_report import make_report, markdown, write_page
    from safevla_ros.assurance.records import ResultsError, read_results
    from safevla_ros.safety.specification import SpecificationError

    console = Console(stderr=True)
    try:
        made = make_report(
            [read_results(folder) for folder in results], subject, reference, log or (), clips
        )
        with console.status("writing the report ...") as status:
            write_page(made, out, lambda what: status.update(f"writing the report: {what} ..."))
        table = out.with_suffix(".md")
        table.write_text(markdown(made) + "\n", encoding="utf-8")
    except (ResultsError, SpecificationError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{out}: cannot be written: {error}") from error
    except KeyboardInterrupt:
        raise Failure(ExitCode.INTERRUPTED, "stopped; nothing was written") from None
    for path in (out, table):
        typer.echo(str(path))
