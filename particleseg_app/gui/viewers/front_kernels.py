"""Compiled search for the ellipsoids that others do not hide. Importing this loads numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from particleseg_app.gui.viewers.front_ellipsoids import HIDDEN, SHOWN

BLOCK = 4  # cells across the blocks that are looked at first
MARGIN = 0.5  # cells by which an ellipsoid covers less, and needs more, than its outline


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp"})
def front_ellipsoids(
    order: np.ndarray,
    centres: np.ndarray,
    forms: np.ndarray,
    reaches: np.ndarray,
    states: np.ndarray,
    clip: np.ndarray,
    to_picture: np.ndarray,
    right: np.ndarray,
    up: np.ndarray,
    largest: float,
    depths: np.ndarray,
    found: np.ndarray,
) -> int:
    """Which ellipsoids are not wholly behind others; their number, and their rows in `found`.

    `order` (n,) uint32 are the rows, about from the front to the back: the better the order, the
    fewer are found that could be left away. In this order come `centres` (n, 3) and `forms`
    (n, 6), float32, as in `Ellipsoids`, and `reaches` (n,) float32, the most that each reaches
    from its middle; `states` (n,) uint8 comes as the rows do: hidden ones are passed over, ones
    drawn otherwise hide others but are not found. What has a·x + b·y + c·z + d < 0 with `clip`
    (4,) is cut away. `to_picture` (4, 4), applied to a row (x, y, z, 1), gives OpenGL's clip
    coordinates; `right` and `up` (3,) are the screen's. What reaches further than `largest` cells
    from its middle hides nothing, because OpenGL need not draw such points whole. `depths`
    (lines, columns) float32, the cells of the picture, is written over: the clip coordinate w of
    the nearest ellipsoid that covers a cell. An ellipsoid whose middle is outside the picture
    counts as not drawn, because that is what OpenGL does with a point.
    """
    m = to_picture
    depths[:] = np.inf
    lines, columns = depths.shape
    # Of each block: cells that nothing covers yet, and a depth that none of the others exceeds.
    down, beside = (lines + BLOCK - 1) // BLOCK, (columns + BLOCK - 1) // BLOCK
    bare = np.empty((down, beside), np.int32)
    deepest = np.zeros((down, beside), np.float32)
    for j in range(down):
        for i in range(beside):
            high = min(BLOCK, lines - j * BLOCK)
            bare[j, i] = high * min(BLOCK, columns - i * BLOCK)
    half_columns, half_lines = np.float32(columns / 2), np.float32(lines / 2)
    r0, r1, r2 = right[0], right[1], right[2]
    u0, u1, u2 = up[0], up[1], up[2]
    across = (r0 * m[0, 0] + r1 * m[1, 0] + r2 * m[2, 0]) * half_columns
    along = (u0 * m[0, 1] + u1 * m[1, 1] + u2 * m[2, 1]) * half_lines
    margin = np.float32(MARGIN)
    count = 0
    for at in range(order.size):
        row = order[at]
        state = states[row]
        if state == HIDDEN:
            continue
        x, y, z = centres[at, 0], centres[at, 1], centres[at, 2]
        w = x * m[0, 3] + y * m[1, 3] + z * m[2, 3] + m[3, 3]
        column = x * m[0, 0] + y * m[1, 0] + z * m[2, 0] + m[3, 0]
        line = x * m[0, 1] + y * m[1, 1] + z * m[2, 1] + m[3, 1]
        deep = x * m[0, 2] + y * m[1, 2] + z * m[2, 2] + m[3, 2]
        if abs(column) > w or abs(line) > w or abs(deep) > w:
            continue
        if clip[0] * x + clip[1] * y + clip[2] * z + clip[3] < 0:
            continue
        one = np.float32(1.0)
        column, line = (one + column / w) * half_columns, (one - line / w) * half_lines
        wide, high = across / w, along / w
        if state == SHOWN:
            # Most are behind others, and a ball round each is enough to tell.
            reach_x, reach_y = abs(wide) * reaches[at] + margin, abs(high) * reaches[at] + margin
            first_c, last_c = max(int(column - reach_x), 0), min(int(column + reach_x), columns - 1)
            first_l, last_l = max(int(line - reach_y), 0), min(int(line + reach_y), lines - 1)
            in_doubt = False
            for j in range(first_l // BLOCK, last_l // BLOCK + 1):
                for i in range(first_c // BLOCK, last_c // BLOCK + 1):
                    in_doubt |= bare[j, i] > 0 or deepest[j, i] > w
            if not in_doubt:
                continue
        a, b, c = forms[at, 0], forms[at, 1], forms[at, 2]
        d, e, f = forms[at, 3], forms[at, 4], forms[at, 5]
        # The form in the screen's directions, in cells.
        s0, s1, s2 = a * r0 + b * r1 + c * r2, b * r0 + d * r1 + e * r2, c * r0 + e * r1 + f * r2
        t0, t1, t2 = a * u0 + b * u1 + c * u2, b * u0 + d * u1 + e * u2, c * u0 + e * u1 + f * u2
        xx = (r0 * s0 + r1 * s1 + r2 * s2) * wide * wide
        xy = -(u0 * s0 + u1 * s1 + u2 * s2) * wide * high  # lines of a picture go down
        yy = (u0 * t0 + u1 * t1 + u2 * t2) * high * high
        mean, half = (xx + yy) / 2, (xx - yy) / 2
        narrow = np.sqrt(max(mean - np.sqrt(half * half + xy * xy), np.float32(1e-6)))
        outer = ((narrow + margin) / narrow) ** 2
        reach_x, reach_y = np.sqrt(xx * outer), np.sqrt(yy * outer)
        first_c, last_c = max(int(column - reach_x), 0), min(int(column + reach_x), columns - 1)
        first_l, last_l = max(int(line - reach_y), 0), min(int(line + reach_y), lines - 1)
        size = max(xx * yy - xy * xy, np.float32(1e-9))
        qa, qb, qc = yy / size, -2 * xy / size, xx / size
        if state == SHOWN:
            seen = False
            for j in range(first_l, last_l + 1):
                v = np.float32(j) + np.float32(0.5) - line
                for i in range(first_c, last_c + 1):
                    if depths[j, i] > w:
                        u = np.float32(i) + np.float32(0.5) - column
                        if u * (qa * u + qb * v) + qc * v * v < outer:
                            seen = True
                            break
                if seen:
                    break
            if not seen:
                continue
            found[count] = row
            count += 1
            back = w
        else:
            back = w + np.sqrt(a + d + f)  # where its surface, which is drawn instead, has ended
        if narrow <= margin or max(xx, yy) > largest * largest:
            continue
        inner = ((narrow - margin) / narrow) ** 2
        for j in range(first_l, last_l + 1):
            v = np.float32(j) + np.float32(0.5) - line
            for i in range(first_c, last_c + 1):
                u = np.float32(i) + np.float32(0.5) - column
                before = depths[j, i]
                if before > back and u * (qa * u + qb * v) + qc * v * v < inner:
                    depths[j, i] = back
                    if before == np.inf:
                        bare[j // BLOCK, i // BLOCK] -= 1
                        deepest[j // BLOCK, i // BLOCK] = max(deepest[j // BLOCK, i // BLOCK], back)
    return count
