"""Plays a policy through suites of scenarios, in several processes, and keeps a record of each
episode (see records.py). A run that was stopped goes on; it does not matter which process plays
what, or when."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path

from safevla_ros.assurance.playing import Plan, Player
from safevla_ros.assurance.records import COMPUTE, EpisodeRecord, read_records
from safevla_ros.assurance.suites import Trial, trials
from safevla_ros.processes import work_for_parent


class EvaluationError(RuntimeError):
    """An evaluation that was not completed; the message says why."""


def evaluate(
    plan: Plan, folder: Path, workers: int, report: Callable[[int, int], None]
) -> dict[str, list[EpisodeRecord]]:
    """All records of the plan by suite, each in its suite's order; those in the folder are not
    played again. `report` hears how many of how many there are.

    Raises ResultsError when the folder is of another evaluation, EvaluationError when a process
    dies.
    """
    wanted = {suite: trials(suite, plan.seed, plan.episodes) for suite in plan.suites}
    known = {
        suite: {
            record.index: record
            for record in read_records(folder / f"{suite}.jsonl", plan.about())[1]
        }
        for suite in plan.suites
    }
    missing = [
        trial for suite in plan.suites for trial in wanted[suite] if trial.index not in known[suite]
    ]
    total = sum(map(len, wanted.values()))
    report(total - len(missing), total)
    with ExitStack() as stack:
        files = {
            suite: stack.enter_context((folder / f"{suite}.jsonl").open("a", encoding="utf-8"))
            for suite in plan.suites
        }
        stack.enter_context(_clocked(folder, workers if missing else 0))
        for done, record in enumerate(_played(plan, missing, workers), total - len(missing) + 1):
            known[record.suite][record.index] = record
            files[record.suite].write(record.model_dump_json() + "\n")
            files[record.suite].flush()
            report(done, total)
    return {suite: [known[suite][trial.index] for trial in wanted[suite]] for suite in plan.suites}


def _played(plan: Plan, missing: Sequence[Trial], workers: int) -> Iterator[EpisodeRecord]:
    if not missing:
        return
    with _pool(plan, min(workers, len(missing))) as pool:
        try:
            for job in as_completed([pool.submit(_play, trial) for trial in missing]):
                yield job.result()
        except BrokenProcessPool as error:
            raise EvaluationError(f"a process died; run it again to go on: {error}") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _clocked(folder: Path, workers: int) -> Iterator[None]:
    """Adds the time that is spent, also when it ends in an error, to what was spent before."""
    file = folder / COMPUTE
    began_s = time.monotonic()
    try:
        yield
    finally:
        if workers:
            spent = json.loads(file.read_text("utf-8")) if file.is_file() else {"process_s": 0.0}
            spent["process_s"] += round(workers * (time.monotonic() - began_s), 1)
            spent["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
            file.write_text(json.dumps(spent) + "\n", encoding="utf-8")


# In the processes that play


_player: Player


def _pool(plan: Plan, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(plan,),
    )


def _start(plan: Plan) -> None:
    work_for_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    global _player  # noqa: PLW0603
    _player = Player(plan)


def _play(trial: Trial) -> EpisodeRecord:
    return _player.play(trial)
