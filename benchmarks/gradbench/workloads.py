"""The inputs of the evals by size, made from one seed: GradBench's default sizes, and small ones for tests.

>>> sorted(make("llsq", {"n": 16}))
['n', 'x']
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

Size = dict[str, int]


def _grid(**values: list[int]) -> list[Size]:
    return [dict(zip(values, row, strict=True)) for row in product(*values.values())]


OBSERVED = [
    (49, 7776, 31843), (21, 11315, 36455), (161, 48126, 182072), (372, 47423, 204472), (257, 65132, 225911),
    (539, 65220, 277273), (93, 61203, 287451), (88, 64298, 383937), (810, 88814, 393775), (1197, 126327, 563734),
    (1723, 156502, 678718), (253, 163691, 899155), (245, 198739, 1091386), (356, 226730, 1255268),
]  # fmt: skip

DEFAULT: dict[str, list[Size]] = {
    "hello": [{}],
    "ba": [dict(zip("nmp", row, strict=True)) for row in OBSERVED],
    "det": _grid(ell=[5, 6, 7, 8, 9, 10, 11]),
    "gmm": _grid(d=[2, 10, 20, 32, 64], k=[5, 10, 25, 50, 100], n=[1000]),
    "ht": _grid(
        vertices=[544, 10_000], simple=[0, 1],
        c=[100, 192, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 100_000],
    ),
    "kmeans": _grid(k=[10, 100, 1000], n=[1000, 10_000], d=[8, 16]),
    "llsq": _grid(n=[16, 128, 512, 1024, 4096, 16_392]),
    "lse": _grid(n=[2500, 5000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000]),
    "lstm": _grid(l=[2, 4, 6], c=[1024, 4096, 8192]),
    "ode": _grid(n=[1000, 10_000, 100_000], s=[1, 10, 100]),
    "particle": [{}],
    "saddle": [{}],
}  # fmt: skip
"""GradBench's sizes; those of ht's workloads between are left out as the others say enough."""

MEASURED: dict[str, list[Size]] = {
    "hello": [{}],
    "ba": [DEFAULT["ba"][k] for k in (0, 5, 13)],
    "det": _grid(ell=[5, 8, 10]),
    "gmm": [{"d": d, "k": k, "n": 1000} for d, k in ((2, 5), (10, 25), (32, 50), (64, 100))],
    "ht": _grid(vertices=[10_000], simple=[0], c=[100, 800, 12_800]),
    "kmeans": [{"k": k, "n": n, "d": d} for k, n, d in ((10, 1000, 8), (100, 10_000, 8), (1000, 10_000, 16))],
    "llsq": _grid(n=[16, 512, 16_392]),
    "lse": _grid(n=[2500, 80_000, 1_280_000]),
    "lstm": [{"l": l, "c": c} for l, c in ((2, 1024), (4, 4096), (6, 8192))],  # noqa: E741  # its name
    "ode": [{"n": n, "s": s} for n, s in ((1000, 10), (10_000, 10), (100_000, 100))],
    "particle": [{}],
    "saddle": [{}],
}
"""Of each eval the sizes for which times of hand-written C++ are known."""

SMALL: dict[str, list[Size]] = {
    "hello": [{}],
    "ba": [{"n": 2, "m": 3, "p": 16}],
    "det": _grid(ell=[2, 5]),
    "gmm": [{"d": 3, "k": 4, "n": 20}],
    "ht": _grid(vertices=[30], simple=[0, 1], c=[5]),
    "kmeans": [{"k": 4, "n": 40, "d": 3}],
    "llsq": _grid(n=[16]),
    "lse": _grid(n=[50]),
    "lstm": [{"l": 2, "c": 6}],
    "ode": [{"n": 5, "s": 3}],
    "particle": [{}],
    "saddle": [{}],
}


def label(size: Size) -> str:
    return " ".join(f"{name}{value}" for name, value in size.items())


def make(name: str, size: Size) -> Any:
    """Return the input of an eval as its JSON has it, without the numbers of runs and seconds."""
    return globals()[f"_{name}"](np.random.default_rng(31337), **size)


def _hello(rng: Any) -> float:
    return 1.0


def _ba(rng: Any, n: int, m: int, p: int) -> Any:
    camera = np.concatenate([rng.normal(size=3), 20 * rng.normal(size=3), [400.0, 5.9, -8.5, 0.08, 0.003]])
    point, feature = 3 * rng.normal(size=3), 300 * rng.normal(size=2)
    return {"n": n, "m": m, "p": p, "cam": camera.tolist(), "x": point.tolist(), "w": 0.417, "feat": feature.tolist()}


def _det(rng: Any, ell: int) -> Any:
    return {"A": rng.random(ell * ell).tolist(), "ell": ell}


def _gmm(rng: Any, d: int, k: int, n: int) -> Any:
    shapes = {"alpha": k, "mu": (k, d), "q": (k, d), "l": (k, d * (d - 1) // 2), "x": (n, d)}
    arrays = {name: rng.normal(size=shape).tolist() for name, shape in shapes.items()}
    return {"d": d, "k": k, "n": n, "m": 0, "gamma": 1.0, **arrays}


def _ht(rng: Any, vertices: int, simple: int, c: int) -> Any:
    """A hand of random bones: a wrist, a forearm and five fingers of four each."""
    parents = [-1] + [k - 1 if k % 4 else 0 for k in range(20)] + [0]
    frames = np.tile(np.eye(4), (2, 22, 1, 1))
    frames[:, :, :3] += 0.3 * rng.normal(size=(2, 22, 3, 4))
    base = np.concatenate([rng.normal(size=(vertices, 3)), np.ones((vertices, 1))], axis=1)
    weights = rng.random((vertices, 22)) * (rng.random((vertices, 22)) < 0.2)
    triangles = rng.integers(0, vertices, size=(2 * vertices, 3))
    model = {
        "bone_count": 22, "bone_names": [f"bone{k}" for k in range(22)], "parents": parents,
        "base_relatives": frames[0].tolist(), "inverse_base_absolutes": frames[1].tolist(),
        "base_positions": base.tolist(), "weights": weights.tolist(), "triangles": triangles.tolist(),
        "is_mirrored": False,
    }  # fmt: skip
    data = {
        "model": model,
        "correspondences": rng.integers(0, vertices if simple else 2 * vertices, size=c).tolist(),
        "points": rng.normal(size=(c, 3)).tolist(),
    }
    us = [] if simple else rng.random((c, 2)).tolist()
    return {"theta": (0.3 * rng.normal(size=26)).tolist(), "data": data, "us": us}


def _kmeans(rng: Any, k: int, n: int, d: int) -> Any:
    points = rng.random((n, d)).tolist()
    return {"points": points, "centroids": points[-k:]}


def _llsq(rng: Any, n: int) -> Any:
    return {"x": rng.random(128).tolist(), "n": n}


def _lse(rng: Any, n: int) -> Any:
    return {"x": rng.normal(size=n).tolist()}


def _lstm(rng: Any, l: int, c: int) -> Any:  # noqa: E741  # its name
    shapes = {"main_params": (2 * l, 56), "extra_params": (3, 14), "state": (2 * l, 14)}
    sequence = (rng.random((c, 14)) < 0.5).astype(float)
    return {**{name: rng.random(shape).tolist() for name, shape in shapes.items()}, "sequence": sequence.tolist()}


def _ode(rng: Any, n: int, s: int) -> Any:
    return {"x": rng.random(n).tolist(), "s": s}


def _particle(rng: Any) -> Any:
    return {"w": 0.0}


def _saddle(rng: Any) -> Any:
    return {"start": [1.0, 1.0]}
