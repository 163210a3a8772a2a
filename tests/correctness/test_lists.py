"""Lists of lists of traced values, wherever NumPy takes one, become arrays: none of objects reaches the user's code."""

import numpy as np
import pytest
from numpy import arctan2, asarray, vstack

import wengert as wg

X = np.array([0.7, 1.3, 0.4])
CALLS = [
    lambda x: np.vstack([[x[0], 1.0], [0.0, x[1]]]),
    lambda x: vstack(([x[0], 1.0], (0.0, x[1]))),
    lambda x: np.hstack([[x[0], 1.0], [x[1]]]),
    lambda x: np.concatenate([[x[0], 1.0], [x[1]]]),
    lambda x: np.column_stack([[x[0], 1.0], [2.0, x[1]]]),
    lambda x: np.linalg.inv([[x[0], 1.0], [0.0, x[1]]]),
    lambda x: np.linalg.solve(((x[0], 1.0), (0.0, x[1])), [1.0, x[2]]),
    lambda x: np.linalg.norm([x[0], x[1]]),
    lambda x: np.interp([0.1, 0.8], [0.0, x[0], x[1]], [1.0, x[2], 4.0]),
    lambda x: np.interp(0.3, np.r_[0, x[0]], [1.0, x[2]]),
    lambda x: np.linalg.inv(np.c_[[x[0], 1.0], [0.0, x[1]]]),
    lambda x: np.arctan2([x[0], x[1]], 1),
    lambda x: arctan2(1.0, [x[0], x[1]]),
    lambda x: np.sin([x[0], x[1]]),
    lambda x: np.where([True, False], [x[0], x[1]], 0.5),
    lambda x: np.select([[True, False]], [[x[0], x[1]]], 0.5),
    lambda x: np.dot([x[0], x[1]], [1.0, x[2]]),
    lambda x: np.outer([x[0], x[1]], [1.0, x[2]]),
    lambda x: np.gradient([x[0], x[1], x[2]]),
    lambda x: np.meshgrid([x[0], x[1]], [1.0, 2.0])[0],
    lambda x: np.add.accumulate([x[0], x[1]]),
    lambda x: np.multiply.outer([x[0], 2.0], [x[1], 1.0]),
    lambda x: np.maximum.reduce([x[0], x[1]]),
    lambda x: np.fft.fft([x[0], x[1], x[2]]).real,
    lambda x: np.std([x[0], x[1], x[2]]),
    lambda x: np.sort([x[1], x[2]]),
    lambda x: np.polyval([x[0], 1.0, x[1]], 2.0),
    lambda x: np.piecewise([x[0], x[1]], [[True, False]], [lambda a: a * a, 0.5]),
    lambda x: np.hypot(x, [x[0], 1.0, 2.0]),
]


@pytest.mark.parametrize("f", CALLS)
def test_lists_are_joined(f):
    def total(x):
        y = f(x)
        weights = np.arange(1.0, 1.0 + y.size).reshape(y.shape)
        return np.sum(y * weights) if y.dtype == float else 0.0

    value, gradient = wg.value_and_grad(total)(X)
    assert value == total(X)
    expected = [(total(X + 1e-6 * unit) - total(X - 1e-6 * unit)) / 2e-6 for unit in np.eye(3)]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(wg.jit(wg.grad(total))(X), gradient, rtol=1e-12)
    np.testing.assert_allclose(wg.jacobian(total)(X), gradient, rtol=1e-12)


def test_truth_values_of_lists():
    assert wg.grad(lambda x: x[0] if np.isfinite([x[0], x[1]]).all() else 0.0)(X).tolist() == [1.0, 0.0, 0.0]
    assert wg.grad(lambda x: x[0] if np.allclose([x[0], x[1]], X[:2]) else 0.0)(X).tolist() == [1.0, 0.0, 0.0]


def test_lists_that_were_joined_before_are_joined_in_the_users_line():
    with pytest.raises(wg.errors.MatrixError, match=r"np\.linalg\.inv\(\[\[x\[0\], 1\.0\]"):
        wg.grad(lambda x: np.sum(np.linalg.inv([[x[0], 1.0], [x[0], 1.0]])))(X)


def test_numpys_functions_are_themselves_when_no_trace_runs():
    functions = {name: value for name, value in vars(np).items() if callable(value)}
    inside = []

    def f(x):
        inside.append((np.arctan2, arctan2))
        assert isinstance(np.arctan2, np.ufunc)
        assert np.arctan2.nin == 2
        return np.sum(np.arctan2([x[0], x[1]], 1.0))

    wg.grad(f)(X)
    assert inside[-1][0] is inside[-1][1] is not functions["arctan2"]
    assert {name: value for name, value in vars(np).items() if callable(value)} == functions
    assert type(arctan2) is type(np.arctan2) is np.ufunc


def test_arrays_of_objects_that_the_user_makes_stay_such():
    def f(x):
        elements = np.empty(2, object)
        elements[0], elements[1] = x[0], x[1]
        return np.sum(np.exp(elements))

    np.testing.assert_allclose(wg.grad(f)(X), [*np.exp(X[:2]), 0.0])


class Cell:
    """A matrix that is no array: NumPy asks it for one."""

    def __init__(self, rows):
        self.rows = np.array(rows)

    def __array__(self, dtype=None, copy=None):
        return self.rows


@pytest.mark.parametrize(
    "f",
    [
        lambda cell: np.linalg.det(cell(Cell)),
        lambda cell: np.sum(np.sqrt(np.abs(np.linalg.inv(cell(Cell))))),
        lambda cell: np.sum(asarray(cell(Cell))[:, None] * 2.0),
        lambda cell: np.sum(np.dot(np.arange(2.0), cell(Cell))),
        lambda cell: np.sum(np.sin(cell(Cell))),
    ],
)
def test_objects_that_stand_for_traced_arrays(f):
    rows = [[0.7, 1.3], [0.4, 2.0]]

    def with_objects(x):
        return f(lambda kind: kind([[x[0], x[1]], [x[2], 2.0]]))

    def with_arrays(x):
        return f(lambda _: np.array([[x[0], x[1]], [x[2], 2.0]]))

    x = np.ravel(rows)[:3]
    value, gradient = wg.value_and_grad(with_objects)(x)
    assert value == with_objects(x)
    np.testing.assert_allclose(gradient, wg.grad(with_arrays)(x), rtol=1e-14)
