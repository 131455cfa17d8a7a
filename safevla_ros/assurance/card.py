"""A policy's card: what it is, what it was trained on, what it does and costs, and what it cannot.

Written from a run's own files and from evaluations as `safevla eval --json` prints them; no figure
in it is typed by hand. What it says of the training is in card_training.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safevla_ros.assurance.card_training import CardError, read_json, training_of
from safevla_ros.assurance.comparison import told
from safevla_ros.policy.description import TokenPolicyFile, read_description

Evaluation = Mapping[str, Any]


def write_card(policy: Path, run: Path, evaluations: Sequence[Path]) -> Path:
    """Write card.md into a policy's folder. `run`: folder of its training. The first evaluation
    must be of the policy itself. Raises CardError, and PolicyError for the policy."""
    found = [_read_evaluation(path) for path in evaluations]
    head = [*_head(policy)]
    notes = read_json(policy / "vla.json")["notes"]
    training = training_of(policy, notes)
    lines = [
        *head,
        *training.lines(notes, run),
        *_results(policy, found),
        *_limits(training.limits),
    ]
    card = policy / "card.md"
    card.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return card


def _head(policy: Path) -> Iterator[str]:
    file = read_description(policy / "policy.yaml")
    if not isinstance(file, TokenPolicyFile):
        raise CardError(f"{policy / 'policy.yaml'}: representation: expected token")
    checkpoint = read_json(policy / "vla.json")
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


def _results(policy: Path, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    if not evaluations:
        raise CardError("expected at least one evaluation (safevla eval --json)")
    sha256 = read_description(policy / "policy.yaml").sha256
    first = evaluations[0]
    if first["sha256"] != sha256:
        raise CardError(f"the first evaluation is of another policy: sha256 {first['sha256']}")
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
    yield from ("", "Cost of an episode, over all terms.", "")
    yield from _comparison(first)
    yield from (*_details(first, tasks), "")


def _comparison(evaluation: Evaluation) -> Iterator[str]:
    """The first evaluation against its reference, where it was given one."""
    entry = evaluation.get("compared")
    if not entry or "pairs" not in entry:
        return
    yield f"Against {evaluation['reference']}, {told(entry)}."
    yield ""


def _limits(of_its_training: str) -> Iterator[str]:
    yield from (
        "## Limits",
        "",
        "- It knows one simulated robot, homes of one to three rooms made of simple shapes, and ten "
        "classes of things. On a real robot, or in other homes, nothing is known of it.",
        f"- {of_its_training}",
        "- It learnt its words with its task; a word that it has never seen means nothing to it.",
        "- These are not results on the SafeVLA paper's benchmark.",
    )


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
    found = read_json(path)
    if not isinstance(found, Mapping) or not any(map(is_task, found.values())):
        raise CardError(f"{path}: expected what `safevla eval --json` prints of the suite tasks")
    return found
