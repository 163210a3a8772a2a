"""What a trace changes in other packages: nothing that is seen when it has ended, or on threads that do not trace."""

import json
import math
import subprocess
import sys
import threading
import types
from math import sqrt

import numpy as np
import pytest

import wengert as wg

X = np.array([0.7, 1.3, 0.4])

USER = """
from math import sqrt
from numpy import array, asarray, zeros, vstack, hypot
import math, numpy as np, scipy.special, scipy.linalg, scipy.interpolate, scipy.sparse, scipy.stats
from scipy.special import logsumexp
TABLE = {"sin": math.sin}
def f(x):
    a = zeros(3)
    a[0] = sqrt(x[0]) + TABLE["sin"](x[1])
    a += asarray(x)
    a.flat[2] = vstack([[x[0], 1.0], [x[1], 2.0]]).sum() + hypot([x[0], x[1]], 1.0).sum()
    np.random.default_rng(0).random(out=np.empty(3))
    a += np.vectorize(lambda v: v * v, otypes=[float])(x)
    a = a + np.r_[0, x[1:]] + np.linalg.inv([[x[0], 1], [2, 1]])[0, 0]
    a = a + scipy.sparse.csr_array(np.eye(3)) @ x + scipy.interpolate.CubicSpline(np.arange(3.0), x)(0.5)
    a = a + scipy.stats.norm.logpdf(x) + scipy.linalg.solve(np.eye(3), x) + logsumexp(x)
    return np.sum(a) + np.sum(np.eye(3).dot(x)) + math.fsum(x) + scipy.special.logsumexp(x) + np.fromiter(x, float)[0]
"""
SNAPSHOTS = """
import json, math, sys, types
import numpy as np, scipy.special, scipy.linalg, scipy.interpolate, statistics
import wengert as wg
import user

def snapshot():
    kept = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "wengert" or not isinstance(module, types.ModuleType):
            continue
        for key, value in list(vars(module).items()):
            kept[name, key] = value
            code = getattr(value, "__code__", None)
            if isinstance(code, types.CodeType):
                kept[name, key, "code"] = code
                kept.update({(name, key, at): part for at, part in vars(value).items()})
            if isinstance(value, type) and (value is not np.ndarray or (name, key) == ("numpy", "ndarray")):
                kept.update({(name, key, at): part for at, part in vars(value).items()})
                codes = {at: getattr(part, "__code__", None) for at, part in vars(value).items()}
                kept.update({(name, key, at, "code"): code for at, code in codes.items()})
    return kept

def differentiate(f):
    for derivative in (wg.grad, wg.jacobian, wg.hessian, wg.trace, lambda f: wg.jit(wg.grad(f))):
        derivative(f)(np.array([0.7, 1.3, 0.4]))

differentiate(lambda x: x[0] * x[1])  # what wengert imports late changes `typing`
before = snapshot()
differentiate(user.f)
after = snapshot()
print(json.dumps(sorted({".".join(key) for key in before if after[key] is not before[key]})))
"""


def test_modules_functions_and_code_are_what_they_were_when_no_trace_runs(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "snapshots.py").write_text(SNAPSHOTS)
    run = subprocess.run([sys.executable, tmp_path / "snapshots.py"], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


MODULE = """
from numpy import zeros as nothing, eye, array
class Filter:
    def __init__(self):
        self.x, self.P, self.inner = nothing(2), eye(2), Inner()
    def fill(self, values):
        for k, value in enumerate(values):
            self.x[k] = value
class Inner:
    def __init__(self):
        self.weights = array([1.0, 2.0])
"""


@pytest.mark.parametrize(
    "use",
    [
        lambda kalman, x: kalman.fill(x**2),
        lambda kalman, x: kalman.P.__imul__(x[0]),
        lambda kalman, x: np.multiply(kalman.P, x, out=kalman.P),
        lambda kalman, x: np.add.at(kalman.x, [0, 0], x),
        lambda kalman, x: np.copyto(kalman.inner.weights, x * x),
        lambda kalman, x: kalman.inner.weights.__setitem__(slice(None), x),
    ],
)
def test_arrays_that_an_object_has_made_by_a_name_of_its_module_are_written_to(use, monkeypatch):
    module = types.ModuleType("filters")
    monkeypatch.setitem(sys.modules, "filters", module)
    exec(MODULE, vars(module))

    def f(x):
        kalman = module.Filter()
        use(kalman, x)
        return kalman.x @ kalman.P @ kalman.inner.weights + np.sum(kalman.P**2) + np.sum(kalman.x**2)

    x = X[:2]
    expected = [(f(x + 1e-6 * e) - f(x - 1e-6 * e)) / 2e-6 for e in np.eye(2)]
    np.testing.assert_allclose(wg.grad(f)(x), expected, rtol=1e-7, atol=1e-8)
    assert module.nothing is np.zeros


def test_other_threads_meanwhile_see_what_they_see_when_no_trace_runs():
    seen = []

    def look():
        a = np.zeros(3)
        a[0] = math.sqrt(2.0)
        seen.append((type(a), type(np.array([1.0])), type(math.sin(0.5)), type(sqrt(2.0)), np.eye(3).dot(a)[0]))
        seen.append((np.vstack([[1.0, 2.0], [3.0, 4.0]]).dtype, type(np.hypot([3.0], 4.0)), np.hypot.nin))

    def f(x):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return sqrt(x[0]) + np.vstack([[x[0], 1.0], [x[1], 2.0]]).sum() + np.hypot([x[0], x[1]], 1.0).sum()

    look()
    expected = list(seen)
    wg.grad(f)(X)
    assert seen == expected * (len(seen) // 2)
    assert len(seen) > 2


def test_a_name_that_its_module_has_bound_to_something_else_stays_that():
    scope = {"math": math, "sqrt": math.sqrt, "__name__": "user"}
    exec(compile("def f(x):\n    return sqrt(x)", "user.py", "exec"), scope)
    assert wg.grad(scope["f"])(4.0) == 0.25
    scope["sqrt"] = lambda x: 3.0 * x
    assert wg.grad(scope["f"])(4.0) == 3.0
    assert wg.grad(scope["f"])(5.0) == 3.0
