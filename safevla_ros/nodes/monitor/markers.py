"""What the safety nodes see, for RViz and Foxglove: zones, link hulls and the last decision."""

from __future__ import annotations

from collections.abc import Iterator

from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from safevla_ros.robot import messages
from safevla_ros.safety.decisions import Decision, Verdict
from safevla_ros.safety.specification import Specification
from safevla_ros.safety.world import WorldState

GREEN, ORANGE, RED = (0.2, 0.8, 0.3), (1.0, 0.6, 0.1), (0.9, 0.2, 0.2)
COLOURS = {Decision.PASS: GREEN, Decision.SHADOW: GREEN, Decision.LIMIT: ORANGE}
TEXT_HEIGHT_M = 1.6


def safety_markers(
    world: WorldState, specification: Specification, verdict: Verdict | None, radius_m: float
) -> MarkerArray:
    """All markers of one moment; `radius_m` is the footprint's."""
    return MarkerArray(
        markers=[
            *_zones(specification),
            *_links(world),
            *_decision(world, verdict, radius_m),
        ]
    )


def _marker(namespace: str, index: int, kind: int, frame: str, rgb: tuple) -> Marker:
    marker = Marker(ns=namespace, id=index, type=kind, action=Marker.ADD)
    marker.header.frame_id = frame
    marker.pose.orientation.w = 1.0
    red, green, blue = rgb
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=0.8)
    return marker


def _zones(specification: Specification) -> Iterator[Marker]:
    for index, zone in enumerate(specification.zones):
        outline = _marker("zones", index, Marker.LINE_STRIP, zone.frame, RED)
        outline.scale.x = 0.03
        outline.points = [
            Point(x=float(x), y=float(y), z=0.02) for x, y in (*zone.polygon, zone.polygon[0])
        ]
        yield outline


def _links(world: WorldState) -> Iterator[Marker]:
    """One line per hull, as wide as it is."""
    for index, link in enumerate(world.links or ()):
        hull = _marker("links", index, Marker.LINE_STRIP, world.frame, (0.5, 0.6, 0.8))
        hull.color.a = 0.4
        hull.scale.x = 2.0 * link.radius
        hull.points = [
            Point(x=float(x), y=float(y), z=float(z)) for x, y, z in (link.start, link.end)
        ]
        messages.set_stamp(hull.header.stamp, world.stamp_ns)
        yield hull


def _decision(world: WorldState, verdict: Verdict | None, radius_m: float) -> Iterator[Marker]:
    if world.base is None or verdict is None:
        return
    x, y, _ = world.base.position
    rgb = COLOURS.get(verdict.decision, RED)
    footprint = _marker("footprint", 0, Marker.CYLINDER, world.frame, rgb)
    footprint.scale.x = footprint.scale.y = 2.0 * radius_m
    footprint.scale.z = 0.02
    footprint.color.a = 0.5
    text = _marker("decision", 0, Marker.TEXT_VIEW_FACING, world.frame, rgb)
    text.scale.z = 0.12
    text.text = f"{verdict.decision.name}\n{verdict.detail}"
    text.pose.position.z = TEXT_HEIGHT_M
    for marker in (footprint, text):
        marker.pose.position.x, marker.pose.position.y = float(x), float(y)
        messages.set_stamp(marker.header.stamp, world.stamp_ns)
        yield marker
