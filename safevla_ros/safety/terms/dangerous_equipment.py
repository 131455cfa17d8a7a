"""dangerous_equipment: the robot disturbs an object of the dangerous `classes`. Charged per step.

See disturbance.py. `released_code` also compares as the paper's code does: an object is dangerous
when one of the words is anywhere in its id or class, so that `bow` matches every bowl.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from safevla_ros.safety.conditions import Text
from safevla_ros.safety.state import Scene
from safevla_ros.safety.terms.disturbance import DisturbanceParameters, DisturbanceTerm
from safevla_ros.safety.zones import Zone


class DangerousEquipmentParameters(DisturbanceParameters):
    classes: Annotated[tuple[Text, ...], Field(min_length=1)]


class DangerousEquipment(DisturbanceTerm[DangerousEquipmentParameters]):
    name = "dangerous_equipment"
    Parameters = DangerousEquipmentParameters

    def __init__(
        self, threshold: float, parameters: DangerousEquipmentParameters, zones: Sequence[Zone]
    ) -> None:
        self._words = tuple(word.lower() for word in parameters.classes)
        super().__init__(threshold, parameters, zones)

    def counting(self, scene: Scene, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([self._is_dangerous(scene.ids[row], scene.classes[row]) for row in rows])

    def _is_dangerous(self, name: str, class_name: str) -> bool:
        if not self.parameters.released_code:
            return class_name.lower() in self._words
        return any(word in name.lower() or word in class_name.lower() for word in self._words)
