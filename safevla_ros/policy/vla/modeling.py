"""The compact VLA: a network that reads two cameras, an instruction and the body, and remembers.

    instruction -> words -> context ------------ modulates ----.
    camera k    -> strided convolutions, each layer scaled and shifted by the context (FiLM)
    body        -> proprioception, odometry, object in hand, previous action (+ budget)
    all         -> fused -> GRU over the episode -> [fused, memory] -> actor, auxiliary heads, critics

The memory's state has a fixed size, so a step costs the same however long the episode is. FiLM:
Perez et al., arXiv 1709.07871.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from safevla_ros.policy.features import BudgetTerm
from safevla_ros.policy.vla.configuration import VlaConfiguration
from safevla_ros.policy.vla.processor import image_key
from safevla_ros.policy.vla.text import FIRST_WORD, PADDING

GREY = 127.5
"""What pixels are counted from."""
LEAK = 0.1
"""Slope of the cameras' units below zero."""
QUERIES = 2
"""Places of an instruction that are attended to: what is asked for, and of what."""


class Output(NamedTuple):
    """What a forward pass gives; B episodes side by side, T steps of each.

    `logits` (B, T, actions). `auxiliary`: `visible` (B, T) logit that the target is in view;
    `place` (B, T, 3) sine and cosine of its bearing from the base and the logarithm of its distance
    [m]; `free_ahead` (B, T, sectors) in the unit that training chose. `reward_value` (B, T),
    `cost_values` (B, T, cost terms). `state` (B, memory_width) after the last step.
    """

    logits: Tensor
    auxiliary: dict[str, Tensor]
    reward_value: Tensor
    cost_values: Tensor
    state: Tensor


class CompactVla(nn.Module):
    """See the module's docstring."""

    def __init__(self, configuration: VlaConfiguration) -> None:
        super().__init__()
        c = self.configuration = configuration
        self.instruction = InstructionEncoder(c)
        self.cameras = nn.ModuleDict({name: CameraEncoder(c) for name in c.cameras})
        self.previous = nn.Embedding(len(c.actions) + 1, c.body_width)
        self.body = nn.Sequential(nn.Linear(len(c.proprioception), c.body_width), nn.ReLU())
        parts = len(c.cameras) * c.image_width + c.instruction_width + 2 * c.body_width
        self.fuse = nn.Linear(parts, c.memory_width)
        if c.budget_terms:
            # Zero: a policy that is given this input later acts as before until it is trained.
            self.budget = nn.Linear(2 * len(c.budget_terms), c.memory_width, bias=False)
            nn.init.zeros_(self.budget.weight)
        self.norm = nn.LayerNorm(c.memory_width)
        self.memory = Memory(c.memory_width)
        trunk = 2 * c.memory_width
        self.actor = head(trunk, c.memory_width, len(c.actions))
        nn.init.normal_(self.actor[-1].weight, std=0.01)  # an untrained policy is near uniform
        self.visible = head(trunk, 64, 1)
        self.place = head(trunk, 64, 3)
        self.free_ahead = head(trunk, 64, c.free_ahead)
        self.reward_critic = head(trunk, 128, 1)
        self.cost_critics = head(trunk, 128, len(c.cost_terms)) if c.cost_terms else None

    def initial_state(self, episodes: int) -> Tensor:
        """(episodes, memory_width): nothing is remembered."""
        return self.fuse.weight.new_zeros(episodes, self.configuration.memory_width)

    def forward(
        self, inputs: Mapping[str, Tensor], state: Tensor, *, train_critic_trunk: bool = False
    ) -> Output:
        """Run T steps of B episodes.

        `inputs`: the arrays of processor.py with (B, T) in front, and `first` (B, T) bool, true
        where an episode begins, which forgets what was remembered (absent: nowhere). `state`
        (B, memory_width) is that before the first step. Critics read the trunk; only with
        `train_critic_trunk` do their losses also shape it.
        """
        trunk, state = self.encode(inputs, state)
        for_critics = trunk if train_critic_trunk else trunk.detach()
        costs = (
            self.cost_critics(for_critics)
            if self.cost_critics is not None
            else trunk.new_zeros(*trunk.shape[:2], 0)
        )
        return Output(
            logits=self.actor(trunk),
            auxiliary={
                "visible": self.visible(trunk).squeeze(-1),
                "place": self.place(trunk),
                "free_ahead": self.free_ahead(trunk),
            },
            reward_value=self.reward_critic(for_critics).squeeze(-1),
            cost_values=costs,
            state=state,
        )

    def act(self, inputs: Mapping[str, Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, actions) and the next state: what a robot needs of `forward`."""
        trunk, state = self.encode(inputs, state)
        return self.actor(trunk), state

    def encode(self, inputs: Mapping[str, Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk (B, T, 2 memory_width) that all heads read, and the next state."""
        steps = inputs["previous_token"].shape
        flat = {key: value.flatten(0, 1) for key, value in inputs.items()}
        context = self.instruction(flat["instruction"])
        parts = [encoder(flat[image_key(name)], context) for name, encoder in self.cameras.items()]
        parts += [
            context,
            self.body(flat["proprioception"]),
            self.previous(flat["previous_token"]),
        ]
        fused = self.fuse(torch.cat(parts, dim=-1))
        if self.configuration.budget_terms:
            fused = fused + self.budget(flat["budget"])
        fused = functional.relu(self.norm(fused)).unflatten(0, steps)
        remembered, state = self.memory(fused, state, inputs.get("first"))
        return torch.cat([fused, remembered], dim=-1), state

    def policy_loss(
        self, inputs: Mapping[str, Tensor], state: Tensor, actions: Tensor, mask: Tensor
    ) -> Tensor:
        """(B, T) cross-entropy of `actions` (B, T), one a step and not reduced, so that learning
        from bags can weight each; 0 where `mask` (B, T) is false."""
        logits, _ = self.act(inputs, state)
        return token_loss(logits, actions, mask)


def extended(
    model: CompactVla, budget_terms: Sequence[BudgetTerm], cost_terms: Sequence[str]
) -> CompactVla:
    """A copy of a trained model that is told these budgets and has a critic for each of these costs.

    It acts as the model does: a new budget input begins at zero. Critics are kept where the cost
    terms stay the same, and begin anew otherwise.
    """
    changed = model.configuration.model_copy(
        update={"budget_terms": tuple(budget_terms), "cost_terms": tuple(cost_terms)}
    )
    copy = CompactVla(changed)
    kept = dict(model.state_dict())
    if changed.cost_terms != model.configuration.cost_terms:
        kept = {name: value for name, value in kept.items() if not name.startswith("cost_critics.")}
    if changed.budget_terms != model.configuration.budget_terms:
        kept.pop("budget.weight", None)
    copy.load_state_dict(kept, strict=False)
    return copy.train(model.training)


def token_loss(logits: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """(B, T) cross-entropy of `actions` (B, T) under `logits` (B, T, actions), 0 where masked."""
    loss = functional.cross_entropy(logits.flatten(0, 1), actions.flatten(), reduction="none")
    return loss.view_as(actions) * mask


class InstructionEncoder(nn.Module):
    """Instructions (N, length) to contexts (N, instruction_width): words with their neighbours,
    attended to by QUERIES learned queries."""

    def __init__(self, c: VlaConfiguration) -> None:
        super().__init__()
        self.words = nn.Embedding(FIRST_WORD + len(c.vocabulary), c.word_width, PADDING)
        self.neighbours = nn.Conv1d(c.word_width, c.word_width, 3, padding=1)
        self.attention = nn.Linear(c.word_width, QUERIES)
        self.out = nn.Linear(QUERIES * c.word_width, c.instruction_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, instruction_width) of tokens (N, length)."""
        words = self.words(tokens)
        mixed = self.neighbours(words.transpose(1, 2)).transpose(1, 2)
        words = words + functional.leaky_relu(mixed, LEAK)
        scores = self.attention(words).masked_fill((tokens == PADDING).unsqueeze(-1), -1e4)
        weights = torch.softmax(scores, dim=1)
        read = torch.einsum("nlq,nlw->nqw", weights, words).flatten(1)
        return functional.leaky_relu(self.out(read), LEAK)


class CameraEncoder(nn.Module):
    """Images (N, size, size, 3) uint8 and contexts to features (N, image_width).

    Four convolutions of stride 2. The last three are scaled and shifted by the context (FiLM), so
    that what is asked for decides what is looked for.
    """

    def __init__(self, c: VlaConfiguration) -> None:
        super().__init__()
        widths = [3, *c.channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 5 if i == 0 else 3, stride=2, padding=2 if i == 0 else 1)
            for i, (before, after) in enumerate(pairwise(widths))
        )
        self.modulated = c.channels[1:]
        self.modulation = nn.Linear(c.instruction_width, 2 * sum(self.modulated))
        nn.init.normal_(self.modulation.weight, std=0.1)
        nn.init.zeros_(self.modulation.bias)
        self.out = nn.Linear(c.channels[-1] * (c.image_size // 16) ** 2, c.image_width)
        # He et al., arXiv 1502.01852: what is seen weighs as much as what the body reads. Without
        # it, and with units that can die, most channels did, and the policy was blind.
        for layer in (*self.convolutions, self.out):
            nn.init.kaiming_normal_(layer.weight, LEAK)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, context: Tensor) -> Tensor:
        """(N, image_width)."""
        x = images.permute(0, 3, 1, 2).to(self.out.weight.dtype) - GREY
        scales, shifts = self.modulation(context)[:, :, None, None].chunk(2, dim=1)
        first, *others = self.convolutions
        # To about -2..2 by the weights, which are fewer than the pixels.
        x = functional.conv2d(x, first.weight / 64.0, first.bias, first.stride, first.padding)
        x = functional.leaky_relu(x, LEAK)
        for convolution, scale, shift in zip(
            others,
            scales.split(self.modulated, dim=1),
            shifts.split(self.modulated, dim=1),
            strict=True,
        ):
            x = functional.leaky_relu(convolution(x) * (1.0 + scale) + shift, LEAK)
        return functional.leaky_relu(self.out(x.flatten(1)), LEAK)


class Memory(nn.Module):
    """A GRU over steps that forgets where an episode begins (Cho et al., arXiv 1406.1078)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(width, width)

    def forward(self, x: Tensor, state: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, T, width) remembered at each step, and the state (B, width) after the last.

        Always in the precision of the weights: what is added up over hundreds of steps would be
        lost in bfloat16.
        """
        with torch.autocast(x.device.type, enabled=False):
            remembered = []
            for step in range(x.shape[1]):
                if first is not None:
                    state = state * (~first[:, step]).to(state.dtype).unsqueeze(-1)
                state = self.cell(x[:, step].to(state.dtype), state)
                remembered.append(state)
            return torch.stack(remembered, dim=1), state


def head(width: int, hidden: int, out: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))
