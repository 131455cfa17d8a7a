"""The services by which the policies of an inference node are changed while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.task import Future
from std_srvs.srv import Trigger

from safevla_ros.nodes import topics
from safevla_ros.nodes.inference.policies import Policies
from safevla_ros.nodes.lifecycle import GraphNode
from safevla_ros.policy.interface import Policy
from safevla_ros.srv import LoadPolicy


class PolicyServices:
    """load_policy, shadow_policy and roll_back_policy. `find` loads a policy by name or folder and
    may raise anything: the caller is told."""

    def __init__(self, node: GraphNode, policies: Policies, find: Callable[[str], Policy]) -> None:
        self._node = node
        self._policies = policies
        self._find = find
        self._loading = False
        self._services = [
            node.create_service(LoadPolicy, topics.LOAD_POLICY, self._on_load),
            node.create_service(LoadPolicy, topics.SHADOW_POLICY, self._on_shadow),
            node.create_service(Trigger, topics.ROLL_BACK_POLICY, self._on_roll_back),
        ]

    def destroy(self) -> None:
        """Offer them no longer."""
        for service in self._services:
            self._node.destroy_service(service)

    async def _on_load(
        self, request: LoadPolicy.Request, response: LoadPolicy.Response
    ) -> LoadPolicy.Response:
        """Use another policy from the next episode on."""
        return await self._load(request.policy, self._policies.replace, "in use", response)

    async def _on_shadow(
        self, request: LoadPolicy.Request, response: LoadPolicy.Response
    ) -> LoadPolicy.Response:
        """Run a policy beside the present one from the next episode on."""
        if not request.policy:
            self._policies.compare(None)
            response.success, response.message = True, "none runs beside the present one"
            return response
        return await self._load(request.policy, self._policies.compare, "compared", response)

    async def _load(
        self,
        name: str,
        use: Callable[[Policy], None],
        words: str,
        response: LoadPolicy.Response,
    ) -> LoadPolicy.Response:
        """Load off the executor: a running episode must not wait for it. `use` may refuse it with a
        PolicyError."""
        if self._loading:
            response.message = "another policy is being loaded"
            return response
        self._loading = True
        loaded: Future = Future(executor=self._node.executor)

        def load() -> None:
            try:
                loaded.set_result(self._find(name))
            except Exception as error:  # a file may fail in any way; the caller is told
                loaded.set_result(error)

        threading.Thread(target=load, name="load", daemon=True).start()
        result = await loaded
        self._loading = False
        try:
            if isinstance(result, Exception):
                raise result
            use(result)
        except Exception as error:
            response.message = str(error)
            self._node.get_logger().error(f"policy not loaded: {error}")
            return response
        response.success = True
        response.policy_id = result.description.id
        response.sha256 = result.description.sha256
        response.message = f"{words} from the next episode on"
        self._node.get_logger().info(f"policy {response.policy_id} is {response.message}")
        return response

    def _on_roll_back(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Back to the policy before the last replacement; asked again, to the replacement."""
        if not self._policies.roll_back():
            response.message = "no other policy was in use before"
            return response
        response.success = True
        response.message = (
            f"{self._policies.present.description.id} is in use from the next episode on"
        )
        self._node.get_logger().warning(f"rolled back: {response.message}")
        return response
