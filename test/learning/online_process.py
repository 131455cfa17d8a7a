"""One of two processes that learn on levers, stopped half-way and gone on with; called by
test_online_learning.py."""

import json
import sys
from pathlib import Path

import box_examples
import torch

from safevla_ros.training.online.box import BoxEnvironment
from safevla_ros.training.online.distributed import process_group, rank
from safevla_ros.training.online.settings import LearningSettings, MultiplierSettings, PpoSettings
from safevla_ros.training.online.world import LocalWorld

TOLD = LearningSettings(
    environments=4,
    steps=416,
    ppo=PpoSettings(rollout=13, warm_up=1, minibatches=2, gamma=1.0, learning_rate=1e-2),
    multipliers=MultiplierSettings(window=6),
)


def levers():
    return LocalWorld([BoxEnvironment(box_examples.Lever(), 4 * rank() + i) for i in range(4)])


def main(folder):
    torch.set_num_threads(1)
    with process_group():
        first = box_examples.run(TOLD, folder, world=levers())
        first.settings = TOLD.model_copy(update={"steps": 208})
        first.run()
        run = box_examples.run(TOLD, folder, world=levers())
        resumed_at = run.steps
        run.run()
        told = {
            "weights": [float(p.double().sum()) for p in run.algorithm.agent.parameters()],
            "lagrange": run.algorithm.lagrange.state(),
            "seen": run.collector.state()["sums"].tolist(),
            "resumed_at": resumed_at,
        }
        (folder / f"{rank()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
