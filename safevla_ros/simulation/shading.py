"""Compiled kernels that colour what the rays found: simple light, and patterns of materials.

Lambert shading from one far light, light from all around, a soft shade on the floor beside
furniture, a dark spot under small things. Nothing casts hard shadows.
"""

from __future__ import annotations

import math

from safevla_ros.simulation.rays import CAPSULE, CYLINDER, ROUND, kernel

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


@kernel
def _hash(a, b):
    """A number in [0, 1) that looks random."""
    value = math.sin(a * 12.9898 + b * 78.233) * 43758.5453
    return value - math.floor(value)


@kernel
def _planks(x, y, blur):
    row = math.floor(y / 0.13)
    along = x / 1.1 + 0.37 * (row % 7)
    edge = min(y / 0.13 - row, (along - math.floor(along)) * 8.0)
    fade = 1.0 / (1.0 + (blur / 0.02) ** 2)
    seam = 1.0 - 0.28 * fade if edge < 0.03 else 1.0
    return (0.90 + 0.16 * _hash(row, math.floor(along))) * seam


@kernel
def _tiles(a, b, blur):
    fade = 1.0 / (1.0 + (blur / 0.03) ** 2)
    ia, ib = math.floor(a), math.floor(b)
    return 1.0 - 0.22 * fade if min(a - ia, b - ib) < 0.035 else 1.0


@kernel
def _pattern(finish, upright, px, py, pz, wx, wy, blur):
    """Brightness factor of a finish at a point, local (p) and in the world (w). `blur`: width of a
    pixel there [m]; patterns finer than that fade."""
    if finish == PLANKS:
        return _planks(wx, wy, blur)
    if finish == TILES:
        return (
            _tiles((px + py) / 0.16, pz / 0.16, blur)
            if upright
            else _tiles(wx / 0.33, wy / 0.33, blur)
        )
    fade = 1.0 / (1.0 + (blur / 0.008) ** 2)
    if finish == GRAIN:
        wave = 70.0 * px + 70.0 * pz + 2.5 * math.sin(5.0 * py)
        return 1.0 + 0.06 * math.sin(wave) * fade
    if finish == WEAVE:
        checks = math.floor(px / 0.02) + math.floor(py / 0.02) + math.floor(pz / 0.02)
        return 1.0 + (0.06 if checks % 2.0 == 0.0 else -0.06) * fade
    return 1.55 if math.sin(pz * 110.0 + 1.0) > 0.35 else 0.85


@kernel
def _floor_light(table, scale, x, y):
    """The floor's shade at a point, between the cells of `table` (nx, ny)."""
    a, b = (x - scale[0]) * scale[2] - 0.5, (y - scale[1]) * scale[2] - 0.5
    ia = min(max(int(a), 0), table.shape[0] - 2)
    ib = min(max(int(b), 0), table.shape[1] - 2)
    fa, fb = min(max(a - ia, 0.0), 1.0), min(max(b - ib, 0.0), 1.0)
    low = (1.0 - fb) * table[ia, ib] + fb * table[ia, ib + 1]
    high = (1.0 - fb) * table[ia + 1, ib] + fb * table[ia + 1, ib + 1]
    return (1.0 - fa) * low + fa * high


@kernel
def shade(
    kinds, sizes, positions, matrices, colors, finishes, eye, camera, focal, light, floor_shade,
    floor_scale, blobs, inverse, seen, faces, rgb,
):  # fmt: skip
    """Fill rgb (H, W, 3) uint8 from what `trace` found.

    `colors` (n, 3) in 0..255. `light`: direction (3), intensity, ambient. `floor_shade` (nx, ny):
    how open the floor is to light, with `floor_scale` = (x0, y0, 1 / cell). `blobs` (k, 4): x, y,
    z, radius of things that darken the level surface they stand on.
    """
    height, width = inverse.shape
    fx, fy, cx, cy = focal
    for v in range(height):
        y = (v + 0.5 - cy) / fy
        for u in range(width):
            g = seen[v, u]
            if g < 0:
                rgb[v, u, 0], rgb[v, u, 1], rgb[v, u, 2] = 225, 228, 232
                continue
            finish = finishes[g]
            if finish == GLOW:
                rgb[v, u, 0] = int(min(colors[g, 0], 255.0))
                rgb[v, u, 1] = int(min(colors[g, 1], 255.0))
                rgb[v, u, 2] = int(min(colors[g, 2], 255.0))
                continue
            t = 1.0 / inverse[v, u]
            x = (u + 0.5 - cx) / fx
            rx = camera[0, 0] * x + camera[0, 1] * y + camera[0, 2]
            ry = camera[1, 0] * x + camera[1, 1] * y + camera[1, 2]
            rz = camera[2, 0] * x + camera[2, 1] * y + camera[2, 2]
            wx, wy, wz = eye[0] + t * rx, eye[1] + t * ry, eye[2] + t * rz
            px, py, pz = 0.0, 0.0, 0.0
            face = faces[v, u]
            if finish != PLAIN or face == ROUND:
                ox, oy, oz = wx - positions[g, 0], wy - positions[g, 1], wz - positions[g, 2]
                px = matrices[g, 0] * ox + matrices[g, 3] * oy + matrices[g, 6] * oz
                py = matrices[g, 1] * ox + matrices[g, 4] * oy + matrices[g, 7] * oz
                pz = matrices[g, 2] * ox + matrices[g, 5] * oy + matrices[g, 8] * oz
            if face != ROUND:
                axis = face // 2
                sign = 1.0 if face % 2 else -1.0
                nx, ny = sign * matrices[g, axis], sign * matrices[g, 3 + axis]
                nz = sign * matrices[g, 6 + axis]
            else:
                kind = kinds[g]
                lx, ly, lz = px, py, pz
                if kind == CYLINDER:
                    lz = 0.0
                    if abs(pz) >= sizes[g, 1] - 1e-5:
                        lx, ly, lz = 0.0, 0.0, pz
                elif kind == CAPSULE:
                    lz = pz - min(max(pz, -sizes[g, 1]), sizes[g, 1])
                scale = 1.0 / (math.sqrt(lx * lx + ly * ly + lz * lz) + 1e-12)
                lx, ly, lz = lx * scale, ly * scale, lz * scale
                nx = matrices[g, 0] * lx + matrices[g, 1] * ly + matrices[g, 2] * lz
                ny = matrices[g, 3] * lx + matrices[g, 4] * ly + matrices[g, 5] * lz
                nz = matrices[g, 6] * lx + matrices[g, 7] * ly + matrices[g, 8] * lz
            view = -(nx * rx + ny * ry + nz * rz) / math.sqrt(x * x + y * y + 1.0)
            facing = max(nx * light[0] + ny * light[1] + nz * light[2], 0.0)
            value = light[4] * (0.86 + 0.14 * nz) + light[3] * facing + 0.10 * view
            if nz > 0.9:
                if wz < 0.02:
                    value *= _floor_light(floor_shade, floor_scale, wx, wy)
                for i in range(blobs.shape[0]):
                    if abs(wz - blobs[i, 2]) < 0.03:
                        away = (wx - blobs[i, 0]) ** 2 + (wy - blobs[i, 1]) ** 2
                        reach = 2.6 * blobs[i, 3] * blobs[i, 3]
                        if away < reach:
                            value *= 1.0 - 0.5 * (1.0 - away / reach)
            elif wz < 0.5:
                value *= 1.0 - 0.28 * math.exp(-wz / 0.12)
            if finish != PLAIN:
                blur = t / (fx * max(view, 0.1))
                value *= _pattern(finish, abs(nz) < 0.5, px, py, pz, wx, wy, blur)
            rgb[v, u, 0] = int(min(colors[g, 0] * value, 255.0))
            rgb[v, u, 1] = int(min(colors[g, 1] * value, 255.0))
            rgb[v, u, 2] = int(min(colors[g, 2] * value, 255.0))
