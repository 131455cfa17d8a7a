"""Offline learning under a budget, beside OSRL's BC-All, BC-Safe and CPQ, on the same data.

The task is SafetyBallCircle (Bullet-Safety-Gym): to run in a circle that leaves the allowed strip on
both sides, so that what is rewarded costs. The data is made here, by controllers that keep to narrower
and wider strips, with noise; most of it is over the budget. Ours is what `safevla train offline` does
(dual, weights, budget input: the same functions) with a network as small as OSRL's; advantages are those
of the recorded steps, since there is no policy beforehand whose actions they could be compared with. All
have the same number of updates, and are judged in the same episodes.

    python benchmarks/offline_safe_rl.py [--seeds 5] [--updates 20000] [--episodes 300] [--judged 20]

Makes a virtual environment of its own for the peer, goes on where it was stopped, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INSTALL = (
    ["torch==2.13.0", "numpy==1.26.4", "setuptools<81", "fast-safe-rl"],
    ["--no-deps", "osrl-lib==0.1.0", "dsrl==0.1.0"],
    ["gym==0.26.2", "scipy<1.12", "oapackage", "pyrallis", "safetensors", "pydantic", "pyyaml"],
)
TASK, STEPS, LIMIT = "SafetyBallCircle-v0", 200, 20.0
RADIUS_M = 7.0
BATCH, HIDDEN = 512, 256

Act = Callable[[Any, float], Any]
"""From an observation and what the episode has cost so far to an action."""


def make_data(path: Path, seed: int, episodes: int) -> None:
    """Episodes by controllers that keep to strips of different widths: arrays of all steps."""
    import bullet_safety_gym  # noqa: F401
    import gymnasium
    import numpy as np

    env, rng = gymnasium.make(TASK), np.random.default_rng(seed)
    np.random.seed(seed)  # the task draws its starts from numpy's own generator
    rows: dict[str, list[Any]] = {
        k: [] for k in ("seen", "next", "action", "reward", "cost", "last")
    }
    for _ in range(episodes):
        strip, lead = rng.uniform(4.0, 7.5), rng.uniform(0.3, 0.9)
        seen, _ = env.reset(seed=int(rng.integers(2**31)))
        done = False
        while not done:
            x, y = 10.0 * seen[:2]
            angle = np.arctan2(y, x) - lead
            aim = RADIUS_M * np.array([np.cos(angle), np.sin(angle)])
            aim[0] = np.clip(aim[0], -strip, strip)
            pull = aim - (x, y) - 5.0 * seen[2:4] * 0.3
            action = np.clip(pull + rng.normal(0.0, 0.3, 2), -1.0, 1.0).astype(np.float32)
            after, reward, ended, truncated, info = env.step(action)
            done = ended or truncated
            for key, value in (
                ("seen", seen),
                ("next", after),
                ("action", action),
                ("reward", reward),
                ("cost", info["cost"]),
                ("last", done),
            ):
                rows[key].append(value)
            seen = after
    arrays = {k: np.array(v, bool if k == "last" else np.float32) for k, v in rows.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def run_ours(data: dict[str, Any], updates: int, seed: int) -> Act:
    """Weighted cloning with the remaining budget as an input."""
    import numpy as np
    import torch
    from torch import nn

    from safevla_ros.training.offline import budgets
    from safevla_ros.training.offline.advantages import advantages, to_go, windows
    from safevla_ros.training.offline.critics import fit_critics, with_step
    from safevla_ros.training.offline.dual import Extraction, extract
    from safevla_ros.training.offline.weights import lagrangian

    rng = np.random.default_rng(seed)
    last, cost, reward = data["last"], data["cost"].astype(float), data["reward"].astype(float)
    count, ends = len(last), np.flatnonzero(last)
    first = np.concatenate([[0], ends[:-1] + 1])
    episode = np.searchsorted(ends, np.arange(count))
    returns, costs = to_go(reward, last)[first], to_go(cost, last)[first][:, None]
    asked = np.array([LIMIT])
    scales = budgets.cost_scales(costs, asked)
    gained = np.stack([reward - reward.min(), cost], axis=1)
    choose = rng.permutation(len(ends))[episode] < len(ends) // 5
    expected = fit_critics(
        with_step(data["seen"], np.arange(count) - first[episode]),
        to_go(gained, last),
        np.ones(gained.shape, bool),
        ~choose,
        choose,
        updates=1500,
        seed=seed,
        report=lambda done, total: None,
    )
    length = windows(last, np.zeros(count, bool), 8)
    units = (max(float(returns.std()), 1e-3), float(scales[0]))
    found = [advantages(gained[:, j], expected[:, j], last, length) / units[j] for j in range(2)]
    a_reward, a_cost = (a - a.mean() for a in found)
    lessons, weights = [], []
    for number, vector in enumerate(budgets.budget_vectors(costs, scales, asked, 64, rng)):
        allowed = budgets.allowed_means(
            vector, costs.mean(axis=0), scales, float(length.mean()), count / len(ends)
        )
        solution = extract(a_reward, a_cost[:, None], allowed)
        if isinstance(solution, Extraction):
            priced = lagrangian(a_reward, a_cost[:, None], solution.dual.multipliers)
            lessons.append(vector)
            weights.append(solution.tilt(priced).astype(np.float32))
        elif number == 0:
            raise SystemExit(f"this data does not support a cost of {LIMIT:g}: {solution}")
    spent = costs[episode, 0] - to_go(cost, last)
    torch.manual_seed(seed)
    policy = nn.Sequential(
        nn.Linear(data["seen"].shape[1] + 2, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, data["action"].shape[1]),
        nn.Tanh(),
    )
    optimizer = torch.optim.Adam(policy.parameters(), 1e-3)
    kappa, table = np.array(lessons)[:, 0], np.stack(weights)
    for _ in range(updates):
        index = rng.integers(count, size=BATCH)
        lesson = rng.integers(len(kappa), size=BATCH)
        tell = rng.random(BATCH) >= 0.3
        weight = np.where(tell, table[lesson, index] / 0.7, 0.2 / 0.3)
        told = budgets.told((kappa[lesson] - spent[index])[:, None], scales) * tell[:, None]
        inputs = np.concatenate([data["seen"][index], told], axis=1).astype(np.float32)
        error = (policy(torch.from_numpy(inputs)) - torch.from_numpy(data["action"][index])) ** 2
        loss = (error.mean(-1) * torch.from_numpy(weight.astype(np.float32))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def act(seen: Any, spent_so_far: float) -> Any:
        told = budgets.told(np.array([[LIMIT - spent_so_far]]), scales)[0]
        row = np.concatenate([seen, told]).astype(np.float32)
        with torch.no_grad():
            return policy(torch.from_numpy(row)).numpy()

    return act


def run_bc(data: dict[str, Any], updates: int, seed: int, *, safe: bool) -> Act:
    """OSRL's behaviour cloning, with the settings of its examples; `safe`: of the episodes within
    the limit."""
    import numpy as np
    import torch
    from osrl.algorithms import BC

    keep = np.ones(len(data["last"]), bool)
    if safe:
        ends = np.flatnonzero(data["last"])
        sums = np.diff(np.cumsum(data["cost"])[ends], prepend=0.0)
        keep = (sums <= LIMIT)[np.searchsorted(ends, np.arange(len(keep)))]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = BC(data["seen"].shape[1], data["action"].shape[1], 1.0, [HIDDEN, HIDDEN], STEPS)
    model.setup_optimizers(1e-3)
    kept = np.flatnonzero(keep)
    for _ in range(updates):
        index = rng.choice(kept, BATCH)
        model.actor_loss(
            torch.from_numpy(data["seen"][index]), torch.from_numpy(data["action"][index])
        )
    return lambda seen, spent: model.act(seen)


def run_cpq(data: dict[str, Any], updates: int, seed: int) -> Act:
    """OSRL's CPQ, with the settings of its examples."""
    import gymnasium
    import numpy as np
    import torch
    from osrl.algorithms import CPQ, CPQTrainer

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = CPQ(
        data["seen"].shape[1],
        data["action"].shape[1],
        1.0,
        a_hidden_sizes=[HIDDEN, HIDDEN],
        c_hidden_sizes=[HIDDEN, HIDDEN],
        vae_hidden_sizes=400,
        sample_action_num=10,
        gamma=0.99,
        tau=0.005,
        beta=0.5,
        num_q=2,
        num_qc=2,
        qc_scalar=1.5,
        cost_limit=int(LIMIT),
        episode_len=STEPS,
    )
    trainer = CPQTrainer(
        model,
        gymnasium.Env(),
        actor_lr=1e-4,
        critic_lr=1e-3,
        alpha_lr=1e-4,
        vae_lr=1e-3,
        reward_scale=0.1,
    )
    done = np.zeros(len(data["last"]), np.float32)  # time runs out; nothing ends
    columns = (data["seen"], data["next"], data["action"], 0.1 * data["reward"], data["cost"], done)
    for _ in range(updates):
        index = rng.integers(len(done), size=BATCH)
        trainer.train_one_step(*(torch.from_numpy(column[index]) for column in columns))
    return lambda seen, spent: model.act(seen, True, True)[0]


LEARNERS: dict[str, Callable[[dict[str, Any], int, int], Act]] = {
    "ours": run_ours,
    "BC-All": lambda data, updates, seed: run_bc(data, updates, seed, safe=False),
    "BC-Safe": lambda data, updates, seed: run_bc(data, updates, seed, safe=True),
    "CPQ": run_cpq,
}


def judge(act: Act, episodes: int) -> dict[str, float]:
    """Return, cost and share of episodes within the limit."""
    import bullet_safety_gym  # noqa: F401
    import gymnasium
    import numpy as np

    env = gymnasium.make(TASK)
    np.random.seed(10_000)
    returns, costs = [], []
    for number in range(episodes):
        seen, _ = env.reset(seed=1_000_000 + number)
        total, spent, done = 0.0, 0.0, False
        while not done:
            seen, reward, ended, truncated, info = env.step(act(seen, spent))
            total, spent = total + float(reward), spent + float(info["cost"])
            done = ended or truncated
        returns.append(total)
        costs.append(spent)
    return {
        "return": sum(returns) / episodes,
        "cost": sum(costs) / episodes,
        "within": sum(cost <= LIMIT for cost in costs) / episodes,
    }


def run(learner: str, setup: dict[str, int], seed: int, folder: Path) -> None:
    """One run, in the peer's environment; its line goes into the file of results."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    path = folder / f"data-{setup['episodes']}-{seed}.npz"
    if not path.is_file():
        make_data(path, seed, setup["episodes"])
    with np.load(path) as file:
        data = dict(file)
    begun = time.monotonic()
    act = LEARNERS[learner](data, setup["updates"], seed)
    seconds = time.monotonic() - begun
    ends = np.flatnonzero(data["last"])
    costs = np.diff(np.cumsum(data["cost"])[ends], prepend=0.0)
    line = {
        "learner": learner,
        "seed": seed,
        "setup": setup,
        "data": {"cost": float(costs.mean()), "within": float((costs <= LIMIT).mean())},
        "seconds": round(seconds, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        **judge(act, setup["judged"]),
    }
    with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def make_venv(folder: Path) -> Path:
    """The Python of the peer's virtual environment, which is made if it is not there."""
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file():
        venv.create(folder, with_pip=True)
        for packages in INSTALL:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python


def compare(seeds: int, setup: dict[str, int], python: Path, folder: Path) -> None:
    """Run what is missing, and print the table."""
    results = folder / "results.jsonl"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "disabled",
    }
    for seed in range(seeds):
        for learner in LEARNERS:
            done = {(r["learner"], r["seed"]) for r in _lines(results) if r["setup"] == setup}
            if (learner, seed) not in done:
                print(f"{learner}, seed {seed}", flush=True)
                arguments = ["run", learner, json.dumps(setup), str(seed), str(folder)]
                subprocess.run([python, __file__, *arguments], check=True, env=environment)
    rows = [r for r in _lines(results) if r["setup"] == setup]
    print(f"\n{TASK}, {setup}, cost limit {LIMIT:g}: mean [lowest, highest] over seeds")
    print(f"  data: cost {_spread([r['data']['cost'] for r in rows])}")
    for learner in LEARNERS:
        mine = [r for r in rows if r["learner"] == learner]
        figures = ", ".join(
            f"{k} {_spread([r[k] for r in mine])}" for k in ("return", "cost", "within")
        )
        print(f"  {learner}, {len(mine)} seeds: {figures}")


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def main() -> None:
    """See the module's docstring."""
    if sys.argv[1:2] == ["run"]:
        learner, setup, seed, folder = sys.argv[2:]
        run(learner, json.loads(setup), int(seed), Path(folder))
        return
    parser = argparse.ArgumentParser(description="Compare offline learning with OSRL's.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--episodes", type=int, default=300, help="of the data")
    parser.add_argument("--judged", type=int, default=20, help="episodes that judge a policy")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "benchmarks" / "osrl")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "benchmarks" / "offline")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    python = make_venv(arguments.venv.absolute())
    setup = {key: getattr(arguments, key) for key in ("updates", "episodes", "judged")}
    compare(arguments.seeds, setup, python, arguments.folder.absolute())


if __name__ == "__main__":
    main()
