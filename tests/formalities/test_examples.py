"""The programs in `examples/`: they run, their gradients are right in both modes, and nothing of a trace stays behind.

A gradient is compared with JAX's on the example's own source, `jax.numpy` in the place of `numpy` (what assigns to
arrays is rewritten for it as for autograd, in `benchmarks/examples.py`), and with eighth-order differences of the plain
NumPy function along a random direction.
"""

from __future__ import annotations

import gc
import inspect
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np
import pytest
import truth
from agreement import assert_close

import wengert as wg
from wengert.tracing import Tape, Traced, current_context

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from examples import FOLDER, SIZES, leaves, load, without_assignment
from harness import peak

jax.config.update("jax_enable_x64", True)

EXAMPLES = pytest.mark.parametrize("name", SIZES)
SHORT = {
    "fluid": {"iterations": 2, "size": 8, "steps": 3},
    "lstm": {"iterations": 2, "hidden": 4},
    "char_rnn": {"iterations": 2, "hidden": 4, "length": 8, "count": 3},
    "gaussian_process": {"iterations": 3},
    "kalman": {"iterations": 2},
    "hmm": {"iterations": 2, "count": 60},
    "newton": {"iterations": 4},
    "lotka_volterra": {"iterations": 2, "substeps": 2},
    "convnet": {"iterations": 1, "size": 14, "filters": 2},
    "mixture": {"iterations": 2, "count": 50},
    "bundle_adjustment": {"iterations": 2, "cameras": 3, "points": 8},
    "black_scholes": {"iterations": 3},
    "springs": {"iterations": 1, "masses": 3, "steps": 5},
    "logistic_regression": {"iterations": 4},
}


def flat(trees):
    """Lay trees of arrays out in one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves(trees)])


def spread(tree, values):
    """Put the numbers of an iterator into the places of a tree's."""
    if isinstance(tree, dict):
        filled = {key: spread(tree[key], values) for key in sorted(tree)}
        return {key: filled[key] for key in tree}
    if isinstance(tree, (list, tuple)):
        return type(tree)(spread(item, values) for item in tree)
    numbers = np.array([next(values) for _ in range(np.size(tree))])
    return numbers.reshape(np.shape(tree))[()]


def along(function, args, argnums, direction):
    """Return a function of one number: how far the chosen arguments are moved in a direction."""
    start = flat([args[k] for k in argnums])

    def moved(s):
        chosen = spread([args[k] for k in argnums], iter(start + s * direction))
        whole = list(args)
        for k, value in zip(argnums, chosen, strict=True):
            whole[k] = value
        return function(*whole)

    return moved


def on_jax(leaf):
    """Make a JAX array of one; leave numbers (of time steps) as they are."""
    return jnp.asarray(leaf) if isinstance(leaf, (np.ndarray, float)) else leaf


def direction_for(args, argnums):
    size = flat([args[k] for k in argnums]).size
    direction = np.random.default_rng(5).normal(size=size)
    return direction / np.linalg.norm(direction)


def test_every_example_is_tested_and_short():
    written = {path.stem for path in FOLDER.glob("*.py")} - {"demo"}
    assert written == set(SIZES) == set(SHORT)
    for name in written:
        assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 130


@EXAMPLES
def test_main_prints(name, capsys):
    module = load(name)
    module.main(**SHORT[name])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) >= 2
    assert "nan" not in printed
    assert "Traced" not in printed
    assert inspect.getdoc(module)


@EXAMPLES
def test_gradients_agree_with_jax(name):
    function, args, argnums = load(name).problem()
    names = {"wg": jax.lax} if name == "char_rnn" else {}  # whose `scan` it is
    module = load(name, np=jnp, logsumexp=jsp.logsumexp, erf=jsp.erf, **names)
    module = module if names else without_assignment(module)
    theirs = getattr(module, function.__name__)
    value, expected = jax.value_and_grad(theirs, argnums)(*[jax.tree.map(on_jax, a) for a in args])
    given_value, given = wg.value_and_grad(function, argnums)(*args)
    assert_close(given_value, value, 1e-12)
    assert jax.tree.structure(given) == jax.tree.structure(expected)
    for mine, other in zip(leaves(given), leaves(expected), strict=True):
        assert_close(mine, other, 1e-11 if name != "newton" else 1e-9)


@EXAMPLES
def test_gradients_agree_with_differences(name):
    function, args, argnums = load(name).problem()
    direction = direction_for(args, argnums)
    step = 2e-3 if name != "convnet" else 1e-5  # between the kinks of maxima
    expected = truth.differences(along(function, args, argnums, direction), (0.0,), 0, step)
    assert_close(flat(wg.grad(function, argnums)(*args)) @ direction, expected, 1e-9)


@EXAMPLES
def test_forward_and_reverse_agree(name):
    function, args, argnums = load(name).problem()
    direction = direction_for(args, argnums)
    tangents = spread([args[k] for k in argnums], iter(direction))

    def of_chosen(*chosen):
        whole = list(args)
        for k, x in zip(argnums, chosen, strict=True):
            whole[k] = x
        return function(*whole)

    value, slope = wg.jvp(of_chosen, [args[k] for k in argnums], tangents)
    assert_close(value, function(*args), 1e-13)
    assert_close(slope, flat(wg.grad(function, argnums)(*args)) @ direction, 1e-12)


@EXAMPLES
def test_arguments_stay_as_they_were(name):
    function, args, argnums = load(name).problem()
    before = [np.array(leaf) for leaf in leaves(args)]
    wg.grad(function, argnums)(*args)
    for leaf, was in zip(leaves(args), before, strict=True):
        np.testing.assert_array_equal(leaf, was)


@EXAMPLES
def test_nothing_is_left_behind(name):
    """Without the collector of cycles: all that a gradient made is gone when it returns."""
    function, args, argnums = load(name).problem()
    gradient = wg.grad(function, argnums)
    gradient(*args)
    gc.collect()
    gc.disable()
    try:
        alive = sum(isinstance(x, (Traced, Tape)) for x in gc.get_objects())
        result = gradient(*args)
        assert sum(isinstance(x, (Traced, Tape)) for x in gc.get_objects()) == alive
        assert gc.collect() == 0, "a cycle of references"
        assert all(type(leaf) in (np.ndarray, np.float64) for leaf in leaves(result))
    finally:
        gc.enable()
    assert not current_context().tapes


@EXAMPLES
def test_memory_returns(name):
    """Calls leave no more objects than there were before, the collector of cycles being off."""
    function, args, argnums = load(name).problem()
    gradient = wg.grad(function, argnums)
    for _ in range(2):
        gradient(*args)  # the second call is the one that fills caches by structure
    gc.collect()  # which empties the interpreter's own store of freed tuples and floats, too
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for _ in range(10):
            gradient(*args)
        assert gc.collect() == 0, "a cycle of references"
        left = sys.getallocatedblocks() - before
    finally:
        gc.enable()
    assert left <= 100, f"{left} blocks of memory stay in use"


def test_a_plain_loop_is_folded_into_a_scan_and_gives_the_same_gradients():
    example = load("char_rnn")
    function, args, _ = example.problem(length=20)
    plain = example.unrolled_loss
    assert "into a scan" in str(wg.plan(plain, 0)(*args))
    assert len(wg.trace(function, 0)(*args).lines) < 10
    assert len(wg.trace(plain, 0)(*args).lines) < 40
    for mine, other in zip(leaves(wg.grad(function)(*args)), leaves(wg.grad(plain)(*args)), strict=True):
        assert_close(mine, other, 1e-12)


def test_functions_are_caught_under_the_names_they_were_imported_by():
    from scipy.special import logsumexp as lse

    x = np.array([0.1, 0.5, -0.3])
    assert_close(wg.grad(lambda x: lse(x, axis=0) * 2)(x), 2 * np.exp(x) / np.exp(x).sum(), 1e-14)
    assert list(inspect.signature(lse).parameters)[:2] == ["a", "axis"]
    assert_close(lse(x), np.log(np.exp(x).sum()), 1e-15)


def test_filling_an_array_takes_memory_in_proportion_to_it():
    example = load("kalman")

    def most(count):
        function, args, argnums = example.problem(count=count)
        return peak(lambda: wg.grad(function, argnums)(*args))

    assert most(400) < 2.6 * most(200)
