"""A card says what the evaluations and the training's log say, and refuses those of another policy."""

from __future__ import annotations

import json
import shutil

import pytest
from records import record

from safevla_ros.assurance.card import CardError, write_card
from safevla_ros.assurance.playing import Plan
from safevla_ros.cli.evaluate import described
from safevla_ros.paths import share_directory
from safevla_ros.policy.description import read_description
from safevla_ros.policy.interface import PolicyError
from safevla_ros.training.offline.settings import OfflineSettings
from safevla_ros.training.online.settings import OnlineSettings

TASKS = ("find", "pick_up")


@pytest.fixture
def policy(tmp_path):
    """A shipped policy's folder, with empty weights."""
    folder, shipped = tmp_path / "mine", share_directory() / "policies" / "base"
    folder.mkdir()
    for name in ("policy.yaml", "vla.json"):
        shutil.copy(shipped / name, folder)
    for name in ("policy.onnx", "vla.safetensors"):
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture
def run(tmp_path):
    """A training's folder, of a run that was continued once."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_log(folder, [600.0, 1200.0, 300.0, 900.0])
    return folder


def write_log(folder, clock):
    lines = [
        {"elapsed_s": elapsed_s, "episodes": 1234 + i, "episode_frames": 5 * (1234 + i)}
        for i, elapsed_s in enumerate(clock)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def evaluation(path, policy, *, solved=8, cost=0.0, ablate="none", sha256=None):
    """A file as `safevla eval --json` prints it: ten episodes of each task."""
    records = [
        record(task, success=i < solved, collision=cost if i == 0 else 0.0, seed=i)
        for task in TASKS
        for i in range(10)
    ]
    sha256 = read_description(policy / "policy.yaml").sha256 if sha256 is None else sha256
    plan = Plan(
        str(policy),
        ("tasks",),
        10,
        1,
        specifications=("household",),
        hashes={"household": "0" * 64},
        ablate=ablate,
        sha256=sha256,
    )
    path.write_text(json.dumps(described(plan, {"tasks": records}, None)))
    return path


def test_a_card_has_the_figures_of_the_evaluations_and_of_the_log(policy, run, tmp_path):
    own = evaluation(tmp_path / "own.json", policy, solved=8, cost=30.0)
    blind = evaluation(tmp_path / "blind.json", policy, solved=0, ablate="blind")
    card = write_card(policy, run, [own, blind]).read_text()
    assert read_description(policy / "policy.yaml").sha256 in card
    assert "| mine | 10 | 0.80 (0.49 to 0.94) | 0.80 (0.49 to 0.94) | 0.80 " in card
    assert "| mine, blind | 10 | 0.00 (0.00 to 0.28) | 0.00 (0.00 to 0.28) | 0.00 " in card
    assert "| cost of collision | 3.00 (" in card
    assert "| cost, most | 30.0 | 30.0 |" in card
    assert "| P(cost > 10) | 0.10 (" in card
    assert "| episodes played | 1,237 (6,185 steps) |" in card
    assert "| time | 30 minutes:" in card  # the clock of the second part begins anew
    assert "| parts | 2: " in card


def test_a_policy_without_a_file_may_stand_beside_it(policy, run, tmp_path):
    own = evaluation(tmp_path / "own.json", policy)
    random = evaluation(tmp_path / "random.json", policy, solved=0, sha256="")
    assert write_card(policy, run, [own, random]).is_file()


def test_a_constrained_runs_card_has_its_constraints_and_the_policy_it_is_compared_with(
    policy, run, tmp_path
):
    made = json.loads((policy / "vla.json").read_text())
    settings = OnlineSettings(budgets={"find": {"corner": 0.25}}).model_dump(mode="json")
    notes = {"settings": settings, "progress": {"steps": 4096}}
    (policy / "vla.json").write_text(json.dumps(made | {"notes": notes}))
    (run / "start").mkdir()
    (run / "start" / "vla.json").write_text(json.dumps(made | {"notes": {"from": "careless"}}))
    entry = {"budget": 0.25, "J": 0.5, "satisfied": 0.9, "lambda": 5.0, "saturated": True}
    line = {"elapsed_s": 120.0, "episodes": {"find": {"episodes": 7}}}
    line["constraints"] = {"find": {"corner": entry, "drop": entry | {"budget": None}}}
    (run / "log.jsonl").write_text(json.dumps(line) + "\n")
    own = evaluation(tmp_path / "own.json", policy)
    compared = json.loads(own.read_text()) | {
        "reference": "careless",
        "compared": {
            "pairs": 20,
            "success_difference": {"difference": 0.05, "interval": [-0.02, 0.12]},
            "cost_ratio": {"ratio": 0.2, "interval": [0.1, 0.3]},
        },
    }
    own.write_text(json.dumps(compared))
    other = evaluation(tmp_path / "other.json", policy, solved=3, sha256="f" * 64)
    card = write_card(policy, run, [own, other]).read_text()
    assert "PPO-Lagrangian) in simulation, in fast mode, from careless" in card
    assert "| episodes | 7 find, 0 pick_up, 0 fetch |" in card
    assert "| find | corner | 0.250 | 0.50 | 90% | 5.00 (cap) |" in card
    assert "| find | drop" not in card
    assert "Against careless, in 20 pairs" in card
    assert "success +5.0 points (-2.0 to +12.0), summed cost 0.20 (0.10 to 0.30) times" in card
    assert "0.30 (" in card  # the other's row


def test_an_offline_runs_card_has_whose_episodes_it_learnt_from_and_what_it_is_estimated_to_cost(
    policy, run, tmp_path
):
    made = json.loads((policy / "vla.json").read_text())
    settings = OfflineSettings(
        policy="policies/careless", budgets={"corner": 0.25}, method="within_budget"
    )
    result = {
        "steps": 5000,
        "episodes": {"careless": 60, "scripted-careful": 40},
        "prices": {"corner": 0.0},
        "estimate": {"corner": {"mean": 0.5, "deviation": 0.125, "data": 1.0}},
    }
    notes = {"settings": settings.model_dump(mode="json"), "result": result}
    (policy / "vla.json").write_text(json.dumps(made | {"notes": notes}))
    log = [{"stage": "round-0", "elapsed_s": 60.0 * minute} for minute in (1, 2, 3)]
    log.append({"round": 0, **result["estimate"]})
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    card = write_card(policy, run, [evaluation(tmp_path / "own.json", policy)]).read_text()
    assert "beginning with careless: cloning of the episodes that kept the budgets" in card
    assert "5,000 steps of 100 episodes: 60 by careless, 40 by scripted-careful |" in card
    assert "in 3 minutes on CPU cores" in card
    assert "| corner | 0.25 | 1.00 | 0.50 +- 0.12 | 0.00 |" in card


def test_an_evaluation_of_another_policy_is_refused(policy, run, tmp_path):
    other = evaluation(tmp_path / "other.json", policy, sha256="f" * 64)
    with pytest.raises(CardError, match="another policy: sha256 ffff"):
        write_card(policy, run, [other])
    assert not (policy / "card.md").exists()


def test_what_is_missing_or_broken_is_named(policy, run, tmp_path):
    own = evaluation(tmp_path / "own.json", policy)
    with pytest.raises(CardError, match="at least one evaluation"):
        write_card(policy, run, [])
    with pytest.raises(CardError, match=r"none\.json: expected JSON"):
        write_card(policy, run, [tmp_path / "none.json"])
    with pytest.raises(CardError, match=r"vla\.json: expected what `safevla eval --json` prints"):
        write_card(policy, run, [policy / "vla.json"])
    write_log(run, [])
    with pytest.raises(CardError, match=r"log\.jsonl: .* empty"):
        write_card(policy, run, [own])
    (run / "log.jsonl").unlink()
    with pytest.raises(CardError, match=r"log\.jsonl: cannot be read"):
        write_card(policy, run, [own])
    made = json.loads((policy / "vla.json").read_text())
    (policy / "vla.json").write_text(json.dumps(made | {"notes": {}}))
    with pytest.raises(
        CardError, match=r"notes: expected those of an imitation, online or offline run"
    ):
        write_card(policy, run, [own])
    with pytest.raises(PolicyError, match=r"policy\.yaml"):
        write_card(tmp_path / "nobody", run, [own])
