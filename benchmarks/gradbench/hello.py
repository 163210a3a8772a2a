"""hello: the square of a number, and its derivative."""

from __future__ import annotations

import wengert as wg


def square(x):
    return x * x


def arguments(x):
    return (float(x),)


FUNCTIONS = {"square": square, "double": wg.grad(square)}
