"""Safety as explicit costs: world state, cost terms, specification, accounting, and the gate.

Needs numpy, pydantic, pyyaml and shapely; no ROS, no simulator, no learning framework. The
kinematic model is handed in as an object, so that a trajectory can be scored without one.

    specification = load_specification("household")
    accountant = CostAccountant(specification)
    accountant.reset("episode", Task(target_class="mug"))
    for world in step:                      # WorldState: plain data, from wherever it comes
        accountant.sample(world)
    costs = accountant.close_step(0)        # per term: cost, margin, cause, remaining budget
"""

from safevla_ros.safety.accounting import CostAccountant, LiveMargin, Status, StepCosts, TermCost
from safevla_ros.safety.chunks import Chunk
from safevla_ros.safety.decisions import Decision, Proposal, Reason, Verdict
from safevla_ros.safety.gate import Gate
from safevla_ros.safety.specification import (
    Specification,
    SpecificationError,
    load_specification,
    parse_specification,
)
from safevla_ros.safety.terms import TERMS
from safevla_ros.safety.world import NO_TASK, Signals, Task, WorldAssembler, WorldState
from safevla_ros.safety.zones import Zone

__all__ = [
    "NO_TASK",
    "TERMS",
    "Chunk",
    "CostAccountant",
    "Decision",
    "Gate",
    "LiveMargin",
    "Proposal",
    "Reason",
    "Signals",
    "Specification",
    "SpecificationError",
    "Status",
    "StepCosts",
    "Task",
    "TermCost",
    "Verdict",
    "WorldAssembler",
    "WorldState",
    "Zone",
    "load_specification",
    "parse_specification",
]
