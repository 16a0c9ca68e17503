"""What can befall a metasurface cavity for good: warmth, and a post that stands elsewhere."""

from dataclasses import replace

import numpy as np

from labctl_simulators.physics.air import Air
from labctl_simulators.physics.enclosure import CLEARANCE_M, Wires, joined
from labctl_simulators.physics.metasurface import Layout

ALUMINIUM_PER_K = 23.6e-6
"""Linear thermal expansion of aluminium alloy 6061-T6 between 20 and 100 °C (ASM, *Metals Handbook*, volume 2)."""

N_DIRECTIONS = 72


def warmed(layout: Layout, before: Air, temperature_c: float) -> Layout:
    """Return a layout that was described in air `before` as it is at another temperature.

    A box of aluminium expands by 1 + α ΔT with everything in it, and waves slow down with the index of its air. Modes
    go as 1 / (n (1 + α ΔT)): -78 kHz per kelvin at 3.3 GHz, of which the thinner air gives 4 kHz back. The circuits of
    the elements and the losses stay: they depend on the board and on the filling, of which nothing is known.
    """
    expansion = 1.0 + ALUMINIUM_PER_K * (temperature_c - before.temperature_c)
    index = before.brought_to(temperature_c).refractive_index / before.refractive_index
    return replace(layout, expansion=expansion, plates=replace(layout.plates, index=index))


def displaced(layout: Layout, distance_m: float) -> Layout:
    """Return a layout whose first post stands `distance_m` away from where it stood.

    It goes along the box, or in the next direction, counter-clockwise, in which there is room for it. Raises
    `ValueError` when there is none, or no post.
    """
    if not len(layout.posts):
        raise ValueError("no post stands in the box that could be moved")
    angles = 2.0 * np.pi * np.arange(N_DIRECTIONS) / N_DIRECTIONS
    places_m = layout.posts.points_m[0] + distance_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rest = joined(
        layout.antennas, layout.elements, Wires(layout.posts.points_m[1:], layout.posts.radius_m[1:])
    ).points_m
    apart_m = np.linalg.norm(places_m[:, None, :] - rest[None, :, :], axis=2)
    inside = ((places_m >= CLEARANCE_M) & (places_m <= np.array(layout.size_m) - CLEARANCE_M)).all(axis=1)
    free = np.flatnonzero(inside & (apart_m >= CLEARANCE_M).all(axis=1))
    if not free.size:
        raise ValueError(f"the first post has no room {distance_m:g} m from where it stands; move it less far")
    points_m = np.concatenate([places_m[free[:1]], layout.posts.points_m[1:]])
    return replace(layout, posts=Wires(points_m, layout.posts.radius_m))
