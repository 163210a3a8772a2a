"""The place of ``autograd.misc.fixed_points``: the limit of an iteration, with the derivative of the limit.

>>> from wengert.compat.autograd import grad
>>> def newton_root(a):
...     step = lambda a: lambda x: 0.5 * (x + a / x)
...     return fixed_point(step, a, 1.0, lambda x, y: abs(x - y), 1e-12)
>>> round(float(grad(newton_root)(4.0)), 9)
0.25
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert import api, trees
from wengert.compat.autograd.extend import defvjp, primitive

__all__ = ["fixed_point"]


@primitive
def fixed_point(f: Callable[..., Any], a: Any, x0: Any, distance: Callable[..., Any], tol: float) -> Any:
    """Repeat ``x = f(a)(x)`` from `x0` until two steps are within `tol`; the derivative is that of the limit in `a`."""
    step = f(a)
    x, before = step(x0), x0
    while distance(x, before) > tol:
        x, before = step(x), x
    return x


def _adjoint(y: Any, f: Callable[..., Any], a: Any, x0: Any, distance: Callable[..., Any], tol: float) -> Any:
    def step_back(point: Any) -> Any:
        a, y, y_bar = point
        pull = api.vjp(f(a), y)[1]
        return lambda w: trees.map_leaves(lambda part, own: part + own, pull(w)[0], y_bar)

    def pull(g: Any) -> Any:
        start = trees.map_leaves(lambda leaf: 0 * leaf, g)
        w = fixed_point(step_back, (a, y, g), start, distance, tol)
        return api.vjp(lambda a: f(a)(y), a)[1](w)[0]

    return pull


defvjp(fixed_point, None, _adjoint, None)
