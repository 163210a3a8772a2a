"""Bottleneck's compiled functions: the values and shapes of its own, and the derivatives, with missing elements."""

import bottleneck as bn
import numpy as np
import pytest
from bottleneck import nanmean

import wengert as wg
from wengert.primitives.table import CALLS

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
X = np.array([[1.5, np.nan, 3.0, 0.3, 2.2], [0.7, 1.1, np.nan, np.nan, 4.0]])
THERE = np.isfinite(X)

FUNCTIONS = [
    bn.nansum,
    lambda x: bn.nansum(x, axis=1),
    lambda x: nanmean(x, 0),
    lambda x: bn.nanstd(x, ddof=1),
    lambda x: bn.nanvar(x, axis=1, ddof=1),
    lambda x: bn.nanmin(x, axis=-1),
    lambda x: bn.nanmax(x),
    lambda x: bn.nanmedian(x, axis=1),
    lambda x: bn.median(x[:, 0]),
    lambda x: bn.ss(x[:, ::4], axis=0),
    lambda x: bn.move_sum(x, 2),
    lambda x: bn.move_sum(x, window=3, min_count=1, axis=0) if len(x) > 2 else bn.move_sum(x, 2, 1, 0),
    lambda x: bn.move_mean(x, 3, min_count=2),
    lambda x: bn.move_std(x, 4, 2, ddof=1),
    lambda x: bn.move_var(x, 4, 2, -1, 1),
    lambda x: bn.move_max(x, 3, 1),
    lambda x: bn.move_min(x, 3, min_count=1),
    lambda x: bn.move_median(x, 3, min_count=1),
    lambda x: bn.rankdata(x[:, :1]) * x[:, 0],
    lambda x: bn.nansum(np.zeros(2) + 1.0) * x[0, 0],
]


def test_every_function_is_tested():
    wg.grad(bn.nansum)(np.ones(2))  # a trace looks for what is imported
    caught = {f.__name__ for f in CALLS if getattr(f, "__module__", "").startswith("bottleneck")}
    tested = {name for f in FUNCTIONS for name in getattr(getattr(f, "__code__", None), "co_names", (f.__name__,))}
    assert len(caught) > 10
    assert caught <= tested


@pytest.mark.parametrize("f", FUNCTIONS)
def test_values_and_derivatives(f):
    def summed(elements):
        x = np.zeros_like(X)
        x[THERE] = elements
        x[~THERE] = np.nan
        y = np.asarray(f(x))
        return np.sum(np.where(np.isnan(y), 0.0, np.sin(y + np.arange(y.size).reshape(y.shape))))

    elements = X[THERE]
    expected = [(summed(elements + 1e-6 * e) - summed(elements - 1e-6 * e)) / 2e-6 for e in np.eye(elements.size)]
    np.testing.assert_allclose(wg.grad(summed)(elements), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(wg.jit(wg.grad(summed))(elements), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(wg.trace(summed)(elements)(elements), summed(elements))
    np.testing.assert_allclose(wg.trace(lambda s: f(X * s))(1.0)(2.0), f(X * 2.0))


def test_a_large_array_is_a_few_lines():
    x = np.random.default_rng(0).normal(size=10_000)
    assert len(wg.trace(lambda x: bn.nansum(bn.move_mean(x, 5)))(x).lines) < 30


def test_the_functions_are_bottlenecks_own_when_no_trace_runs():
    before = dict(vars(bn))
    wg.grad(lambda x: bn.nansum(x) + nanmean(x))(X[0, :1])
    assert vars(bn) == before
    assert type(bn.nansum) is type(len)


def test_a_compiled_function_without_a_rule_says_what_to_do():
    with pytest.raises(wg.errors.LostGradientError) as caught:
        wg.grad(lambda x: np.sum(x) if bn.replace(2 * x, 1.0, 2.0) is None else x[0])(X[0])
    message = str(caught.value)
    assert message.startswith("bn.replace is compiled, and does not take a traced value (it says: works in place")
    assert "bn.replace(2 * x, 1.0, 2.0)" in message
    assert "wg.custom_derivative" in message


def test_both_lines_are_named_where_a_package_calls_a_compiled_function(tmp_path):
    file = tmp_path / "site-packages" / "fills.py"
    file.parent.mkdir()
    file.write_text("import bottleneck\ndef fill(a):\n    bottleneck.replace(a, 1.0, 2.0)\n    return a\n")
    scope = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    fill = scope["fill"]
    with pytest.raises(wg.errors.LostGradientError) as caught:
        wg.grad(lambda x: np.sum(fill(2 * x)))(X[0])
    lines = str(caught.value).splitlines()
    assert lines[2].strip() == "wg.grad(lambda x: np.sum(fill(2 * x)))(X[0])"
    assert lines[4] == "which leads to this line of a package:"
    assert lines[6].strip() == "bottleneck.replace(a, 1.0, 2.0)"
