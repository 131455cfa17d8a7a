"""Which policy runs, which one ran before, and which one runs beside it and is only compared."""

from __future__ import annotations

from collections.abc import Callable

from safevla_ros.nodes.inference.shadow import Shadow
from safevla_ros.policy.interface import Policy, PolicyError
from safevla_ros.policy.load import Runtime, load_policy
from safevla_ros.robot.profile import Profile
from safevla_ros.simulation.scripted import is_scripted, style_of


class Policies:
    """The policies of an inference node. A change counts from the next episode on; what is refused,
    with a PolicyError, leaves everything as it was.

    `hear_truth` is called once, for the first policy that uses the simulator's truth; it raises
    PolicyError where a robot cannot give that.
    """

    def __init__(
        self, first: Policy, profile: Profile, hear_truth: Callable[[Policy], None]
    ) -> None:
        self._profile = profile
        self._hear_truth = hear_truth
        self._hears_truth = False
        self._previous: Policy | None = None
        self.shadow: Shadow | None = None
        self.present = self._fitting(first)

    def replace(self, policy: Policy) -> None:
        """Have another policy run, and none beside it. Raises PolicyError."""
        self._previous, self.present = self.present, self._fitting(policy)
        self.compare(None)

    def roll_back(self) -> bool:
        """Return to the policy before the last replacement, or from there to the replacement. False:
        nothing was replaced."""
        if self._previous is None:
            return False
        self.present, self._previous = self._previous, self.present
        self.compare(None)
        return True

    def compare(self, policy: Policy | None) -> None:
        """Have a policy run beside the present one; None: none. Raises PolicyError."""
        if policy is not None:
            self._require_steps(policy)
            if policy.description.privileged:
                raise PolicyError(
                    f"policy {policy.description.id!r}: it uses the simulator's truth, which is not "
                    "given to a shadow"
                )
        if self.shadow is not None:
            self.shadow.close()
        self.shadow = None if policy is None else Shadow(policy, self._profile)

    def _fitting(self, policy: Policy) -> Policy:
        """The policy, which hears what it needs. Raises PolicyError."""
        self._require_steps(policy)
        if policy.description.privileged and not self._hears_truth:
            self._hear_truth(policy)
            self._hears_truth = True
        return policy

    def _require_steps(self, policy: Policy) -> None:
        """Raises PolicyError where a policy's steps are not the robot's."""
        step_s = policy.description.step_s
        if step_s not in (0.0, self._profile.step_s):
            raise PolicyError(
                f"policy {policy.description.id!r}: its steps take {step_s:g} s, those of robot "
                f"{self._profile.name!r} {self._profile.step_s:g} s"
            )


def find_policy(
    name: str, profile: Profile, scenario: str, seed: int, runtime: Runtime = "onnx"
) -> Policy:
    """A policy by name, scripted ones included; an empty name is the scenario's own policy.

    Raises PolicyError with one sentence. This is the only place where policies may know the
    simulator, and only for a simulated robot.
    """
    if not profile.simulated and (not name or is_scripted(name)):
        raise PolicyError(
            f"policy {name!r}: robot {profile.name!r} is not simulated: expected the name of a "
            "policy or a policy folder, and none of the scripted ones, which use the simulator's "
            "truth"
        )
    style = style_of(name) if is_scripted(name) else None
    if name and style is None:
        return load_policy(name, profile.roles, seed, runtime)

    from safevla_ros.simulation.expert import ScriptedExpert
    from safevla_ros.simulation.scenario import ScenarioError, load_scenario

    try:
        loaded = load_scenario(scenario)
    except ScenarioError as error:
        raise PolicyError(str(error)) from error
    if style is None:
        return find_policy(loaded.policy or "scripted-careful", profile, scenario, seed, runtime)
    return ScriptedExpert(loaded, style)
