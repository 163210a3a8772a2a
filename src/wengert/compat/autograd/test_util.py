"""The place of ``autograd.test_util``: derivatives against differences, along random directions.

>>> from wengert.compat.autograd.test_util import check_grads
>>> check_grads(np.arctan2, (0, 1), modes=["rev"])(1.0, 2.0)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import api, trees
from wengert.compat.autograd.differential_operators import Argnum, of_chosen_argument
from wengert.compat.autograd.wrap_util import get_name

__all__ = ["check_equivalent", "check_grads", "check_jvp", "check_vjp", "combo_check", "scalar_close"]

TOL = RTOL = EPS = 1e-6

Function = Callable[..., Any]


def scalar_close(a: Any, b: Any) -> bool:
    """Return whether two numbers agree, absolutely or relatively.

    >>> scalar_close(1.0, 1.0 + 1e-9), scalar_close(1.0, 1.1)
    (True, False)
    """
    return bool(abs(a - b) < TOL or abs(a - b) < RTOL * abs(a + b))


def _inner(x: Any, y: Any) -> float:
    return sum(float(np.real(np.vdot(a, b))) for a, b in zip(trees.flatten(x)[0], trees.flatten(y)[0], strict=True))


def _random(x: Any) -> Any:
    """Return a random direction at a point or a value: complex where that is."""

    def draw(leaf: Any) -> Any:
        leaf = np.asarray(leaf)
        noise = np.random.randn(*leaf.shape)
        noise = noise + 1j * np.random.randn(*leaf.shape) if leaf.dtype.kind == "c" else noise
        return np.asarray(noise, leaf.dtype if leaf.dtype.kind in "fc" else float)[()]

    return trees.map_leaves(draw, x)


def _moved(x: Any, v: Any, step: float) -> Any:
    return trees.map_leaves(lambda leaf, direction: leaf + step * direction, x, v)


def _difference(f: Function, x: Any, v: Any) -> Any:
    """Return the central difference of `f` at `x` along `v`."""
    ahead, behind = f(_moved(x, v, EPS / 2)), f(_moved(x, v, -EPS / 2))
    return trees.map_leaves(lambda a, b: (a - b) / EPS, ahead, behind)


def _space(x: Any) -> tuple[Any, ...]:
    """Return what values that can be added share: the structure, and the shape and kind of each leaf."""
    leaves, structure = trees.flatten(x)
    return structure, tuple((np.shape(leaf), np.iscomplexobj(leaf)) for leaf in leaves)


def check_equivalent(x: Any, y: Any) -> None:
    """Raise AssertionError where two values differ: their shapes, or their product with a random direction.

    >>> check_equivalent((1.0, np.ones(2)), (1.0, np.ones(2)))
    """
    assert _space(x) == _space(y), f"two values of different spaces: {_space(x)} and {_space(y)}"
    v = _random(x)
    assert scalar_close(_inner(x, v), _inner(y, v)), f"two different values:\n{x}\n{y}"


def check_vjp(f: Function, x: Any, name: str = "") -> None:
    """Check the product with the Jacobian from the left, for one random direction on each side.

    >>> check_vjp(np.sin, np.ones(3))
    """
    y, pull = api.vjp(f, x)
    v, w = _random(x), _random(y)
    (given,) = pull(trees.map_leaves(np.conj, w))
    assert _space(given) == _space(x), f"the adjoint of {x} is of another space: {given}"
    analytic = _inner(v, trees.map_leaves(np.conj, given))
    numeric = _inner(w, _difference(f, x, v))
    assert scalar_close(numeric, analytic), (
        f"Derivative (VJP) check of {name or get_name(f)} failed at {x}:\nanalytic: {analytic}\nnumeric:  {numeric}"
    )


def check_jvp(f: Function, x: Any) -> None:
    """Check the product with the Jacobian from the right, for one random direction.

    >>> check_jvp(np.sin, np.ones(3))
    """
    v = _random(x)
    check_equivalent(api.jvp(f, (x,), (v,))[1], _difference(f, x, v))


def check_grads(
    f: Function, argnum: Argnum = 0, modes: Sequence[str] = ("fwd", "rev"), order: int = 2
) -> Callable[..., None]:
    """Return a function that checks the derivatives of `f` at a point, up to an order, and raises where one is wrong.

    >>> check_grads(np.sin)(1.0)
    """
    unknown = set(modes) - {"fwd", "rev"}
    assert not unknown, f"modes are 'fwd' and 'rev', not {unknown}"

    @functools.wraps(f)
    def check(*args: Any, **kwargs: Any) -> None:
        _check(*of_chosen_argument(f, argnum, args, kwargs), modes, order, get_name(f))

    return check


def _check(f: Function, x: Any, modes: Sequence[str], order: int, name: str) -> None:
    if "fwd" in modes:
        check_jvp(f, x)
        if order > 1:
            _check(lambda p: api.jvp(f, (p[0],), (p[1],))[1], (x, _random(x)), modes, order - 1, f"jvp_{name}")
    if "rev" in modes:
        check_vjp(f, x, name)
        if order > 1:
            _check(lambda p: api.vjp(f, p[0])[1](p[1])[0], (x, _random(f(x))), modes, order - 1, f"vjp_{name}")


def combo_check(fun: Function, *args: Any, **kwargs: Any) -> Callable[..., None]:
    """Return a function that takes lists of arguments and checks each combination; `args` are those of `check_grads`.

    >>> combo_check(np.sum, 0, order=1)([np.ones(3), np.ones((2, 2))], axis=[None, 0])
    """
    check = check_grads(fun, *args, **kwargs)

    def check_combinations(*lists: Any, **named: Any) -> None:
        for chosen in itertools.product(*lists, *named.values()):
            check(*chosen[: len(lists)], **dict(zip(named, chosen[len(lists) :], strict=True)))

    return check_combinations
