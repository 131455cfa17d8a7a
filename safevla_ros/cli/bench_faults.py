"""`safevla bench faults`: what goes wrong, and how long until the robot is told something safe."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from safevla_ros.robot.geometry import planar
from safevla_ros.robot.profile import EmergencyStop, Profile, load_profile
from safevla_ros.robot.state import NANOSECONDS, BaseVelocity, Command, Joint
from safevla_ros.safety import (
    Chunk,
    Gate,
    Proposal,
    Reason,
    Specification,
    WorldState,
    load_specification,
)
from safevla_ros.safety.decisions import Verdict

PERIOD_S = 0.02
START_S = 10.0
AIM_S = 0.2
GIVEN_UP_S = 3.0
SIGNALS = ("joint_states", "odometry", "localisation", "scan", "objects", "contacts")


class Driver:
    """A gate that lets a policy drive at 4 Hz, on a clock of its own."""

    def __init__(
        self, profile: Profile, specification: Specification, rng: np.random.Generator
    ) -> None:
        self.gate = Gate(profile, specification, "enforce")
        self.time_s = START_S
        self.offset_s = 0.0
        self.silent: dict[str, float] = {}
        """Signals (or `policy`, `estop`) that say nothing any more, by when they last did."""
        self.next_proposal: Callable[[Proposal], Proposal] = lambda proposal: proposal
        self.changed: dict[str, Any] = {}
        self.gate.start_episode("e")
        self._step = 0
        self._due_s = START_S
        self.run(float(rng.uniform(0.5, 1.5)))

    def run(self, duration_s: float) -> list[Verdict]:
        """Let time pass."""
        return [self.tick() for _ in range(round(duration_s / PERIOD_S))]

    def tick(self) -> Verdict:
        """One period: what is due arrives, and the gate decides."""
        self.time_s += PERIOD_S
        if "estop" not in self.silent:
            self.gate.set_estop(False, self.time_s)
        now_ns = self._ns(self.time_s)
        if self.time_s >= self._due_s and "policy" not in self.silent:
            self._due_s = self.time_s + 0.25
            self._step += 1
            proposal = self.next_proposal(self.proposal())
            return self.gate.propose(proposal, self.world(), now_ns, self.time_s)
        return self.gate.supervise(self.world(), now_ns, self.time_s)

    def proposal(self, **fields: Any) -> Proposal:
        """What the policy says now."""
        command = Command(BaseVelocity(x=0.3), duration_s=0.5)
        given = {"command": command, "stamp_ns": self._ns(self.time_s), "step": self._step}
        return Proposal(**{"source": "policy", "episode_id": "e", **given, **fields})

    def world(self) -> WorldState:
        """What the robot's signals say now."""
        now_ns = self._ns(self.time_s)
        sources = {name: self._ns(self.silent.get(name, self.time_s)) for name in SIGNALS}
        fields: dict[str, Any] = {
            "base": planar(0.0, 0.0),
            "velocity": BaseVelocity(x=0.3),
            "joints": {"lift": Joint(0.5, 0.0)},
            "links": (),
            "objects": {},
            "contacts": (),
            "obstacles": np.empty((0, 3)),
        }
        return WorldState(now_ns, "map", sources=sources, **{**fields, **self.changed})

    def _ns(self, time_s: float) -> int:
        return round((time_s + self.offset_s) * NANOSECONDS)


def _command(**velocity: float) -> Command:
    return Command(BaseVelocity(**velocity), duration_s=0.5)


def _proposes(**fields: Any) -> Callable[[Driver], None]:
    """From now on the policy's proposals have these fields; callables get the driver."""

    def inject(driver: Driver) -> None:
        def changed(proposal: Proposal) -> Proposal:
            given = {k: v(driver) if callable(v) else v for k, v in fields.items()}
            return driver.proposal(**given)

        driver.next_proposal = changed
        driver._due_s = driver.time_s

    return inject


def _falls_silent(name: str) -> Callable[[Driver], None]:
    def inject(driver: Driver) -> None:
        driver.silent[name] = driver.time_s

    return inject


def _set(name: str, value: Any) -> Callable[[Driver], None]:
    def inject(driver: Driver) -> None:
        driver.changed[name] = value

    return inject


def _jumps(by_s: float) -> Callable[[Driver], None]:
    def inject(driver: Driver) -> None:
        driver.offset_s += by_s

    return inject


def _camera(reason: Reason) -> Callable[[Driver], None]:
    return lambda driver: driver.gate.set_cameras((reason, "navigation"))


def _plans_from(ago_s: float) -> Callable[[Driver], None]:
    """From now on steps belong to a chunk that was planned from an observation of that time."""

    def inject(driver: Driver) -> None:
        commands = (_command(x=0.3),) * 8
        observed_ns = driver._ns(driver.time_s + ago_s)
        driver.gate.set_chunk(Chunk("e", 1, driver._step + 1, observed_ns, commands))
        _proposes(chunk_id=1)(driver)

    return inject


def _plans_into_a_wall(driver: Driver) -> None:
    driver.changed["obstacles"] = np.array([[0.5, 0.0, 0.2]])
    _plans_from(0.0)(driver)


FAULTS: dict[str, tuple[Callable[[Driver], None], Reason]] = {
    "nan_in_command": (_proposes(command=_command(x=math.nan)), Reason.INVALID_COMMAND),
    "wrong_size": (_proposes(fault="joint_positions: expected 2 values"), Reason.INVALID_COMMAND),
    "unknown_joint": (
        _proposes(command=Command(joints={"tail": 0.1}, duration_s=0.5)),
        Reason.INVALID_COMMAND,
    ),
    "zero_stamp": (_proposes(stamp_ns=0), Reason.ZERO_STAMP),
    "future_stamp": (_proposes(stamp_ns=lambda d: d._ns(d.time_s + 2.0)), Reason.FUTURE_STAMP),
    "late_command": (_proposes(stamp_ns=lambda d: d._ns(d.time_s - 0.6)), Reason.STALE_COMMAND),
    "wrong_order": (_proposes(step=0), Reason.OUT_OF_ORDER),
    "other_episode": (_proposes(episode_id="f"), Reason.OTHER_EPISODE),
    "stale_chunk": (_plans_from(-6.0), Reason.STALE_CHUNK),
    "chunk_leads_into_a_wall": (_plans_into_a_wall, Reason.TRUNCATED),
    "camera_frozen": (_camera(Reason.FROZEN_CAMERA), Reason.FROZEN_CAMERA),
    "camera_lost": (_camera(Reason.LOST_CAMERA), Reason.LOST_CAMERA),
    "policy_dies": (_falls_silent("policy"), Reason.EXPIRED),
    "scan_dies": (_falls_silent("scan"), Reason.STALE_SIGNAL),
    "odometry_dies": (_falls_silent("odometry"), Reason.STALE_SIGNAL),
    "joint_states_die": (_falls_silent("joint_states"), Reason.STALE_SIGNAL),
    "localisation_dies": (_falls_silent("localisation"), Reason.STALE_SIGNAL),
    "scan_unreadable": (_set("obstacles", None), Reason.MISSING_SIGNAL),
    "estop_pressed": (lambda driver: driver.gate.set_estop(True, driver.time_s), Reason.ESTOP),
    "estop_dies": (_falls_silent("estop"), Reason.ESTOP_SILENT),
    "clock_jumps_back": (_jumps(-5.0), Reason.CLOCK_JUMP),
    "clock_leaps_ahead": (_jumps(5.0), Reason.CLOCK_JUMP),
    "monitor_paused": (lambda d: d.gate.latch(Reason.STALLED, "did not run"), Reason.STALLED),
    "watchdog_lost": (lambda d: d.gate.latch(Reason.WATCHDOG_LOST, "silent"), Reason.WATCHDOG_LOST),
}
"""How each is injected, and the reason that the gate must give."""


def faults(
    times: Annotated[int, typer.Option(min=1, help="How often each fault is injected.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of when.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Inject each fault while a policy drives, and take the time until the gate brakes or refuses,
    on the gate's clock at 50 Hz, with the reason that it gives. Faults of whole processes (SIGKILL,
    SIGSTOP) are tested on the real ones, in test/faults.

    Example: safevla bench faults --times 50 --json
    """
    report = measure(times, seed)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for name, fault in report["faults"].items():
        print(
            f"{name:<24} {fault['reason']:<16} worst {1e3 * fault['worst_s']:>5.0f} ms, right reason "
            f"{fault['right_reason']} of {times}"
        )


def measure(times: int, seed: int) -> dict[str, Any]:
    """The report, by fault."""
    rng = np.random.default_rng(seed)
    estop = EmergencyStop(topic="estop", required=True, timeout_s=0.2)
    profile = load_profile("sim").model_copy(update={"estop": estop})
    specification = load_specification("household")

    def driver() -> Driver:
        return Driver(profile, specification, rng)

    found = {name: _inject(times, driver, *fault) for name, fault in FAULTS.items()}
    return {"times": times, "seed": seed, "aim_s": AIM_S, "faults": found}


def _inject(
    times: int, make: Callable[[], Driver], inject: Callable[[Driver], None], reason: Reason
) -> dict[str, Any]:
    waits, right, spent = [], 0, []
    for _ in range(times):
        driver = make()
        began_s = driver.time_s
        inject(driver)
        found: Reason | None = None
        while found is None and driver.time_s - began_s < GIVEN_UP_S:
            before = time.thread_time()
            verdict = driver.tick()
            spent.append(time.thread_time() - before)
            if verdict.reason not in (Reason.ACCEPTED, Reason.LIMITS, Reason.PREDICTED):
                found = verdict.reason
        waits.append(driver.time_s - began_s)
        right += found is reason
    return {
        "reason": reason.word,
        "worst_s": round(max(waits), 3),
        "median_s": round(float(np.median(waits)), 3),
        "right_reason": right,
        "never_safe": sum(wait >= GIVEN_UP_S for wait in waits),
        "compute_p99_ms": round(1e3 * float(np.percentile(spent, 99)), 3),
    }
