"""Seams: where plain NumPy and traced values meet, a traced value is the array it stands for, or an error says why not."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.tracing import Traced

X = np.array([1.0, 2.0])

# ---- A traced value shows the attributes of an array, nothing more ----


def strip(q):
    return q.value if hasattr(q, "value") else q


def test_code_that_takes_quantities_keeps_the_derivative():
    def f(x):
        return np.sum(strip(x) ** 2)

    assert wg.grad(f)(X).tolist() == [2.0, 4.0]
    assert wg.hessian(f)(X).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert wg.jvp(f, (X,), (X,))[1] == 10.0
    assert wg.grad(lambda x: getattr(x[0], "value", x[0]) ** 2)(X).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("scalar", [False, True])
def test_public_attributes_are_those_of_an_array(scalar):
    plain = np.float64(1.0) if scalar else X.copy()
    names = {name for name in [*vars(Traced), *dir(Traced)] if not name.startswith("_")}

    def f(x):
        traced = x[0] if scalar else x
        shown.extend(name for name in sorted(names) if name not in ("mT",) and hasattr(traced, name))
        return np.sum(x)

    shown: list[str] = []
    wg.grad(f)(X)
    wg.trace(f)(X)
    methods_of_arrays = {"dot", "partition", "argpartition"}  # which NumPy gives to its scalars, too, under other names
    assert [name for name in shown if not hasattr(plain, name) and name not in methods_of_arrays] == []


def test_elements_of_object_arrays_have_the_functions_that_numpy_calls():
    def f(x):
        elements = np.empty(2, object)
        elements[0], elements[1] = x[0], x[1]
        return np.exp(elements).sum()

    np.testing.assert_allclose(wg.grad(f)(X), np.exp(X))
    with pytest.raises(AttributeError, match=r"'numpy\.ndarray' object has no attribute 'exp'"):
        wg.grad(lambda x: x.exp())(X)
