"""The compact VLA as an actor-critic, and as a reference that it is kept near to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional

from safevla_ros.policy.vla.modeling import PERCEIVED, CompactVla
from safevla_ros.policy.vla.processor import input_shapes
from safevla_ros.training.online.agent import Acted, Agent
from safevla_ros.training.online.losses import Evaluation

REFERENCE = "reference_log_probs"
CRITICS = ("model.reward_critic.", "model.cost_critics.")


class VlaAgent(Agent):
    """Tokens are drawn at `temperature`, in training as on the robot. `reference`: a policy whose
    distance counts (KL), or None. The state is the model's, then the reference's.

    `freeze_perception`: what cameras and words give stays as it was, is computed once a step and is
    the reference's too. SafeVLA's image encoders are frozen as well."""

    recurrent = True

    def __init__(
        self,
        model: CompactVla,
        temperature: float = 1.0,
        reference: CompactVla | None = None,
        freeze_perception: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self._frozen = freeze_perception
        if freeze_perception:
            for part in model.perception():
                part.requires_grad_(False)
        self._temperature = temperature
        # In a list, so that its weights are no parameters of this module.
        self._reference = [reference.eval().requires_grad_(False)] if reference else []
        self._width = model.configuration.memory_width
        self._keys = list(input_shapes(model.configuration.features))

    def initial_state(self, environments: int) -> Tensor:
        """See Agent."""
        models = [self.model, *self._reference]
        return torch.cat([model.initial_state(environments) for model in models], dim=-1)

    @torch.no_grad()
    def act(
        self, observation: Mapping[str, Tensor], first: Tensor, state: Tensor, generator: Generator
    ) -> Acted:
        """See Agent."""
        device = next(self.model.parameters()).device
        inputs = {key: array.unsqueeze(1).to(device) for key, array in observation.items()}
        inputs["first"] = first.unsqueeze(1).to(device)
        states = state.to(device).split(self._width, dim=-1)
        next_states, notes = [], {}
        if self._frozen:
            inputs[PERCEIVED], _ = self.model.perceive(inputs)
            notes[PERCEIVED] = inputs[PERCEIVED][:, 0].cpu()
        output = self.model(inputs, states[0])
        log_probs = self._log_probs(output.logits)[:, 0].cpu()
        token = torch.multinomial(log_probs.exp(), 1, generator=generator)[:, 0]
        next_states.append(output.state)
        for reference, before in zip(self._reference, states[1:], strict=True):
            # `forward`, not `act`: it forgets where an episode begins.
            known = reference(inputs, before)
            next_states.append(known.state)
            notes[REFERENCE] = self._log_probs(known.logits)[:, 0].cpu()
        return Acted(
            action=token,
            log_prob=log_probs.gather(-1, token.unsqueeze(-1))[:, 0],
            values=_values(output.reward_value, output.cost_values)[:, 0].cpu(),
            state=torch.cat(next_states, dim=-1).cpu(),
            notes=notes,
        )

    def evaluate(
        self, observation: Mapping[str, Tensor], first: Tensor, state: Tensor, action: Tensor
    ) -> Evaluation:
        """See Agent."""
        keys = [*self._keys, PERCEIVED] if self._frozen else self._keys
        inputs = {key: observation[key] for key in keys} | {"first": first}
        output = self.model(inputs, state[:, : self._width])
        log_probs = self._log_probs(output.logits)
        probs = log_probs.exp()
        entropy = -(probs * log_probs).sum(-1)
        away = torch.zeros_like(entropy)
        if REFERENCE in observation:
            away = (probs * (log_probs - observation[REFERENCE])).sum(-1)
        return Evaluation(
            log_prob=log_probs.gather(-1, action.unsqueeze(-1))[..., 0],
            entropy=entropy,
            reference_kl=away,
            values=_values(output.reward_value, output.cost_values),
        )

    def is_critic(self, parameter: str) -> bool:
        """See Agent."""
        return parameter.startswith(CRITICS)

    def _log_probs(self, logits: Tensor) -> Tensor:
        return functional.log_softmax(logits.float() / self._temperature, dim=-1)


def _values(reward: Tensor, costs: Tensor) -> Tensor:
    """(B, T, 1 + K)."""
    return torch.cat([reward.unsqueeze(-1), costs], dim=-1).float()
