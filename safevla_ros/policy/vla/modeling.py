"""The compact VLA: a network that reads two cameras, an instruction and the body, and remembers.

    instruction -> words -> context -> query
    camera k    -> convolutions -> cells -> where the query is met (grounding)
                                              `-> scaled and shifted by the context (FiLM) -> features
    body        -> proprioception, odometry, object in hand, previous action (+ budget)
    all         -> fused -> GRU over the episode -> [fused, memory] -> actor, auxiliary heads, critics

Cells are what the camera sees in each square of CELL_PX pixels, whatever is asked for; a query is
what is asked for, whatever is seen. That their product is large where they meet can be taught with
any name and any picture, so words get their meaning sooner than from actions alone. The memory's
state has a fixed size, so a step costs the same however long the episode is. FiLM: Perez et al.,
arXiv 1709.07871.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from safevla_ros.policy.features import BudgetTerm
from safevla_ros.policy.vla.configuration import CELL_PX, VlaConfiguration
from safevla_ros.policy.vla.processor import image_key
from safevla_ros.policy.vla.text import FIRST_WORD, PADDING

PERCEIVED = "perceived"
"""Input that stands for images and instruction: what `CompactVla.perceive` made of them."""
GREY = 127.5
"""What pixels are counted from."""
LEAK = 0.1
"""Slope of the cameras' units below zero."""
QUERIES = 2
"""Places of an instruction that are attended to: what is asked for, and of what."""
RARE = -3.0
"""Logit at which grounding begins: hardly any cell shows what is asked for."""


class Output(NamedTuple):
    """What a forward pass gives; B episodes side by side, T steps of each.

    `logits` (B, T, actions). `auxiliary`: `visible` (B, T) logit that the target is in view;
    `place` (B, T, 3) sine and cosine of its bearing from the base and the logarithm of its distance
    [m]; `free_ahead` (B, T, sectors) in the unit that training chose. `cells` by camera
    (B, T, query_width, G, G), G = image_size / CELL_PX: see `CompactVla.grounding`. `reward_value`
    (B, T), `cost_values` (B, T, cost terms). `state` (B, memory_width) after the last step.
    """

    logits: Tensor
    auxiliary: dict[str, Tensor]
    cells: dict[str, Tensor]
    reward_value: Tensor
    cost_values: Tensor
    state: Tensor


class CompactVla(nn.Module):
    """See the module's docstring."""

    def __init__(self, configuration: VlaConfiguration) -> None:
        super().__init__()
        c = self.configuration = configuration
        self.instruction = InstructionEncoder(c)
        self.query = nn.Linear(c.instruction_width, c.query_width)
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
        # As images come; a CPU convolves them 1.3 times as fast.
        self.to(memory_format=torch.channels_last)

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
        trunk, state, cells = self._run(inputs, state)
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
            cells=cells,
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
        trunk, state, _ = self._run(inputs, state)
        return trunk, state

    def queries(self, instructions: Tensor) -> Tensor:
        """(N, query_width) what the instructions (N, length) ask for."""
        return self.query(self.instruction(instructions))

    def grounding(self, cells: Tensor, queries: Tensor) -> Tensor:
        """Logits (B, T, C, G, G) that cells (B, T, query_width, G, G) show what queries
        (C, query_width) ask for."""
        return torch.einsum("btdhw,cd->btchw", cells, queries) / queries.shape[-1] ** 0.5 + RARE

    def perceive(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What cameras and words give, whatever was done before: features
        (B, T, cameras * image_width + instruction_width), and cells by camera (see Output). Given
        back as `inputs[PERCEIVED]`, the features are not computed again."""
        steps = inputs["previous_token"].shape
        context = self.instruction(inputs["instruction"].flatten(0, 1))
        query = self.query(context)
        parts, cells = [], {}
        for name, encoder in self.cameras.items():
            features, seen = encoder(inputs[image_key(name)].flatten(0, 1), context, query)
            parts.append(features)
            cells[name] = seen.unflatten(0, steps)
        return torch.cat([*parts, context], dim=-1).unflatten(0, steps), cells

    def perception(self) -> list[nn.Module]:
        """The parts that `perceive` runs."""
        return [self.instruction, self.query, self.cameras]

    def _run(
        self, inputs: Mapping[str, Tensor], state: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Trunk, next state, and cells by camera (see Output)."""
        perceived, cells = (inputs[PERCEIVED], {}) if PERCEIVED in inputs else self.perceive(inputs)
        body = self.body(inputs["proprioception"])
        fused = self.fuse(
            torch.cat([perceived, body, self.previous(inputs["previous_token"])], dim=-1)
        )
        if self.configuration.budget_terms:
            fused = fused + self.budget(inputs["budget"])
        fused = functional.relu(self.norm(fused))
        remembered, state = self.memory(fused, state, inputs.get("first"))
        return torch.cat([fused, remembered], dim=-1), state, cells

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
    """Images (N, size, size, 3) uint8, contexts and queries to features (N, image_width) and cells
    (N, query_width, G, G).

    Three convolutions, of stride 4, 2 and 2. Cells are read off the second, which knows nothing of
    the instruction. Then what is asked for decides what is looked at, by FiLM and by where it was
    found.
    """

    def __init__(self, c: VlaConfiguration) -> None:
        super().__init__()
        first, second, last = c.channels
        self.patches = nn.Conv2d(3, first, 6, stride=4, padding=1)
        self.see = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.cells = nn.Conv2d(second, c.query_width, 1)
        self.modulation = nn.Linear(c.instruction_width, 2 * second)
        nn.init.normal_(self.modulation.weight, std=0.1)
        nn.init.zeros_(self.modulation.bias)
        self.look = nn.Conv2d(second + 1, last, 3, stride=2, padding=1)
        cells = (c.image_size // CELL_PX) ** 2
        self.out = nn.Linear(last * (c.image_size // (2 * CELL_PX)) ** 2 + cells, c.image_width)
        # He et al., arXiv 1502.01852: what is seen weighs as much as what the body reads. Without
        # it, and with units that can die, most channels did, and the policy was blind.
        for layer in (self.patches, self.see, self.look, self.out):
            nn.init.kaiming_normal_(layer.weight, LEAK)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, context: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Features and cells."""
        x, cells = self.seen(images)
        met = (cells * query[:, :, None, None]).sum(1, keepdim=True)
        found = torch.sigmoid(met / query.shape[-1] ** 0.5 + RARE)
        scale, shift = self.modulation(context)[:, :, None, None].chunk(2, dim=1)
        x = self.look(torch.cat([x * (1.0 + scale) + shift, found], dim=1))
        x = torch.cat([functional.leaky_relu(x, LEAK).flatten(1), found.flatten(1)], dim=1)
        return functional.leaky_relu(self.out(x), LEAK), cells

    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen whatever is asked for: (N, channels, G, G) of images, and the cells."""
        x = images.permute(0, 3, 1, 2).to(self.out.weight.dtype) - GREY
        # To about -2..2 by the weights, which are fewer than the pixels.
        patches = self.patches
        x = functional.conv2d(
            x, patches.weight / 64.0, patches.bias, patches.stride, patches.padding
        )
        x = functional.leaky_relu(self.see(functional.leaky_relu(x, LEAK)), LEAK)
        return x, self.cells(x)


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
