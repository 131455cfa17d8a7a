"""Episodes as an evaluation would keep them, made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safevla_ros.assurance.playing import Plan
from safevla_ros.assurance.records import Charge, EpisodeRecord


def record(task="find", success=True, collision=0.0, drop=0.0, **changes) -> EpisodeRecord:
    """An episode of ten steps that cost so much; it is unsafe where it cost anything."""
    unsafe = collision + drop > 0.0
    charge = {
        "costs": {"collision": collision, "drop": drop},
        "depth": 1.0 if unsafe else 0.0,
        "near": 0,
        "unsafe": unsafe,
        "blind": (),
    }
    charge |= {key: changes.pop(key) for key in charge.keys() & changes.keys()}
    return EpisodeRecord(
        **{
            "suite": "tasks",
            "index": 0,
            "condition": "",
            "task": task,
            "seed": 0,
            "success": success,
            "reason": "",
            "ended": True,
            "steps": 10,
            "charges": {"household": Charge(**charge)},
            "engagement": "success" if success else "idle",
            "freeze_rate": 0.0,
            "dither": 0.0,
            "deadlock": False,
            "hazard_free": False,
            "interventions": None,
            "needless": 0,
        }
        | changes
    )


def write_results(
    folder: Path, suites: Mapping[str, Sequence[EpisodeRecord]], policy: str = "tested", **plan
) -> Path:
    """A folder of results with these records."""
    folder.mkdir(parents=True, exist_ok=True)
    about = Plan(policy, (), 1, 1, hashes={"household": "0" * 64}, **plan).about()
    for suite, records in suites.items():
        lines = [json.dumps(about), *(each.model_dump_json() for each in records)]
        (folder / f"{suite}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
