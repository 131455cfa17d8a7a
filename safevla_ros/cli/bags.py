"""`safevla bags`: look at, cut, check, repair, score and convert what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safevla_ros.cli import bags_export, bags_score, bags_show
from safevla_ros.cli.cluster import Workers, cores
from safevla_ros.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from safevla_ros.bags.catalogue import Entry
    from safevla_ros.bags.checking import Checked

BagPath = Annotated[Path, typer.Argument(help="A bag: its folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

app = typer.Typer(
    help="Look at, cut, check, repair, score and convert what was recorded."
    "\n\nExample: `safevla bags ls runs`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.command("show")(bags_show.show)
app.command("score")(bags_score.score)
app.command("export")(bags_export.export)
app.command("import")(bags_export.import_)


@app.command("ls")
def ls(
    folder: Annotated[
        Path, typer.Argument(help="A bag, or a folder with bags at any depth.")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List episodes and clips: what was asked, how it ended, what it cost, the worst violation.

    Example: `safevla bags ls runs`
    """
    from rich.console import Console

    from safevla_ros.bags import BagError
    from safevla_ros.bags.catalogue import entries

    try:
        found = list(entries(folder))
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    if as_json:
        print(json.dumps({"bags": [entry.as_json() for entry in found]}, indent=2))
    else:
        console, table = Console(), _table(found, folder)
        wide = Console(width=10_000)
        # Nothing is folded where a program or a file takes it.
        if not console.is_terminal or wide.measure(table).maximum <= console.width:
            wide.print(table)
        else:
            for text in _lines(found, folder):
                console.print(text, highlight=False, soft_wrap=True)


@app.command("cut")
def cut(
    bag: BagPath,
    to: Annotated[Path, typer.Argument(help="Folder of the new bag.", show_default=False)],
    begin_s: Annotated[
        float, typer.Option("--from", help="Seconds from the bag's beginning.", min=0.0)
    ] = 0.0,
    end_s: Annotated[
        float | None,
        typer.Option("--to", help="Seconds from the bag's beginning. Default: its end."),
    ] = None,
) -> None:
    """Cut a piece out of a bag. What was latched before it (specification, episode) is repeated at
    its head, so the piece can be shown and scored by itself.

    Example: `safevla bags cut runs/20260101-120000/bag/e1 piece --from 12 --to 20`
    """
    from safevla_ros.bags import BagError
    from safevla_ros.bags.cutting import cut as cut_bag
    from safevla_ros.bags.reader import Bag

    if end_s is not None and end_s <= begin_s:
        raise Failure(ExitCode.BAD_INPUT, f"--to {end_s:g}: expected more than --from {begin_s:g}")
    try:
        first = next(Bag(bag).messages(), None)
        start_ns = 0 if first is None else first.log_time_ns
        end_ns = (1 << 63) - 1 if end_s is None else start_ns + round(end_s * 1e9)
        messages = cut_bag(bag, to, start_ns + round(begin_s * 1e9), end_ns)
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    print(f"{to}: {messages} messages")


@app.command("label")
def label(
    bag: BagPath,
    labels: Annotated[
        list[str] | None, typer.Argument(help="NAME=TEXT; an empty text takes the label away.")
    ] = None,
    outcome: Annotated[
        str, typer.Option(help="Correct the outcome: SUCCESS, FAILURE, ABORTED or UNKNOWN.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why this outcome.")] = "",
) -> None:
    """Say something about a bag: any NAME=TEXT, or how the episode really ended.

    Labels stand in the bag's metadata.yaml and go into data sets; the recording is not touched.

    Example: `safevla bags label runs/20260101-120000/bag/e1 operator=me light=dim --outcome FAILURE`
    """
    from safevla_ros.bags import BagError
    from safevla_ros.bags.catalogue import label as label_bag

    outcomes = ("", "SUCCESS", "FAILURE", "ABORTED", "UNKNOWN")
    if outcome not in outcomes:
        expected = ", ".join(outcomes[1:])
        raise Failure(ExitCode.BAD_INPUT, f"--outcome {outcome}: expected one of {expected}")
    for text in labels or []:
        if "=" not in text.lstrip("="):
            raise Failure(ExitCode.BAD_INPUT, f"label {text!r}: expected NAME=TEXT")
    pairs = dict(text.split("=", 1) for text in labels or [])
    if not pairs and not outcome:
        raise Failure(ExitCode.BAD_INPUT, "expected labels as NAME=TEXT, or --outcome")
    try:
        label_bag(bag, pairs, outcome=outcome, outcome_reason=reason)
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error


@app.command("check")
def check(
    folder: Annotated[
        Path, typer.Argument(help="A bag, or a folder with bags at any depth.", show_default=False)
    ],
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Read every message and name what is damaged, missing or suspicious. Exit code 1: a fault.

    Example: `safevla bags check runs`
    """
    from rich.console import Console

    from safevla_ros.bags import BagError
    from safevla_ros.bags.catalogue import bags_below
    from safevla_ros.bags.checking import Checked, Finding
    from safevla_ros.bags.checking import check as check_bag
    from safevla_ros.bags.many import each_bag

    console = Console(stderr=as_json)
    done: list[Checked] = []
    try:
        paths = bags_below(folder)
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    with console.status("checking ...") as status:

        def progress(ready: int, total: int) -> None:
            status.update(f"checking: {ready} of {total} bags ...")

        for each in each_bag(check_bag, paths, workers=workers or cores(), progress=progress):
            done.append(each.result or Checked(each.path, 0, (Finding(True, each.error),)))
            if not as_json:
                _print_check(console, done[-1])
    if as_json:
        print(json.dumps({"bags": [checked.as_json() for checked in done]}, indent=2))
    faulty = sum(not checked.sound for checked in done)
    if faulty:
        raise Failure(ExitCode.FAILED, f"{faulty} of {len(done)} bags have faults")


@app.command("repair")
def repair(
    folder: Annotated[
        Path, typer.Argument(help="A bag, or a folder with bags at any depth.", show_default=False)
    ],
    workers: Workers = None,
) -> None:
    """Finish bags that were cut off, so that `ros2 bag` and every other reader takes them. Whole
    bags are left as they are.

    Example: `safevla bags repair runs/20260101-120000/bag`
    """
    from rich.console import Console

    from safevla_ros.bags import BagError
    from safevla_ros.bags.catalogue import bags_below
    from safevla_ros.bags.many import each_bag
    from safevla_ros.bags.repair import repair as repair_bag

    console = Console()
    failed = []
    try:
        paths = bags_below(folder)
    except BagError as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    with console.status("repairing ...") as status:

        def progress(ready: int, total: int) -> None:
            status.update(f"repairing: {ready} of {total} bags ...")

        for each in each_bag(repair_bag, paths, workers=workers or cores(), progress=progress):
            if each.result is None:
                failed.append(each.error)
                continue
            what = "repaired" if each.result.changed else "was whole"
            said = [f"{each.path}: {what}, {each.result.messages} messages", *each.result.damage]
            console.print("\n  ".join(said), markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise Failure(ExitCode.FAILED, "\n".join(failed))


COLUMNS = ("bag", "instruction", "outcome", "costs", "worst violation", "s", "MB", "")


def _table(found: list[Entry], folder: Path) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("s", "MB") else "left")
    for each in found:
        table.add_row(*_cells(each, folder))
    return table


def _lines(found: list[Entry], folder: Path) -> Any:
    """What a table says, in lines that a narrow terminal has room for: a path that is cut off cannot
    be given to the next verb."""
    for each in found:
        bag, asked, outcome, costs, worst, seconds, size, problem = _cells(each, folder)
        told = [outcome, asked, f"costs {costs}"] + [f"worst {worst}"] * (each.worst is not None)
        told += [f"{seconds} s"] * (each.duration_s is not None) + [f"{size} MB"]
        told += [problem] * bool(problem)
        yield f"{bag}\n    {', '.join(told)}"


def _cells(each: Entry, folder: Path) -> list[str]:
    from rich.markup import escape

    base = folder if folder.is_dir() else folder.parent
    shown = each.path.relative_to(base) if each.path != base else Path(each.path.name)
    style = {"SUCCESS": "green", "FAILURE": "yellow", "ABORTED": "red"}.get(each.outcome)
    outcome = escape(each.outcome) or "-"
    costs = ", ".join(f"{name} {cost:g}" for name, cost in each.costs.items() if cost)
    worst = each.worst
    return [
        escape(str(shown)),
        escape(each.instruction) or "-",
        f"[{style}]{outcome}[/]" if style else outcome,
        escape(costs) or ("0" if each.costs else "-"),
        escape(f"{worst.term}, margin {worst.margin:.3g} at step {worst.step}") if worst else "-",
        "-" if each.duration_s is None else f"{each.duration_s:.1f}",
        f"{each.bytes / 1e6:.1f}",
        escape(each.problem or ("" if each.complete else "incomplete")),
    ]


def _print_check(console: Any, checked: Checked) -> None:
    verdict = "[green]sound[/]" if checked.sound else "[red]faulty[/]"
    console.print(f"{checked.path}: {verdict}, {checked.messages} messages", soft_wrap=True)
    for finding in checked.findings:
        mark = "[red]fault[/]" if finding.fault else "[dim]note[/]"
        console.print(f"  {mark}  ", end="")
        console.print(finding.what, markup=False, highlight=False, soft_wrap=True)
