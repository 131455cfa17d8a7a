"""Compiled kernels of the ray camera: which geom each pixel shows, and how far away it is.

A geom is a primitive in its own frame; `half` is half of its bounding box. Camera frames are
optical (x right, y down, z forward); depth is along z, and kept as its inverse, which is linear
over a flat face: box faces are filled line by line, round shapes are hit ray by ray within the
screen rectangle of their bounding box. Scalars rather than small arrays, since that is what makes
these loops fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

SPHERE, CAPSULE, CYLINDER, BOX = 2, 3, 5, 6
"""Values of mujoco.mjtGeom that the camera knows."""

NEAR = 0.02
"""Nothing nearer to the camera than this is drawn [m]."""

ROUND = 6
"""Face number of surfaces that are not one of a box's six."""


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of this camera. The result is kept on disk; where no folder can be
    written (a read-only installation without a home), it is compiled at every start."""
    try:
        return njit(cache=True, nogil=True, fastmath=True)(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=True)(function)


@kernel
def _hit_ball(ox, oy, oz, dx, dy, dz, radius):
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    disc = b * b - a * (ox * ox + oy * oy + oz * oz - radius * radius)
    return (-b - math.sqrt(disc)) / a if disc >= 0.0 else -1.0


@kernel
def _hit_tube(ox, oy, oz, dx, dy, dz, radius, half):
    """Side of an upright cylinder."""
    a = dx * dx + dy * dy
    if a < 1e-14:
        return -1.0
    b = ox * dx + oy * dy
    disc = b * b - a * (ox * ox + oy * oy - radius * radius)
    if disc < 0.0:
        return -1.0
    t = (-b - math.sqrt(disc)) / a
    return t if abs(oz + t * dz) <= half else -1.0


@kernel
def _hit_round(kind, ox, oy, oz, dx, dy, dz, radius, half):
    """Distance along a ray to a sphere, cylinder or capsule; below NEAR: none."""
    if kind == SPHERE:
        return _hit_ball(ox, oy, oz, dx, dy, dz, radius)
    best = _hit_tube(ox, oy, oz, dx, dy, dz, radius, half)
    if kind == CAPSULE:
        for end in (-half, half):
            t = _hit_ball(ox, oy, oz - end, dx, dy, dz, radius)
            if t > NEAR and (best < NEAR or t < best):
                best = t
    elif abs(dz) > 1e-12:
        t = ((half if dz < 0.0 else -half) - oz) / dz  # the cap that faces the camera
        x, y = ox + t * dx, oy + t * dy
        if x * x + y * y <= radius * radius and (best < NEAR or t < best):
            best = t
    return best


@kernel
def _project_box(offset, axes, half, focal, points):
    """Corners of a bounding box in the camera's frame; returns the pixels (u0, v0, u1, v1) that
    they span, cut at the near plane."""
    fx, fy, cx, cy = focal
    for corner in range(8):
        sx = half[0] if corner & 1 else -half[0]
        sy = half[1] if corner & 2 else -half[1]
        sz = half[2] if corner & 4 else -half[2]
        for k in range(3):
            points[corner, k] = offset[k] + axes[k, 0] * sx + axes[k, 1] * sy + axes[k, 2] * sz
    u0, v0, u1, v1 = 1e9, 1e9, -1e9, -1e9
    for corner in range(8):
        z = points[corner, 2]
        if z >= NEAR:
            u, v = fx * points[corner, 0] / z + cx, fy * points[corner, 1] / z + cy
            u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
            continue
        for bit in (1, 2, 4):
            other = corner ^ bit
            if points[other, 2] > NEAR:
                f = (NEAR - z) / (points[other, 2] - z)
                x = points[corner, 0] + f * (points[other, 0] - points[corner, 0])
                y = points[corner, 1] + f * (points[other, 1] - points[corner, 1])
                u, v = fx * x / NEAR + cx, fy * y / NEAR + cy
                u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
    return u0, v0, u1, v1


@kernel
def _fill_face(g, face, points, eye, half, axes, focal, inverse, seen, faces, outline):
    """Fill one face of a box that the camera sees; `eye` is the camera in the box's frame."""
    height, width = inverse.shape
    fx, fy, cx, cy = focal
    axis, sign = face // 2, 1.0 if face % 2 else -1.0
    above = sign * eye[axis] - half[axis]
    if above <= 0.0:
        return
    # Four corners in order around the face, cut at the near plane, on the screen.
    bit, one, two = 1 << axis, 1 << ((axis + 1) % 3), 1 << ((axis + 2) % 3)
    first = bit if sign > 0 else 0
    corners = (first, first | one, first | one | two, first | two)
    count = 0
    low, high = 1e9, -1e9
    for i in range(4):
        a, b = corners[i], corners[(i + 1) % 4]
        az, bz = points[a, 2], points[b, 2]
        if az >= NEAR:
            outline[count, 0] = fx * points[a, 0] / az + cx
            outline[count, 1] = fy * points[a, 1] / az + cy
            count += 1
        if (az >= NEAR) != (bz >= NEAR):
            f = (NEAR - az) / (bz - az)
            x = points[a, 0] + f * (points[b, 0] - points[a, 0])
            y = points[a, 1] + f * (points[b, 1] - points[a, 1])
            outline[count, 0], outline[count, 1] = fx * x / NEAR + cx, fy * y / NEAR + cy
            count += 1
    for i in range(count):
        low, high = min(low, outline[i, 1]), max(high, outline[i, 1])
    # Inverse depth over the face: (n . ray) / -(distance of the camera above it).
    nx, ny, nz = sign * axes[0, axis], sign * axes[1, axis], sign * axes[2, axis]
    slope_u, slope_v = -nx / (fx * above), -ny / (fy * above)
    constant = -nz / above - slope_u * (cx - 0.5) - slope_v * (cy - 0.5)
    for v in range(max(0, math.ceil(low - 0.5)), min(height, math.floor(high - 0.5) + 1)):
        line = v + 0.5
        left, right = 1e9, -1e9
        for i in range(count):
            j = (i + 1) % count
            va, vb = outline[i, 1], outline[j, 1]
            if (va <= line) != (vb <= line):
                u = outline[i, 0] + (line - va) / (vb - va) * (outline[j, 0] - outline[i, 0])
                left, right = min(left, u), max(right, u)
        if right < left or right < 0.0 or left > width:
            continue
        start = max(0, math.ceil(left - 0.5))
        end = min(width, math.floor(right - 0.5) + 1)
        base = constant + slope_v * v
        for u in range(start, end):
            value = base + slope_u * u
            if value > inverse[v, u]:
                inverse[v, u] = value
                seen[v, u] = g
                faces[v, u] = face


@kernel
def trace(
    kinds, sizes, halves, positions, matrices, geoms, eye, camera, focal, inverse, seen, faces
):  # fmt: skip
    """Fill `inverse` depth (H, W) float32 (0: nothing), `seen` (H, W) int32 geom ids (-1: nothing)
    and `faces` (H, W) uint8 with the nearest of the geoms listed.

    `positions` (n, 3), `matrices` (n, 9): poses of all geoms in the world; `eye` (3,), `camera`
    (3, 3): the optical frame; `focal` (fx, fy, cx, cy) in pixels. Planes are not drawn.
    """
    height, width = inverse.shape
    fx, fy, cx, cy = focal
    inverse[:] = 0.0
    seen[:] = -1
    points, outline = np.empty((8, 3)), np.empty((8, 2))
    axes, offset, own = np.empty((3, 3)), np.empty(3), np.empty(3)
    for g in geoms:
        kind = kinds[g]
        for i in range(3):
            offset[i], own[i] = 0.0, 0.0
            for j in range(3):
                offset[i] += camera[j, i] * (positions[g, j] - eye[j])
                own[i] += matrices[g, 3 * j + i] * (eye[j] - positions[g, j])
                axes[i, j] = 0.0
                for k in range(3):
                    axes[i, j] += camera[k, i] * matrices[g, 3 * k + j]
        u0, v0, u1, v1 = _project_box(offset, axes, halves[g], focal, points)
        if u1 < 0.0 or v1 < 0.0 or u0 > width or v0 > height:
            continue
        if kind == BOX:
            for face in range(6):
                _fill_face(
                    g, face, points, own, halves[g], axes, focal, inverse, seen, faces, outline
                )
            continue
        radius, half = sizes[g, 0], sizes[g, 1]
        start_u, end_u = max(0, int(u0 - 0.5)), min(width, int(u1 + 1.5))
        for v in range(max(0, int(v0 - 0.5)), min(height, int(v1 + 1.5))):
            y = (v + 0.5 - cy) / fy
            for u in range(start_u, end_u):
                x = (u + 0.5 - cx) / fx
                t = _hit_round(
                    kind,
                    own[0], own[1], own[2],
                    axes[0, 0] * x + axes[1, 0] * y + axes[2, 0],
                    axes[0, 1] * x + axes[1, 1] * y + axes[2, 1],
                    axes[0, 2] * x + axes[1, 2] * y + axes[2, 2],
                    radius, half,
                )  # fmt: skip
                if t > NEAR and t * inverse[v, u] < 1.0:
                    inverse[v, u] = 1.0 / t
                    seen[v, u] = g
                    faces[v, u] = ROUND
