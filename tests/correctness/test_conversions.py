"""``float(x)`` and ``np.float64(x)`` in an installed package, which its users cannot edit."""

import importlib
import sys
import threading

import numpy as np
import pytest

import wengert as wg

PACKAGE = """
import numpy as np
from numpy import float64 as REAL
TABLE = {"real": REAL}

def error(y, z): return float(np.mean((y - z) ** 2))
def reals(x): return sum(map(float, x))
def polar(x): return abs(complex(x[0], x[1]))
def as_real(x, dtype=None):
    dtype = REAL if dtype is None else dtype
    assert dtype in (np.float64, np.float32), dtype
    assert np.zeros(2, dtype).dtype == REAL and isinstance(np.float64(0.5), dtype) and issubclass(REAL, dtype)
    return np.sum(dtype(x) ** 2)
def by_attribute(x): return np.float64(x[0]) * x[1]
def branching(x):
    y = float(x[0])
    return y * x[1] if isinstance(0.5, float) and type(0.5) in (int, float) and {float: 1}[type(0.5)] else 0 * y
class Length:
    def __init__(self, metres): self.metres = metres
    def __float__(self): return float(self.metres)
def of_object(x): return float(Length(x[0])) ** 2
def of_text(x): return float("2.5") * float(x[0]) * float(np.float64(2.0))
def of_array(x): return float(x)
"""
TELLING_APART = """
def f(x):
    y = float(x[0])
    return y if type(y) is float else 2 * y
"""
X = np.array([0.7, 1.3])


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "a_package.py").write_text(PACKAGE)
    (folder / "a_package_that_tells_apart.py").write_text(TELLING_APART)
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("a_package")
    for name in ("a_package", "a_package_that_tells_apart"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "gradient"),
    [
        ("reals", [1.0, 1.0]),
        ("polar", X / np.hypot(*X)),
        ("as_real", 2 * X),
        ("by_attribute", X[::-1]),
        ("branching", X[::-1]),
        ("of_object", [2 * X[0], 0.0]),
        ("of_text", [5.0, 0.0]),
    ],
)
def test_conversions_in_a_package_are_differentiated(package, name, gradient):
    f = getattr(package, name)
    np.testing.assert_allclose(wg.grad(f)(X), gradient, rtol=1e-14)
    np.testing.assert_allclose(wg.jit(wg.grad(f))(X), gradient, rtol=1e-14)
    assert wg.trace(f)(X)(2 * X) == pytest.approx(f(2 * X), rel=1e-14)


def test_an_array_is_no_number(package):
    with pytest.raises(TypeError, match=r"only 0-dimensional arrays|length-1 arrays"):
        wg.grad(package.of_array)(X)


def test_names_are_put_back_and_other_threads_convert_plainly(package):
    before = dict(vars(package))
    assert "float" not in before
    seen = []

    def f(x):
        y = package.error(x, 1.0)
        thread = threading.Thread(target=lambda: seen.append(type(package.error(X, 1.0))))
        thread.start()
        thread.join()
        return y

    np.testing.assert_allclose(wg.grad(f)(X), X - 1.0)
    assert vars(package) == before
    assert set(seen) == {float}


def test_a_module_that_tells_types_apart_by_identity_is_refused(package):
    module = importlib.import_module("a_package_that_tells_apart")
    with pytest.raises(wg.errors.LostGradientError, match="plain float"):
        wg.grad(module.f)(X)
    with pytest.raises(wg.errors.LostGradientError, match=r"Leave out float\(\.\.\.\)"):
        wg.grad(lambda x: float(x[0]))(X)


MAKING = """
from numpy import eye, zeros
class Filter:
    def __init__(self):
        self.points, self.gain = zeros((2, 2)), eye(2)
    def step(self, x):
        for k, z in enumerate(self.points):
            self.points[k] = x * k
        self.gain[0, 0] = x[1]
        return self.points.sum() + self.gain.sum()
def f(x): return Filter().step(x)
"""


def test_arrays_that_other_code_of_a_module_has_made(tmp_path, monkeypatch):
    (tmp_path / "a_module_of_makers.py").write_text(MAKING)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("a_module_of_makers")
    before = dict(vars(module))
    np.testing.assert_allclose(wg.grad(module.f)(X), [1.0, 2.0])
    np.testing.assert_allclose(wg.jit(wg.grad(module.f))(X), [1.0, 2.0])
    assert vars(module) == before
    sys.modules.pop("a_module_of_makers")
