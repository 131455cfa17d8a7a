"""Compiled kernels of the ray camera: what each pixel sees, and how bright it is.

A geom is one of five primitives in its own frame; `half` is half of its bounding box. Camera frames
are optical (x right, y down, z forward) and depth is along z.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

PLANE, SPHERE, CAPSULE, CYLINDER, BOX = 0, 2, 3, 5, 6
"""Values of mujoco.mjtGeom that the camera knows."""

PLAIN, PLANKS, TILES, GRAIN, WEAVE, STRIPES, GLOW = range(7)
FINISHES = {
    "plain": PLAIN,
    "planks": PLANKS,
    "tiles": TILES,
    "grain": GRAIN,
    "weave": WEAVE,
    "stripes": STRIPES,
    "glow": GLOW,
}

NEAR = 0.02
"""Nothing nearer to the camera than this is drawn [m]."""

_fast = njit(cache=True, nogil=True, fastmath={"nsz", "arcp", "contract", "reassoc"})


@_fast
def _hit_box(o, d, s):
    near, far = -1e30, 1e30
    for k in range(3):
        if abs(d[k]) < 1e-12:
            if abs(o[k]) > s[k]:
                return -1.0
            continue
        inv = 1.0 / d[k]
        a, b = (-s[k] - o[k]) * inv, (s[k] - o[k]) * inv
        if a > b:
            a, b = b, a
        near, far = max(near, a), min(far, b)
    return near if near <= far else -1.0


@_fast
def _hit_ball(ox, oy, oz, d, radius):
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = ox * d[0] + oy * d[1] + oz * d[2]
    c = ox * ox + oy * oy + oz * oz - radius * radius
    disc = b * b - a * c
    return (-b - math.sqrt(disc)) / a if disc >= 0.0 else -1.0


@_fast
def _hit_tube(o, d, radius, half):
    """Side of an upright cylinder."""
    a = d[0] * d[0] + d[1] * d[1]
    if a < 1e-14:
        return -1.0
    b = o[0] * d[0] + o[1] * d[1]
    disc = b * b - a * (o[0] * o[0] + o[1] * o[1] - radius * radius)
    if disc < 0.0:
        return -1.0
    t = (-b - math.sqrt(disc)) / a
    return t if abs(o[2] + t * d[2]) <= half else -1.0


@_fast
def _hit_cylinder(o, d, radius, half):
    best = _hit_tube(o, d, radius, half)
    if abs(d[2]) > 1e-12:
        t = (math.copysign(half, -d[2]) - o[2]) / d[2]  # the cap that faces the camera
        x, y = o[0] + t * d[0], o[1] + t * d[1]
        if x * x + y * y <= radius * radius and (best < NEAR or t < best):
            best = t
    return best


@_fast
def _hit_capsule(o, d, radius, half):
    best = _hit_tube(o, d, radius, half)
    for end in (-half, half):
        t = _hit_ball(o[0], o[1], o[2] - end, d, radius)
        if t > NEAR and (best < NEAR or t < best):
            best = t
    return best


@_fast
def _hit(kind, o, d, size):
    if kind == BOX:
        return _hit_box(o, d, size)
    if kind == CYLINDER:
        return _hit_cylinder(o, d, size[0], size[1])
    if kind == SPHERE:
        return _hit_ball(o[0], o[1], o[2], d, size[0])
    if kind == CAPSULE:
        return _hit_capsule(o, d, size[0], size[1])
    if d[2] < -1e-12:
        return -o[2] / d[2]
    return -1.0


@_fast
def _screen_rectangle(offset, axes, half, fx, fy, cx, cy, width, height, out):
    """Pixels that a bounding box may cover, as out = (u0, v0, u1, v1); returns its least depth.

    `axes` (3, 3): camera from geom axes. Edges that cross the near plane are cut there.
    """
    points = np.empty((8, 3))
    nearest, farthest = 1e30, -1e30
    for corner in range(8):
        sx = half[0] if corner & 1 else -half[0]
        sy = half[1] if corner & 2 else -half[1]
        sz = half[2] if corner & 4 else -half[2]
        for k in range(3):
            points[corner, k] = offset[k] + axes[k, 0] * sx + axes[k, 1] * sy + axes[k, 2] * sz
        nearest = min(nearest, points[corner, 2])
        farthest = max(farthest, points[corner, 2])
    u0, v0, u1, v1 = 1e30, 1e30, -1e30, -1e30
    if farthest > NEAR:
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
    out[0] = int(max(0.0, min(math.floor(u0 - 0.5), float(width))))
    out[1] = int(max(0.0, min(math.floor(v0 - 0.5), float(height))))
    out[2] = int(max(0.0, min(math.ceil(u1 + 0.5), float(width))))
    out[3] = int(max(0.0, min(math.ceil(v1 + 0.5), float(height))))
    return nearest


@_fast
def trace(kinds, sizes, halves, positions, matrices, geoms, eye, camera, focal, depth, seen):
    """Fill depth (H, W) float32 and seen (H, W) int32 with the nearest of the geoms listed.

    `positions` (n, 3), `matrices` (n, 9): poses of all geoms in the world; `eye` (3,), `camera`
    (3, 3): the optical frame; `focal` (fx, fy, cx, cy) in pixels.
    """
    height, width = depth.shape
    fx, fy, cx, cy = focal
    depth[:] = np.inf
    seen[:] = -1
    rect = np.empty(4, np.int64)
    o, d = np.empty(3), np.empty(3)
    axes, offset = np.empty((3, 3)), np.empty(3)
    for g in geoms:
        m = matrices[g].reshape(3, 3)
        for i in range(3):
            offset[i] = 0.0
            o[i] = 0.0
            for j in range(3):
                offset[i] += camera[j, i] * (positions[g, j] - eye[j])
                o[i] += m[j, i] * (eye[j] - positions[g, j])
                axes[i, j] = 0.0
                for k in range(3):
                    axes[i, j] += camera[k, i] * m[k, j]
        if kinds[g] == PLANE:
            rect[0], rect[1], rect[2], rect[3] = 0, 0, width, height
            least = NEAR
        else:
            least = _screen_rectangle(
                offset, axes, halves[g], fx, fy, cx, cy, width, height, rect
            )
        kind, size = kinds[g], sizes[g]
        for v in range(rect[1], rect[3]):
            y = (v + 0.5 - cy) / fy
            for u in range(rect[0], rect[2]):
                if depth[v, u] < least:
                    continue
                x = (u + 0.5 - cx) / fx
                for k in range(3):
                    d[k] = axes[0, k] * x + axes[1, k] * y + axes[2, k]
                t = _hit(kind, o, d, size)
                if NEAR < t < depth[v, u]:
                    depth[v, u] = t
                    seen[v, u] = g


@_fast
def _normal(kind, size, p, n):
    """Outward normal `n` of a primitive at point `p` of its surface, in its own frame."""
    n[0], n[1], n[2] = 0.0, 0.0, 0.0
    if kind == BOX:
        best, axis = -1.0, 0
        for k in range(3):
            closeness = abs(p[k]) - size[k]
            if k == 0 or closeness > best:
                best, axis = closeness, k
        n[axis] = math.copysign(1.0, p[axis])
    elif kind == PLANE:
        n[2] = 1.0
    elif kind == CYLINDER and abs(p[2]) >= size[1] - 1e-5:
        n[2] = math.copysign(1.0, p[2])
    else:
        z = p[2]
        if kind == CYLINDER:
            z = 0.0
        elif kind == CAPSULE:
            z = p[2] - min(max(p[2], -size[1]), size[1])
        length = math.sqrt(p[0] * p[0] + p[1] * p[1] + z * z) + 1e-12
        n[0], n[1], n[2] = p[0] / length, p[1] / length, z / length


@_fast
def _hash(a, b):
    """A number in [0, 1) that looks random."""
    value = math.sin(a * 12.9898 + b * 78.233) * 43758.5453
    return value - math.floor(value)


@_fast
def _pattern(finish, p, w, n, blur):
    """Brightness factor of a finish at local point p, world point w, local normal n. `blur`: width
    of a pixel there [m]: patterns finer than that fade."""
    if finish == PLANKS:
        row = math.floor(w[1] / 0.13)
        along = w[0] / 1.1 + _hash(row, 3.0)
        shade = 0.90 + 0.16 * _hash(row, math.floor(along))
        edge = min(w[1] / 0.13 - row, along - math.floor(along))
        seam = 0.72 if edge < 0.03 else 1.0
        fade = 1.0 / (1.0 + (blur / 0.02) ** 2)
        grain = 1.0 + 0.03 * math.sin(w[1] * 210.0 + 3.0 * math.sin(w[0] * 9.0)) * fade
        return shade * (1.0 + (seam - 1.0) * fade) * grain
    if finish == TILES:
        a, b = w[0] / 0.33, w[1] / 0.33
        if abs(n[2]) < 0.5:
            a, b = (p[0] + p[1]) / 0.16, p[2] / 0.16
        ia, ib = math.floor(a), math.floor(b)
        fade = 1.0 / (1.0 + (blur / 0.03) ** 2)
        if min(a - ia, b - ib) < 0.035:
            return 1.0 - 0.22 * fade
        return 0.97 + 0.06 * _hash(ia, ib)
    if finish == GRAIN:
        fade = 1.0 / (1.0 + (blur / 0.008) ** 2)
        wave = math.sin(70.0 * p[0] + 70.0 * p[2] + 2.5 * math.sin(5.0 * p[1]))
        return 1.0 + 0.06 * wave * fade
    if finish == WEAVE:
        fade = 1.0 / (1.0 + (blur / 0.008) ** 2)
        a = math.floor(p[0] / 0.02) + math.floor(p[1] / 0.02) + math.floor(p[2] / 0.02)
        return 1.0 + (0.06 if a % 2.0 == 0.0 else -0.06) * fade
    if finish == STRIPES:
        return 1.55 if math.sin(p[2] * 110.0 + 1.0) > 0.35 else 0.85
    return 1.0


@_fast
def shade(
    kinds, sizes, positions, matrices, colors, finishes, eye, camera, focal, light, tint,
    floor_shade, floor_scale, blobs, depth, seen, rgb,
):  # fmt: skip
    """Fill rgb (H, W, 3) uint8 from what `trace` found.

    `light`: direction (3), intensity, ambient. `floor_shade` (nx, ny): how open the floor is to
    light, with `floor_scale` = (x0, y0, 1 / cell). `blobs` (k, 4): x, y, z, radius of things that
    darken the level surface they stand on.
    """
    height, width = depth.shape
    fx, fy, cx, cy = focal
    p, n, w, ray = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    nx, ny = floor_shade.shape
    for v in range(height):
        for u in range(width):
            g = seen[v, u]
            if g < 0:
                for k in range(3):
                    rgb[v, u, k] = 225
                continue
            t = depth[v, u]
            x, y = (u + 0.5 - cx) / fx, (v + 0.5 - cy) / fy
            m = matrices[g].reshape(3, 3)
            for k in range(3):
                ray[k] = camera[k, 0] * x + camera[k, 1] * y + camera[k, 2]
                w[k] = eye[k] + t * ray[k]
            for k in range(3):
                p[k] = 0.0
                for j in range(3):
                    p[k] += m[j, k] * (w[j] - positions[g, j])
            finish = finishes[g]
            brightness = 1.0
            pattern = 1.0
            _normal(kinds[g], sizes[g], p, n)
            if finish != GLOW:
                wz = m[2, 0] * n[0] + m[2, 1] * n[1] + m[2, 2] * n[2]
                facing, view = 0.0, 0.0
                for k in range(3):
                    world = m[k, 0] * n[0] + m[k, 1] * n[1] + m[k, 2] * n[2]
                    facing += world * light[k]
                    view -= world * ray[k]
                view /= math.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
                brightness = light[4] * (0.86 + 0.14 * wz) + light[3] * max(facing, 0.0)
                brightness += 0.10 * view
                if w[2] < 0.02 and wz > 0.9:
                    a = (w[0] - floor_scale[0]) * floor_scale[2] - 0.5
                    b = (w[1] - floor_scale[1]) * floor_scale[2] - 0.5
                    ia = min(max(int(a), 0), nx - 2)
                    ib = min(max(int(b), 0), ny - 2)
                    fa, fb = min(max(a - ia, 0.0), 1.0), min(max(b - ib, 0.0), 1.0)
                    brightness *= (1.0 - fa) * (
                        (1.0 - fb) * floor_shade[ia, ib] + fb * floor_shade[ia, ib + 1]
                    ) + fa * (
                        (1.0 - fb) * floor_shade[ia + 1, ib] + fb * floor_shade[ia + 1, ib + 1]
                    )
                elif wz < 0.5:
                    brightness *= 1.0 - 0.28 * math.exp(-w[2] / 0.12)
                if wz > 0.9:
                    for i in range(blobs.shape[0]):
                        if abs(w[2] - blobs[i, 2]) < 0.03:
                            away = (w[0] - blobs[i, 0]) ** 2 + (w[1] - blobs[i, 1]) ** 2
                            reach = 2.6 * blobs[i, 3] * blobs[i, 3]
                            if away < reach:
                                brightness *= 1.0 - 0.5 * (1.0 - away / reach)
                pattern = _pattern(finish, p, w, n, t / fx / max(view, 0.1))
            for k in range(3):
                value = colors[g, k] * tint[k] * brightness * pattern
                rgb[v, u, k] = int(255.0 * min(max(value, 0.0), 1.0))
