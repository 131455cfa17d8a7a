"""When a term or a zone applies: by task, target object and whether something is carried."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

from safevla_ros.safety.state import WorldState

Text = Annotated[str, Strict(), Field(min_length=1)]


class When(BaseModel):
    """All that is set must hold. `tasks` and `targets` (classes of instructed objects): one of them
    is the running episode's; `carrying`: the gripper holds something, or does not. What cannot be
    known is taken to hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[Text, ...] = ()
    targets: tuple[Text, ...] = ()
    carrying: Annotated[bool, Strict()] | None = None

    def fails(self, world: WorldState) -> str:
        """Why it does not apply in this state; empty: it does."""
        task = world.task
        if self.tasks and task.task and task.task not in self.tasks:
            return f"only in task {', '.join(self.tasks)}"
        if self.targets and task.target_class and task.target_class not in self.targets:
            return f"only with {', '.join(self.targets)}"
        if self.carrying is not None and world.carrying not in (None, self.carrying):
            return "only while something is carried" if self.carrying else "only with empty hand"
        return ""
