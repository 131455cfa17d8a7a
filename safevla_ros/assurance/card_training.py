"""What a policy's card says of its training, by the kind of run that the policy comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from safevla_ros.assurance.records import ResultsError
from safevla_ros.assurance.training_log import NAME, read_training_log

Notes = Mapping[str, Any]


class CardError(ValueError):
    """A card that cannot be written; the message names the file."""


@dataclass(frozen=True)
class Training:
    """`lines` gives the lines of a card from a checkpoint's notes and the run's folder; `limits` is
    what such a training leaves open. Raises CardError."""

    lines: Callable[[Notes, Path], Iterator[str]]
    limits: str


def training_of(policy: Path, notes: Notes) -> Training:
    """How a policy was trained. Raises CardError."""
    settings = notes.get("settings", {})
    if "episodes" in settings and "progress" in notes:
        return IMITATION
    if "learning" in settings and "progress" in notes:
        return ONLINE[settings["learning"]["algorithm"]]
    if "method" in settings and "result" in notes:
        return OFFLINE
    raise CardError(
        f"{policy / 'vla.json'}: notes: expected those of an imitation, online or offline run"
    )


def _imitation(notes: Notes, run: Path) -> Iterator[str]:
    settings, progress = notes["settings"], notes["progress"]
    log = _log_with(run, "episode_frames", "an imitation run")
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


def _log_with(run: Path, key: str, what: str) -> list[Mapping[str, Any]]:
    """The log of a run whose lines hold `key`. Raises CardError."""
    try:
        log = read_training_log(run / NAME)
    except ResultsError as error:
        raise CardError(str(error)) from error
    if key not in log[-1]:
        raise CardError(f"{run / NAME}: expected the log of {what}, as the policy's notes say")
    return log


def _minutes(log: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """How long was learnt, and in how many parts: the clock begins anew where a run is continued
    with other settings."""
    clock = [line["elapsed_s"] for line in log]
    steps = [after - before for before, after in pairwise(clock)]
    return (clock[0] + sum(max(0.0, s) for s in steps)) / 60.0, 1 + sum(s < 0.0 for s in steps)


def _online(notes: Notes, run: Path) -> Iterator[str]:
    settings = notes["settings"]
    learning, homes = settings["learning"], settings["homes"]
    log = _log_with(run, "constraints", "an online run")
    minutes, _ = _minutes(log)
    start = read_json(run / "start" / "vla.json")["notes"].get("from", "a policy")
    played = {
        task: sum(line["episodes"].get(task, {}).get("episodes", 0) for line in log)
        for task in homes["tasks"]
    }
    ppo = learning["ppo"]
    yield from (
        "## Training",
        "",
        f"{NAMES[learning['algorithm']]} in simulation, in fast mode, from {start}; docs/training.md "
        "says how. Each episode had a home of its own from the training range of seeds, "
        f"{1.0 - homes['benign']:.0%} of them with hazards (each with a chance of "
        f"{homes['hazard_rate']:g} where it fits). No data of a real robot.",
        "",
        "| | |",
        "|---|---|",
        f"| steps | {notes['progress']['steps']:,}, of {homes['max_steps']} an episode at most |",
        f"| episodes | {', '.join(f'{count:,} {task}' for task, count in played.items())} |",
        f"| time | {minutes:.0f} minutes on CPU cores |",
        f"| seed | {learning['seed']} |",
        f"| learning rate | {ppo['learning_rate']:g} (Adam), {ppo['epochs']} epochs of "
        f"{ppo['minibatches']} minibatches a rollout, clip {ppo['clip']:g} |",
        f"| charged | specification {homes['specification']} |",
        "",
        "All settings are in vla.json.",
        "",
    )
    if learning["algorithm"] == "ppo-lagrangian":
        yield from _constraints(log[-1]["constraints"])


def _constraints(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The end of the run, constraint by constraint."""
    yield "The constraints at the end of the run: J is the mean cost of its last measured episodes."
    yield ""
    yield "| task | term | budget | J | episodes within | lambda |"
    yield "|---|---|---|---|---|---|"
    for row, terms in rows.items():
        for term, entry in terms.items():
            if entry["budget"] is not None:
                measured = entry["J"] is not None
                cost = f"{entry['J']:.2f}" if measured else "-"
                within = f"{entry['satisfied']:.0%}" if measured else "-"
                cap = " (cap)" if entry["saturated"] else ""
                yield (
                    f"| {row} | {term} | {entry['budget']:.3f} | {cost} | {within} | "
                    f"{entry['lambda']:.2f}{cap} |"
                )
    yield ""


def _offline(notes: Notes, run: Path) -> Iterator[str]:
    settings, result = notes["settings"], notes["result"]
    log = _log_with(run, "round", "an offline run")
    fits = {line["stage"]: line["elapsed_s"] for line in log if "elapsed_s" in line}
    minutes = sum(fits.values()) / 60.0
    actors = ", ".join(f"{count:,} by {actor}" for actor, count in result["episodes"].items())
    yield from (
        "## Training",
        "",
        f"From recorded episodes alone, beginning with {Path(settings['policy']).name}: "
        f"{METHODS[settings['method']]}; docs/training.md says how. No simulator and no robot was in "
        "the loop.",
        "",
        "| | |",
        "|---|---|",
        f"| learnt from | {result['steps']:,} steps of {sum(result['episodes'].values()):,} episodes: "
        f"{actors} |",
        f"| fitted | {settings['updates']:,} updates of {settings['streams']} episodes of "
        f"{settings['window']} steps, in {minutes:.0f} minutes on CPU cores |",
        f"| highest learning rate | {settings['learning_rate']:g} (AdamW) |",
        f"| seed | {settings['seed']} |",
        "",
        "All settings are in vla.json.",
        "",
        "Cost of an episode by term. Estimate: fitted Q evaluation with the deviation of its heads, which "
        "is no bound. Bags: episodes that only chose.",
        "",
        "| term | budget | bags | estimate | price |",
        "|---|---|---|---|---|",
    )
    for term, budget in settings["budgets"].items():
        found = result["estimate"][term]
        yield (
            f"| {term} | {budget:g} | {found['data']:.2f} | {found['mean']:.2f} +- "
            f"{found['deviation']:.2f} | {result['prices'][term]:.2f} |"
        )
    yield ""


NAMES = {
    "ppo": "Reinforcement learning without constraints (PPO)",
    "ppo-lagrangian": "Constrained reinforcement learning (PPO-Lagrangian)",
    "reward-shaping": "Reinforcement learning with a fixed price on costs (PPO, reward shaping)",
}
METHODS = {
    "weights": "cloning weighted by the Lagrangian advantage, with the remaining budget as an input",
    "condition": "cloning with budget and advantage as inputs",
    "binary": "cloning of what the Lagrangian advantage speaks for",
    "within_budget": "cloning of the episodes that kept the budgets (BC-Safe)",
    "all": "cloning of all episodes",
}
IMITATION = Training(
    _imitation,
    "It was cloned from demonstrations that are partly careless, and no cost entered its training. It "
    "is a base to align, to be run behind the gate only.",
)
_CONSTRAINED = (
    "It was taught to avoid what the specification charges, as the simulator knows it, and nothing "
    "else. It keeps a budget on average, not in every episode: run it behind the gate."
)
ONLINE = {
    "ppo": Training(
        _online,
        "No cost entered its training: it is what aligned policies are compared with, and not one to "
        "run.",
    ),
    "ppo-lagrangian": Training(_online, _CONSTRAINED),
    "reward-shaping": Training(_online, _CONSTRAINED),
}
OFFLINE = Training(_offline, _CONSTRAINED)


def read_json(path: Path) -> Any:
    """What a file of JSON holds. Raises CardError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: expected JSON: {error}") from error
