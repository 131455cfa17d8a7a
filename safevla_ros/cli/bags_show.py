"""`safevla bags show`: one episode as a page for a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from safevla_ros.cli.failure import ExitCode, Failure


def show(
    bag: Annotated[
        Path, typer.Argument(help="A bag, or a folder of bags or of a run: its newest bag.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file. Default: BAG.html beside the bag.")
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Make one self-contained HTML page of an episode: video, top view, margins and costs against
    their thresholds and budgets, the gate's decisions, and the violations to click through.

    Example: `safevla bags show runs/20260101-120000 --open`
    """
    from rich.console import Console

    from safevla_ros.assurance.episode_page import write_episode_page
    from safevla_ros.assurance.run_report import newest_bag
    from safevla_ros.bags import BagError

    try:
        found = newest_bag(bag)
        path = out or found.with_name(f"{found.name}.html")
        with Console(stderr=True).status("making the page ...") as status:
            summary = write_episode_page(
                found, path, progress=lambda what: status.update(f"making the page: {what} ...")
            )
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{path}: cannot be written: {error.strerror}") from error
    for note in summary["notes"]:
        print(f"note: {note}")
    print(path)
    if browser:
        webbrowser.open(path.absolute().as_uri())
