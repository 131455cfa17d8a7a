"""An offline run, from bags to a policy. It is a folder:

    settings.json          what it was told
    bags.json              which bags
    episodes/              inputs of every step, one file an episode
    clone.safetensors      an untrained policy after cloning everything
    arrays.safetensors     features, advantages
    round-<n>.safetensors  state of each fit
    log.jsonl              losses, and the estimate of each round
    policy/                the policy, ready for a robot
    result.json            prices, effective samples, estimate, test

A stage that is done is passed over when the run is gone on with.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from safevla_ros.bags.dataset import EpisodeDataset
from safevla_ros.robot.profile import load_profile
from safevla_ros.training.checkpoint import load_tensors, save_tensors
from safevla_ros.training.episodes import EpisodeStore
from safevla_ros.training.offline.action_values import action_advantages
from safevla_ros.training.offline.advantages import advantages, discounted, to_go, windows
from safevla_ros.training.offline.base import base_policy, told
from safevla_ros.training.offline.critics import fit_critics, with_step
from safevla_ros.training.offline.data import CHOOSE, FIT, read_data
from safevla_ros.training.offline.dual import Unsupported
from safevla_ros.training.offline.fit import LOG, Fit, Report
from safevla_ros.training.offline.learners import Learner, TokenLearner
from safevla_ros.training.offline.playback import acts_of, codes_of, features_of
from safevla_ros.training.offline.pricing import Lesson, Priced, asked, price, teach
from safevla_ros.training.offline.proof import (
    Estimate,
    OffPolicyTest,
    estimate_costs,
    off_policy_tests,
)
from safevla_ros.training.offline.settings import (
    NEW,
    NEW_CHUNKS,
    TOLD,
    OfflineError,
    OfflineSettings,
    load_settings,
    save_settings,
)
from safevla_ros.training.offline.source import Source
from safevla_ros.training.offline.support import not_supported

Floats = NDArray[np.float64]

SETTINGS, BAGS, RESULT, POLICY = "settings.json", "bags.json", "result.json", "policy"
EPISODES, CLONE, ARRAYS = "episodes", "clone.safetensors", "arrays.safetensors"


@dataclass(frozen=True)
class OfflineResult:
    """What came of a run.

    `policy`: folder that a robot loads. `steps` and `episodes` that were fitted, the latter by the
    policy that acted in them. `lessons`: how many of the budgets the bags support. `prices`:
    multiplier by term at the budget that was asked for; `effective`: share of the samples that its
    weights leave. `tightened`: by how much each budget was lowered. `estimate` and `test`: see
    proof.py. `notes` on the bags, and on what was not reached.
    """

    policy: Path
    steps: int
    episodes: Mapping[str, int]
    lessons: int
    prices: Mapping[str, float]
    effective: float
    tightened: Mapping[str, float]
    estimate: Mapping[str, Estimate]
    test: Mapping[str, OffPolicyTest]
    notes: tuple[str, ...]


def fit_offline(
    settings: OfflineSettings,
    bags: Path | Iterable[Path],
    folder: Path,
    report: Report = lambda line: None,
) -> OfflineResult:
    """Learn a policy from bags under budgets, or go on where the run in `folder` was stopped.

    `bags`: a folder with bags at any depth, or the bags. `report` hears `stage`, `done` and `total`,
    and `loss` while fitting. Raises NotSupported when the bags do not support the budgets,
    OfflineError, BagError, PolicyError, ProfileError or CheckpointError.
    """
    return _Run(settings, bags, folder, report).run()


def bags_of(folder: Path) -> Path | list[Path]:
    """What the run in `folder` learns from. Raises OfflineError."""
    try:
        found = json.loads((folder / BAGS).read_text(encoding="utf-8"))["bags"]
    except (OSError, ValueError, KeyError) as error:
        raise OfflineError(f"{folder / BAGS}: expected the bags of an offline run") from error
    return Path(found) if isinstance(found, str) else [Path(path) for path in found]


class _Run:
    def __init__(
        self,
        settings: OfflineSettings,
        bags: Path | Iterable[Path],
        folder: Path,
        report: Report,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SETTINGS).is_file() and load_settings(folder / SETTINGS) != settings:
            raise OfflineError(f"{folder / SETTINGS}: holds a run with other settings")
        save_settings(settings, folder / SETTINGS)
        torch.manual_seed(settings.seed)
        self._settings = settings
        self._folder = folder
        self._report = report
        self._store = EpisodeStore(folder / EPISODES)
        bags = bags if isinstance(bags, Path) else list(bags)
        dataset = EpisodeDataset.open(
            bags, workers=settings.workers, progress=self._stage("reading bags")
        )
        self._claim(bags, dataset)
        self._data = read_data(dataset, settings)
        self._base = base_policy(
            settings,
            dataset,
            self._data,
            self._store,
            load_profile(settings.robot),
            self._stage("preparing inputs"),
        )

    def _claim(self, bags: Path | list[Path], dataset: EpisodeDataset) -> None:
        """Write down which bags there are: what is in the folder is of them, in this order."""
        digest = hashlib.sha256()
        for episode, steps in enumerate(np.bincount([step.episode for step in dataset.steps])):
            digest.update(f"{dataset.episodes[episode].episode_id} {steps}\n".encode())
        said = {
            "bags": str(bags) if isinstance(bags, Path) else [str(path) for path in bags],
            "episodes": len(dataset.episodes),
            "sha256": digest.hexdigest(),
        }
        path = self._folder / BAGS
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != said:
            raise OfflineError(f"{path}: the run began with other bags: begin another one")
        path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")

    def run(self) -> OfflineResult:
        """All stages."""
        settings = self._settings
        if settings.policy in (NEW, NEW_CHUNKS):
            self._base = self._fit("clone", self._base, settings.clone_updates, self._source)
        self._codes = codes_of(self._base, self._store, self._data)
        self._features, found = self._arrays()
        self._priced = price(self._data, found, settings)
        learner = told(self._base, settings, self._priced.scales)
        tightened = np.zeros(len(settings.terms))
        result: OfflineResult | None = None
        for number in range(settings.rounds if settings.method in TOLD else 1):
            lessons = self._lessons(tightened)
            if isinstance(lessons, Unsupported):
                if result is None:
                    raise not_supported(lessons, settings, self._priced.costs, self._priced.success)
                note = "the estimate exceeds the budget, and the bags support no lower one"
                result = replace(result, notes=(*result.notes, note))
                break
            result = self._round(number, learner, lessons, tightened)
            means = np.array([result.estimate[term].mean for term in settings.terms])
            excess = np.maximum(means - asked(settings), 0.0)
            if not excess.any():
                break
            tightened = tightened + excess
        else:
            assert result is not None
            note = "the estimate exceeds the budget after the last round"
            result = replace(result, notes=(*result.notes, note))
        assert result is not None
        return self._write(result)

    def _arrays(self) -> tuple[NDArray, Floats]:
        """Features (N, F) and advantages (N, 1 + K, 1 + M): the reward's first, and the recorded
        action's before those of all there are, where they are weighed."""
        path = self._folder / ARRAYS
        if path.is_file():
            tensors, _ = load_tensors(path)
            return tensors["features"].numpy(), tensors["advantages"].numpy()
        data, settings = self._data, self._settings
        features = with_step(
            features_of(self._base, self._store, data, self._stage("features")), data.columns.step
        )
        acts = self._acts
        others = np.eye(acts.shape[1] if settings.weigh == "own" else 0, acts.shape[1])
        followed, known = self._followed(features)
        found = [
            action_advantages(
                features,
                self._codes,
                followed[:, j],
                lambda index, value: self._base.average(acts[index], value),
                others.astype(np.float32),
                data.steps_of(FIT) & known[:, j],
                data.steps_of(CHOOSE) & known[:, j],
                updates=settings.critic_updates,
                seed=settings.seed,
                report=self._stage(f"advantages in {name}"),
            )
            for j, name in enumerate(("reward", *settings.terms))
        ]
        result = np.stack(found, axis=1)
        tensors = {
            "features": torch.from_numpy(features),
            "advantages": torch.from_numpy(result),
        }
        save_tensors(path, tensors, {})
        return features, result

    @cached_property
    def _acts(self) -> NDArray[np.float32]:
        """(N, A) what the policy that the run began with would do."""
        settings = self._settings
        return acts_of(self._base, self._store, self._data, asked(settings), settings.temperature)

    def _followed(self, features: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        """(N, 1 + K) what followed each step, and where that and the action are known. A cost shows
        within few steps; a success needs the critic to look farther ahead."""
        data, settings, columns = self._data, self._settings, self._data.columns
        expected = fit_critics(
            features,
            to_go(columns.reward, columns.last)[:, None],
            columns.known[:, None],
            data.steps_of(FIT),
            data.steps_of(CHOOSE),
            updates=settings.critic_updates,
            seed=settings.seed,
            report=self._stage("critic"),
        )[:, 0]
        length = windows(columns.last, columns.cut, settings.steps_ahead)
        gained = advantages(columns.reward, expected, columns.last, length)
        costs = discounted(columns.charged, columns.last, columns.cut, settings.discount)
        acted = np.asarray(self._codes.any(axis=1))
        known = np.repeat(acted[:, None], 1 + len(settings.terms), axis=1)
        known[:, 0] &= columns.known
        return np.concatenate([gained[:, None], costs], axis=1), known

    def _lessons(self, tightened: Floats) -> tuple[Lesson, ...] | Unsupported:
        if self._settings.method not in TOLD:
            return ()
        return teach(self._priced, self._settings, tightened, self._stage("budgets"))

    def _round(
        self, number: int, learner: Learner[Any], lessons: tuple[Lesson, ...], tightened: Floats
    ) -> OfflineResult:
        """One fit, its estimate and its test. The learner goes on from round to round."""
        settings, data, learnt = self._settings, self._data, self._fitted()
        make = partial(self._source, lessons=lessons, priced=self._priced)
        fitted = self._fit(f"round-{number}", learner, settings.updates, make)
        self._policy = fitted.fold_advantage() if settings.method == "condition" else fitted
        acts = acts_of(self._policy, self._store, data, asked(settings), settings.temperature)
        estimate = estimate_costs(
            self._policy,
            acts,
            self._codes,
            self._features,
            data,
            settings,
            self._stage(f"estimate of round {number}"),
        )
        self._log({"round": number, **{name: asdict(found) for name, found in estimate.items()}})
        priced = lessons[0].extraction if lessons else None
        prices = priced.dual.multipliers if priced else np.zeros(len(settings.terms))
        return OfflineResult(
            policy=self._folder / POLICY,
            steps=int((self._priced.samples & learnt[data.columns.episode]).sum()),
            episodes=dict(Counter(np.array(data.actors)[learnt].tolist())),
            lessons=len(lessons),
            prices=self._by_term(prices),
            effective=priced.effective if priced else 1.0,
            tightened=self._by_term(tightened),
            estimate=estimate,
            test=off_policy_tests(
                acts, self._codes, data, settings, tokens=isinstance(learner, TokenLearner)
            ),
            notes=data.notes,
        )

    def _fit(
        self,
        name: str,
        learner: Learner[Any],
        updates: int,
        source: Callable[[Learner[Any], int], Source],
    ) -> Learner[Any]:
        state = self._folder / f"{name}.safetensors"
        return Fit(
            learner, partial(source, learner), self._settings, updates, state, self._report
        ).run()

    def _fitted(self) -> NDArray[np.bool_]:
        """(E,) which episodes are learnt from."""
        settings, columns, fitted = self._settings, self._data.columns, self._data.fitted
        if settings.method == "within_budget":
            fitted = fitted & np.all(columns.sums(columns.cost) <= asked(settings), axis=1)
            if not fitted.any():
                raise OfflineError("method 'within_budget': no episode is within the budgets")
        return fitted

    def _source(
        self,
        learner: Learner[Any],
        updates: int,
        lessons: tuple[Lesson, ...] = (),
        priced: Priced | None = None,
    ) -> Source:
        """The episodes of a fit that has done so many updates. Without `priced`: all of them."""
        keep = None if priced is None else self._fitted()
        return Source(
            store=self._store,
            data=self._data,
            settings=self._settings,
            rng=np.random.default_rng([self._settings.seed, updates]),
            scales=np.array([term.scale for term in learner.terms]),
            priced=priced,
            lessons=lessons,
            keep=keep,
            acts=self._acts if priced and self._settings.weigh == "own" else None,
        )

    def _write(self, result: OfflineResult) -> OfflineResult:
        """Export the policy and write the result."""
        settings = self._settings
        said = asdict(result) | {"policy": POLICY}
        notes = {"settings": settings.model_dump(mode="json"), "result": said}
        self._policy.export(self._folder / POLICY, self._folder.name, settings.temperature, notes)
        (self._folder / RESULT).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        return result

    def _by_term(self, values: Floats) -> dict[str, float]:
        return dict(zip(self._settings.terms, values.tolist(), strict=True))

    def _stage(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self._report({"stage": stage, "done": done, "total": total})

    def _log(self, line: Mapping[str, Any]) -> None:
        with (self._folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
