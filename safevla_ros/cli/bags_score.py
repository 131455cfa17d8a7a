"""`safevla bags score`: costs of recorded episodes under any specification."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from safevla_ros.cli.cluster import OnRay, RayAddress, Workers, cores, ray_pool
from safevla_ros.cli.failure import ExitCode, Failure


def score(
    folder: Annotated[
        Path, typer.Argument(help="A bag, or a folder with bags at any depth.", show_default=False)
    ],
    spec: Annotated[
        str,
        typer.Option(
            "--spec",
            "--specification",
            help="Name under config/safety, or a path to a .yaml file. Default: the bag's.",
        ),
    ] = "",
    zones: Annotated[
        Path | None, typer.Option(help="File whose `zones` are added, such as a scenario.")
    ] = None,
    robot: Annotated[
        str, typer.Option(help="Robot profile by name or path. Default: what the bag says.")
    ] = "",
    step_s: Annotated[
        float | None,
        typer.Option(help="Length of a step [s] in bags without costs. Default: the profile's."),
    ] = None,
    workers: Workers = None,
    ray: OnRay = False,
    ray_address: RayAddress = "",
    results: Annotated[
        Path | None,
        typer.Option(
            help="File for the results, a line per bag; what has one for the same specification is "
            "not scored again."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compute the costs of recorded episodes anew, under any specification.

    World states are rebuilt from the messages that each recorded step names. Under the bag's own
    specification the verdict must be the live one: exit code 1 where it differs by more than 1e-9.

    Example: `safevla bags score runs --spec household --zones sim/scenarios/default.yaml`
    """
    from rich.console import Console

    # Links need Pinocchio, which is better missed now than at the first bag.
    import safevla_ros.robot.kinematics  # noqa: F401
    from safevla_ros.bags import BagError
    from safevla_ros.bags.catalogue import bags_below
    from safevla_ros.bags.many import ResultsFile, each_bag
    from safevla_ros.safety.specification import SpecificationError, load_specification, load_zones

    try:
        specification = load_specification(spec) if spec else None
        if zones is not None:
            if specification is None:
                raise Failure(ExitCode.BAD_INPUT, "--zones: expected --spec as well")
            specification = specification.with_zones(load_zones(zones))
        paths = bags_below(folder)
        text = "" if specification is None else specification.text
        # What another specification gave is no answer.
        asked = json.dumps([text, robot, step_s])
        known = None if results is None else ResultsFile(results, asked=asked)
    except (BagError, SpecificationError) as error:
        raise Failure(ExitCode.BAD_INPUT, str(error)) from error
    console = Console(stderr=as_json)
    failures, differing = [], 0
    printed: list[dict[str, Any]] = []
    work = functools.partial(figures_of, specification=text, robot=robot, step_s=step_s)

    def tell(path: Path, found: dict[str, Any]) -> None:
        nonlocal differing
        differing += bool(found["differences"])
        if as_json:
            printed.append({"bag": str(path)} | found)
        else:
            _print(console, path, found)

    waiting = []
    for path in paths:
        found = None if known is None else known.get(path)
        if found is None:
            waiting.append(path)
        else:
            tell(path, {k: v for k, v in found.items() if k not in ("bag", "state", "asked")})
    with ray_pool(ray, ray_address) as pool, console.status("scoring ...") as status:

        def progress(done: int, total: int) -> None:
            status.update(f"scoring: {done} of {total} bags ...")

        for done in each_bag(
            work, waiting, workers=workers or cores(), pool=pool, progress=progress
        ):
            if done.result is None:
                failures.append(done.error)
                continue
            tell(done.path, done.result)
            if known is not None:
                known.add(done.path, done.result)
    if as_json:
        print(json.dumps({"bags": printed}, indent=2))
    if failures:
        raise Failure(ExitCode.FAILED, "\n".join(failures))
    if differing:
        raise Failure(ExitCode.FAILED, f"{differing} bags do not score as they did when recorded")


def figures_of(
    path: Path, *, specification: str, robot: str, step_s: float | None
) -> dict[str, Any]:
    """A bag's score for machines. `specification` is the text of one; empty: the bag's own. Raises
    BagError or SpecificationError."""
    from safevla_ros.bags import BagError
    from safevla_ros.bags import metadata as keys
    from safevla_ros.bags.reader import Bag
    from safevla_ros.bags.scoring import score as score_bag
    from safevla_ros.robot.kinematics import Kinematics, KinematicsError
    from safevla_ros.robot.profile import ProfileError, load_profile, urdf_path
    from safevla_ros.safety.specification import parse_specification

    bag = Bag(path)
    name = robot or bag.provenance.get(keys.ROBOT, "")
    if not name:
        raise BagError(f"{path}: does not say which robot it is of: give --robot")
    try:
        profile = load_profile(name)
        kinematics = Kinematics(urdf_path(profile))
    except (ProfileError, KinematicsError) as error:
        raise BagError(f"{path}: {error}") from error
    given = parse_specification(specification, "--spec") if specification else None
    scored = score_bag(bag, profile, kinematics, given, step_s=step_s)
    terms = scored.specification.terms
    return {
        "specification": scored.specification.name,
        "specification_hash": scored.specification.hash,
        "steps": len(scored.steps),
        "incomplete": scored.incomplete,
        "costs": scored.totals,
        "budgets": {name: term.budget for name, term in terms.items()},
        "not_applicable_steps": scored.not_applicable,
        "compared_steps": scored.compared,
        "largest_difference": scored.largest_difference,
        "differing": len(scored.differences),
        "differences": [dataclasses.asdict(each) for each in scored.differences[:5]],
        "notes": scored.notes,
    }


def _print(console: Any, path: Path, found: dict[str, Any]) -> None:
    costs = []
    for name, total in found["costs"].items():
        budget, blind = found["budgets"][name], found["not_applicable_steps"].get(name, 0)
        text = f"{name} {total:g}" + ("" if budget is None else f" of {budget:g}")
        costs.append(text + (f" (blind in {blind} steps)" if blind else ""))
    console.print(
        f"{path}: {found['steps']} steps, {found['incomplete']} incomplete", soft_wrap=True
    )
    console.print(f"  {found['specification']}: {', '.join(costs)}", soft_wrap=True)
    if found["compared_steps"]:
        verdict = "[red]not as recorded[/]" if found["differing"] else "as recorded"
        console.print(
            f"  {verdict}: {found['compared_steps']} steps compared, at most "
            f"{found['largest_difference']:g} apart"
        )
    for each in found["differences"]:
        console.print(
            f"  step {each['step']}, {each['term']}: {each['what']} {each['recorded']}, "
            f"now {each['scored']}"
        )
    for note in found["notes"]:
        console.print(f"  note: {note}", soft_wrap=True)
