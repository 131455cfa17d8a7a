"""A policy's card: what it is, what it was trained on, what it does and costs, and what it cannot.

Written from a run's own files and from evaluations as `safevla eval --json` prints them; no figure
in it is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from safevla_ros.policy.description import TokenPolicyFile, read_description

Evaluation = Mapping[str, Any]


class CardError(ValueError):
    """A card that cannot be written; the message names the file."""


def write_card(policy: Path, run: Path, evaluations: Sequence[Path]) -> Path:
    """Write card.md into a policy's folder. `run`: folder of its training. The first evaluation
    must be of the policy itself. Raises CardError, and PolicyError for the policy."""
    found = [_read_evaluation(path) for path in evaluations]
    lines = [*_head(policy), *_training(policy, run), *_results(policy, found), *LIMITS]
    card = policy / "card.md"
    card.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return card


def _head(policy: Path) -> Iterator[str]:
    file = read_description(policy / "policy.yaml")
    if not isinstance(file, TokenPolicyFile):
        raise CardError(f"{policy / 'policy.yaml'}: representation: expected token")
    checkpoint = _read_json(policy / "vla.json")
    size = sum((policy / name).stat().st_size for name in (file.file, "vla.safetensors"))
    yield from (
        f"# {file.id}",
        "",
        "A compact vision-language-action policy for the simulated robot: two RGB cameras "
        f"({file.image_width}x{file.image_height}), an instruction, joints, odometry and the last "
        "action to one of the 20 actions of the SafeVLA paper, with a memory over the episode.",
        "",
        "| file | sha256 |",
        "|---|---|",
        f"| {file.file} | `{file.sha256}` |",
        f"| vla.safetensors | `{checkpoint['sha256']}` |",
        "",
        f"Both hold the same weights ({size / 2e6:.1f} MB each). Actions: {file.selection}, "
        f"temperature {file.temperature:g}.",
        "",
    )


def _training(policy: Path, run: Path) -> Iterator[str]:
    notes = _read_json(policy / "vla.json")["notes"]
    if not notes.keys() >= {"settings", "progress"} or "episodes" not in notes["settings"]:
        raise CardError(f"{policy / 'vla.json'}: notes: expected those of an imitation run")
    settings, progress = notes["settings"], notes["progress"]
    log = _read_log(run / "log.jsonl")
    last, episodes = log[-1], settings["episodes"]
    minutes, parts = _minutes(log)
    yield from (
        "## Training",
        "",
        f"Imitation of the scripted experts ({' and '.join(episodes['styles'])}) with DAgger, on "
        f"{', '.join(episodes['tasks'])}; docs/training.md says how. Everything was played in "
        "simulation, in fast mode, in a home of its own for each episode, all from the training "
        "range of seeds. No data of a real robot.",
        "",
        "| | |",
        "|---|---|",
        f"| episodes played | {last['episodes']:,} ({last['episode_frames']:,} steps) |",
        f"| learnt from | {progress['frames']:,} frames in {progress['updates']:,} updates |",
        f"| time | {minutes:.0f} minutes: one learning process and {settings['workers']} playing, on "
        "CPU cores |",
        f"| parts | {parts}: {ONE_PART if parts == 1 else MORE_PARTS} |",
        f"| seed | {episodes['seed']} |",
        f"| batch | {settings['streams']} episodes of {settings['window']} steps |",
        f"| highest learning rate | {settings['learning_rate']:g} (AdamW, cosine) |",
        "",
        "All settings are in vla.json.",
        "",
    )


ONE_PART = "one run, from nothing to the end"
MORE_PARTS = (
    "a run was continued with changed settings, its learning rate begun again; those in vla.json are "
    "the last part's"
)


def _minutes(log: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """How long was learnt, and in how many parts: the clock begins anew where a run is continued
    with other settings."""
    clock = [line["elapsed_s"] for line in log]
    steps = [after - before for before, after in pairwise(clock)]
    return (clock[0] + sum(max(0.0, s) for s in steps)) / 60.0, 1 + sum(s < 0.0 for s in steps)


def _results(policy: Path, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    if not evaluations:
        raise CardError("expected at least one evaluation (safevla eval --json)")
    sha256 = read_description(policy / "policy.yaml").sha256
    for evaluation in evaluations:
        if evaluation["sha256"] not in ("", sha256):
            raise CardError(f"an evaluation is of another policy: sha256 {evaluation['sha256']}")
    first = evaluations[0]
    tasks = [name for name, value in first.items() if is_task(value)]
    yield from (
        "## What it does, and what it costs",
        "",
        f"Homes never trained on, {first['physics']} physics, gate: {first['gate']}, seed "
        f"{first['seed']}, specification `{first['specification']}` "
        f"(sha256 {first['specification_hash'][:12]}...). Intervals hold 95 %.",
        "",
        "| policy | episodes a task | " + " | ".join(f"{task}" for task in tasks) + " | mean |",
        "|---|---|" + "---|" * (len(tasks) + 1),
    )
    for evaluation in evaluations:
        cells = [
            with_interval(
                evaluation[task]["success_rate"], evaluation[task]["success_rate_interval"]
            )
            for task in tasks
        ]
        mean = evaluation["success_rate"]
        cells.append(with_interval(mean["mean"], mean["interval"]))
        yield f"| {_name(evaluation)} | {evaluation[tasks[0]]['episodes']} | {' | '.join(cells)} |"
    yield from (
        "",
        "Success. Blind: black images. Deaf: another object is named.",
        "",
        "| policy | " + " | ".join(f"{task}" for task in tasks) + " | sum |",
        "|---|" + "---|" * (len(tasks) + 1),
    )
    for evaluation in evaluations:
        costs = [evaluation[task]["cumulative_cost"] for task in tasks]
        cells = [with_interval(cost["mean"], cost["interval"]) for cost in costs]
        total = evaluation["cumulative_cost"]
        cells.append(with_interval(total["sum"], total["sum_interval"]))
        yield f"| {_name(evaluation)} | {' | '.join(cells)} |"
    yield from ("", "Cost of an episode, over all terms.", "", *_details(first, tasks), "")


def _details(evaluation: Evaluation, tasks: Sequence[str]) -> Iterator[str]:
    yield f"{_name(evaluation)}, in more detail:"
    yield ""
    yield "| | " + " | ".join(tasks) + " |"
    yield "|---|" + "---|" * len(tasks)
    for term in evaluation[tasks[0]]["cumulative_cost"]["by_term"]:
        entries = [evaluation[task]["cumulative_cost"]["by_term"][term] for task in tasks]
        yield _row(f"cost of {term}", [with_interval(e["mean"], e["interval"]) for e in entries])
    costs = [evaluation[task]["cumulative_cost"] for task in tasks]
    yield _row("cost, 95th percentile", [f"{cost['p95']:.1f}" for cost in costs])
    yield _row("cost, most", [f"{cost['max']:.1f}" for cost in costs])
    for key, text in (
        ("costly_rate", "P(cost > 10)"),
        ("unsafe_rate", "P(a margin was violated)"),
        ("sbu", "P(success and unsafe)"),
    ):
        entries = [evaluation[task][key] for task in tasks]
        yield _row(text, [with_interval(e["rate"], e["interval"]) for e in entries])
    for key, text in (("vacuous_safe", "P(idle)"), ("deadlock_rate", "P(stood for 5 s)")):
        entries = [evaluation[task]["iatrogenic"][key] for task in tasks]
        yield _row(text, [with_interval(e["rate"], e["interval"]) for e in entries])


LIMITS = (
    "## Limits",
    "",
    "- It knows one simulated robot, homes of one to three rooms made of simple shapes, and ten "
    "classes of things. On a real robot, or in other homes, nothing is known of it.",
    "- It was cloned from demonstrations that are partly careless, and no cost entered its "
    "training. It is a base to align, to be run behind the gate only.",
    "- It learnt its words with its task; a word that it has never seen means nothing to it.",
    "- These are not results on the SafeVLA paper's benchmark.",
)


def is_task(value: object) -> bool:
    """Whether an entry of an evaluation's JSON is a task's."""
    return isinstance(value, Mapping) and "success_rate_interval" in value


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """A figure with its interval, in words; '-' where there is none."""
    if value is None or interval is None:
        return "-"
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def _row(text: str, cells: Sequence[str]) -> str:
    return f"| {text} | {' | '.join(cells)} |"


def _name(evaluation: Evaluation) -> str:
    name = Path(evaluation["policy"]).name
    return name if evaluation["ablate"] == "none" else f"{name}, {evaluation['ablate']}"


def _read_evaluation(path: Path) -> Evaluation:
    found = _read_json(path)
    if not isinstance(found, Mapping) or not any(map(is_task, found.values())):
        raise CardError(f"{path}: expected what `safevla eval --json` prints of the suite tasks")
    return found


def _read_log(path: Path) -> list[Mapping[str, Any]]:
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: cannot be read: {error}") from error
    if not found:
        raise CardError(f"{path}: expected the log of a run, and it is empty")
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: expected JSON: {error}") from error
