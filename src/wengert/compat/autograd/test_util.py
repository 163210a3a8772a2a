"""The place of ``autograd.test_util``: `check_grads`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.api import vjp
from wengert.checking import check_derivatives
from wengert.errors import DerivativeError

__all__ = ["check_grads"]


def check_grads(f: Callable[..., Any], modes: Sequence[str] = ("fwd", "rev"), order: int = 2) -> Callable[..., None]:
    """Return a function that checks the derivatives of `f` at a point, up to an order, and raises where one is wrong.

    Both modes are checked, whatever is asked for.

    >>> check_grads(np.sin)(1.0)
    """

    def check(*args: Any, **kwargs: Any) -> None:
        def of_args(*xs: Any) -> Any:
            return f(*xs, **kwargs)

        report = check_derivatives(of_args)(*args)
        if not report:
            raise DerivativeError(str(report))
        if order > 1:
            rng = np.random.default_rng(0)
            y = of_args(*args)
            g = trees.map_leaves(lambda leaf: rng.normal(size=np.shape(leaf))[()], y)
            check_grads(lambda *xs: vjp(of_args, *xs)[1](g), modes, order - 1)(*args)

    return check
