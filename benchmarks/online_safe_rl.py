"""PPO-Lagrangian as `safevla train online` does it, against the same of FSRL and of OmniSafe.

    python benchmarks/online_safe_rl.py fsrl          # SafetyBallCircle, SafetyBallRun: 200,000 steps
    python benchmarks/online_safe_rl.py omnisafe      # Safety-Gymnasium's Swimmer velocity: 100,000

Each peer gets a virtual environment of its own, which the first call makes (torch is several hundred
MB), and our code runs in the same one, on the same tasks and numbers of steps. The two take turns, so
that both meet the same load of the machine. Results are appended to a file as they come; a call that
was stopped goes on with the runs that are missing.

Each line: return, cost and share of satisfied episodes (cost within the limit) of the final policy
over 50 episodes, with actions drawn as in training and with the likeliest one, and the steps per
second of the training (wall clock). Settings are the peers' defaults for such tasks, but for one
thread in torch; ours are in `OURS`. Costs and limits are the peers' too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EPISODES = 50
COMMON = ["numpy==1.26.4", "torch==2.13.0", "setuptools<81", "safetensors", "pydantic>=2", "pyyaml"]
PEERS: dict[str, dict[str, Any]] = {
    "fsrl": {
        "install": [[*COMMON, "fast-safe-rl"]],
        "tasks": {"SafetyBallCircle-v0": 10.0, "SafetyBallRun-v0": 10.0},
        "steps": 200_000,
    },
    "omnisafe": {
        "install": [
            [
                *COMMON,
                "gymnasium==0.28.1",
                "mujoco==2.3.3",
                "pygame==2.6.1",
                "pettingzoo==1.24.3",
                *[
                    "xmltodict",
                    "imageio",
                    "matplotlib",
                    "moviepy",
                    "pandas",
                    "rich",
                    "scikit-learn",
                    "seaborn",
                ],
                *[
                    "tensorboard",
                    "typer",
                    "typing_extensions",
                    "wandb",
                    "gdown",
                    "gpytorch",
                    "joblib",
                    "scipy",
                ],
            ],
            [
                "--no-deps",
                "safety-gymnasium==1.0.0",
                "gymnasium-robotics==1.2.2",
                "omnisafe==0.5.0",
            ],
        ],
        "tasks": {"SafetySwimmerVelocity-v1": 25.0},
        "steps": 100_000,
    },
}
"""What to install, the cost limit of each task, and the steps of a run."""

OURS = {
    "ppo": {
        "rollout": 100,
        "epochs": 8,
        "minibatches": 8,
        "clip": 0.2,
        "target_kl": 0.02,
        "learning_rate": 5e-4,
        "critic_learning_rate": 1e-3,
        "cost_gamma": 0.99,
        "warm_up": 1,
    },
    "multipliers": {
        "window": 20,
        "smoothing": 0.5,
        "kp": 0.2,
        "ki": 0.05,
        "kd": 0.05,
        "scale": 1.0,
    },
}
ENVIRONMENTS, WORKERS = 20, 2


def make_environment(task: str) -> Any:
    """A task in Gymnasium's interface, whose `info` has the cost."""
    if task.startswith("SafetyBall"):
        import bullet_safety_gym  # noqa: F401
        import gymnasium

        return gymnasium.make(task)
    import safety_gymnasium
    from safety_gymnasium.wrappers import SafetyGymnasium2Gymnasium

    return SafetyGymnasium2Gymnasium(safety_gymnasium.make(task))


class Maker:
    """Makes an environment by its index, in another process too."""

    def __init__(self, task: str, seed: int) -> None:
        self.task, self.seed = task, seed

    def __call__(self, index: int) -> Any:
        """The environment of that index."""
        from safevla_ros.training.online.box import BoxEnvironment

        return BoxEnvironment(make_environment(self.task), index, self.seed)


def run_ours(task: str, limit: float, steps: int, seed: int) -> dict[str, Any]:
    """Train ours; see the module's docstring for what is returned."""
    import numpy as np
    import torch

    from safevla_ros.training.online.budgets import make_constraints
    from safevla_ros.training.online.gaussian import OBSERVATION, GaussianAgent
    from safevla_ros.training.online.run import Run
    from safevla_ros.training.online.settings import LearningSettings
    from safevla_ros.training.online.workers import WorkerWorld

    torch.manual_seed(seed)
    env = make_environment(task)
    settings = LearningSettings(seed=seed, steps=steps, environments=ENVIRONMENTS, **OURS)
    agent = GaussianAgent(env.observation_space.shape[0], env.action_space.shape[0], 1, (64, 64))
    constraints = make_constraints({"all": {"cost": limit}}, [task], ["cost"], task)
    world = WorkerWorld(Maker(task, seed), range(ENVIRONMENTS), WORKERS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(settings, agent, world, [task], constraints, Path(folder), lambda line: None)
            begun = time.monotonic()
            run.run()
            seconds = time.monotonic() - begun
    finally:
        world.close()
    middle = (env.action_space.high + env.action_space.low) / 2.0
    half = (env.action_space.high - env.action_space.low) / 2.0
    generator = torch.Generator().manual_seed(seed)

    def act(observation: Any, sampled: bool) -> Any:
        seen = {OBSERVATION: torch.from_numpy(np.asarray(observation, np.float64)[None])}
        if sampled:
            state = agent.initial_state(1)
            action = agent.act(seen, torch.ones(1, dtype=torch.bool), state, generator).action
        else:
            action = agent.mean_action(seen)
        return (middle + half * np.clip(action.numpy()[0], -1.0, 1.0)).astype(np.float32)

    return {"steps_per_s": run.steps / seconds, "steps": run.steps, **judge(env, act, limit)}


def run_fsrl(task: str, limit: float, steps: int, seed: int) -> dict[str, Any]:
    """Train FSRL's PPO-Lagrangian with its defaults for Bullet tasks."""
    import numpy as np
    import torch
    from fsrl.agent import PPOLagAgent
    from fsrl.config.ppol_cfg import Bullet1MCfg
    from tianshou.data import Batch
    from tianshou.env import ShmemVectorEnv

    c = Bullet1MCfg(cost_limit=limit, seed=seed)
    env = make_environment(task)
    agent = PPOLagAgent(
        env,
        cost_limit=limit,
        thread=1,
        seed=seed,
        lr=c.lr,
        hidden_sizes=c.hidden_sizes,
        target_kl=c.target_kl,
        vf_coef=c.vf_coef,
        max_grad_norm=c.max_grad_norm,
        eps_clip=c.eps_clip,
        lagrangian_pid=c.lagrangian_pid,
        rescaling=c.rescaling,
    )
    train_envs = ShmemVectorEnv([lambda: make_environment(task) for _ in range(c.training_num)])
    train_envs.seed([1000 * seed + i for i in range(c.training_num)])
    begun = time.monotonic()
    agent.learn(
        train_envs,
        None,
        epoch=steps // c.step_per_epoch,
        episode_per_collect=c.episode_per_collect,
        step_per_epoch=c.step_per_epoch,
        repeat_per_collect=c.repeat_per_collect,
        buffer_size=c.buffer_size,
        batch_size=c.batch_size,
        reward_threshold=c.reward_threshold,
        save_ckpt=False,
        verbose=False,
        show_progress=False,
    )
    seconds = time.monotonic() - begun
    train_envs.close()

    def act(observation: Any, sampled: bool) -> Any:
        agent.policy.train(sampled)
        with torch.no_grad():
            chosen = agent.policy(Batch(obs=np.asarray(observation)[None], info={})).act
        return agent.policy.map_action(chosen.numpy()[0])

    return {"steps_per_s": steps / seconds, "steps": steps, **judge(env, act, limit)}


def run_omnisafe(task: str, limit: float, steps: int, seed: int) -> dict[str, Any]:
    """Train OmniSafe's PPOLag with its defaults, but for epochs of 4,000 steps."""
    import numpy as np
    import omnisafe
    import torch

    with tempfile.TemporaryDirectory() as folder:
        agent = omnisafe.Agent(
            "PPOLag",
            task,
            custom_cfgs={
                "seed": seed,
                "train_cfgs": {"total_steps": steps, "torch_threads": 1, "vector_env_nums": 1},
                "algo_cfgs": {"steps_per_epoch": 4000},
                "lagrange_cfgs": {"cost_limit": limit},
                "logger_cfgs": {
                    "use_wandb": False,
                    "use_tensorboard": False,
                    "log_dir": folder,
                    "save_model_freq": 10**6,
                },
            },
        )
        begun = time.monotonic()
        agent.learn()
        seconds = time.monotonic() - begun
    learner = agent.agent
    actor = learner._actor_critic.actor
    normaliser = learner._env.save().get("obs_normalizer")
    env = make_environment(task)
    low, high = env.action_space.low, env.action_space.high

    def act(observation: Any, sampled: bool) -> Any:
        seen = torch.as_tensor(np.asarray(observation), dtype=torch.float32)
        with torch.no_grad():
            if normaliser is not None:
                seen = (seen - normaliser.mean) / (normaliser.std + 1e-8)
                seen = seen.clamp(-5.0, 5.0)
            action = actor.predict(seen, deterministic=not sampled)
        return (low + (np.clip(action.numpy(), -1.0, 1.0) + 1.0) * (high - low) / 2.0).astype(
            np.float32
        )

    return {"steps_per_s": steps / seconds, "steps": steps, **judge(env, act, limit)}


LEARNERS: dict[str, Callable[[str, float, int, int], dict[str, Any]]] = {
    "ours": run_ours,
    "fsrl": run_fsrl,
    "omnisafe": run_omnisafe,
}


def judge(env: Any, act: Callable[[Any, bool], Any], limit: float) -> dict[str, Any]:
    """Return, cost and share of satisfied episodes of a policy, by how actions are chosen."""
    found: dict[str, Any] = {}
    for name, sampled in (("sampled", True), ("likeliest", False)):
        returns, costs = [], []
        for episode in range(EPISODES):
            observation, _ = env.reset(seed=1_000_000 + episode)
            reward_sum, cost_sum, done = 0.0, 0.0, False
            while not done:
                observation, reward, ended, truncated, info = env.step(act(observation, sampled))
                reward_sum += float(reward)
                cost_sum += float(info.get("cost", 0.0))
                done = ended or truncated
            returns.append(reward_sum)
            costs.append(cost_sum)
        found[name] = {
            "return": sum(returns) / EPISODES,
            "cost": sum(costs) / EPISODES,
            "satisfied": sum(cost <= limit for cost in costs) / EPISODES,
        }
    return found


def make_venv(peer: str, folder: Path) -> Path:
    """The Python of a peer's virtual environment, which is made if it is not there."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.is_file():
        return python
    venv.create(folder, with_pip=True, clear=True)
    for packages in PEERS[peer]["install"]:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    if peer == "omnisafe":
        _mend(folder)
    done.touch()
    return python


def _mend(folder: Path) -> None:
    """Safety-Gymnasium 1.0.0 has dataclass fields with an array as default, which Python 3.11
    refuses: make each a factory."""
    import re

    pattern = re.compile(r"^(\s+\w+: [^=\n]+ = )(np\.(?:array|zeros|ones)\(.*\))\s*(#.*)?$", re.M)
    for path in folder.glob("lib/python*/site-packages/safety_gymnasium/**/*.py"):
        text = path.read_text(encoding="utf-8")
        mended = pattern.sub(r"\1field(default_factory=lambda: \2)", text)
        if mended != text:
            mended = mended.replace(
                "from dataclasses import dataclass\n", "from dataclasses import dataclass, field\n"
            )
            path.write_text(mended, encoding="utf-8")


def compare(peer: str, seeds: int, steps: int, tasks: list[str], venvs: Path, output: Path) -> None:
    """Run what is missing of both, in turns, and print the table."""
    python = make_venv(peer, venvs / peer)
    output.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["task"], r["learner"], r["seed"], r["steps_asked"]) for r in _results(output)}
    for seed in range(seeds):
        for task in tasks:
            for learner in ("ours", peer):
                if (task, learner, seed, steps) not in done:
                    print(f"{task}: {learner}, seed {seed}, {steps:,} steps", flush=True)
                    _run_in(python, [learner, task, str(steps), str(seed), str(output)])
    _print_table([r for r in _results(output) if r["steps_asked"] == steps], [*tasks], peer)


def _run_in(python: Path, arguments: list[str]) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "disabled",
    }
    subprocess.run([python, __file__, "run", *arguments], check=True, env=environment)


def _results(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _print_table(results: list[dict[str, Any]], tasks: list[str], peer: str) -> None:
    for task in tasks:
        print(
            f"\n{task}: mean [lowest, highest] over seeds; cost limit {PEERS[peer]['tasks'][task]:g}"
        )
        for learner in ("ours", peer):
            rows = [r for r in results if r["task"] == task and r["learner"] == learner]
            if not rows:
                continue
            print(
                f"  {learner}, {len(rows)} seeds, {_spread([r['steps_per_s'] for r in rows])} steps/s"
            )
            for mode in ("sampled", "likeliest"):
                figures = ", ".join(
                    f"{key} {_spread([row[mode][key] for row in rows])}"
                    for key in ("return", "cost", "satisfied")
                )
                print(f"    {mode}: {figures}")


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def run(learner: str, task: str, steps: int, seed: int, output: Path) -> None:
    """One run, in the peer's environment; its line goes into the file of results."""
    import torch

    torch.set_num_threads(1)
    limit = next(p["tasks"][task] for p in PEERS.values() if task in p["tasks"])
    result = LEARNERS[learner](task, limit, steps, seed)
    line = {
        "task": task,
        "learner": learner,
        "seed": seed,
        "steps_asked": steps,
        "limit": limit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        **result,
    }
    with output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    """See the module's docstring."""
    if sys.argv[1:2] == ["run"]:
        learner, task, steps, seed, output = sys.argv[2:]
        run(learner, task, int(steps), int(seed), Path(output))
        return
    parser = argparse.ArgumentParser(description="Compare PPO-Lagrangian with a peer's.")
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a run; default: 200,000 or 100,000")
    parser.add_argument("--tasks", nargs="*", help="default: all of the peer's")
    parser.add_argument("--venvs", type=Path, default=ROOT / "build" / "benchmarks")
    parser.add_argument("--output", type=Path, help="file of results; default: in the folder above")
    arguments = parser.parse_args()
    peer = arguments.peer
    compare(
        peer,
        arguments.seeds,
        arguments.steps or PEERS[peer]["steps"],
        arguments.tasks or list(PEERS[peer]["tasks"]),
        arguments.venvs.absolute(),
        arguments.output or arguments.venvs.absolute() / f"{peer}.jsonl",
    )


if __name__ == "__main__":
    main()
