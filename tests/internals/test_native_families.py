"""Families of kernels: each with its extents against the same compiled by itself, bit for bit."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from wengert.compilation.native.expressions import Expressions
from wengert.compilation.native.extents import Families, outline_of, without_empty
from wengert.compilation.native.layout import fits
from wengert.compilation.native.loops import Nest, walk_statements
from wengert.compilation.native.nests import lower_nests

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")

RNG = np.random.default_rng(5)


def lowered(write, *arrays):
    """Return the loops of a function of arrays, and the shapes of its results."""
    op = Expressions()
    results = write(op, *[op.argument(a.shape, a.dtype.char, a.strides) for a in arrays])
    return lower_nests(op, results, "k"), [value.shape for value in results]


def run(member, kernel, shapes, arrays):
    """Run a member of a family."""
    code, extents = member.code()
    outputs = [np.full(shape, np.nan) for shape in shapes]
    work = [np.full(b.size, np.nan) for b in kernel.arguments if b.role == "work"]
    memory = [*arrays, *outputs, *work]
    pointers = (ctypes.c_void_p * len(memory))(*[a.ctypes.data for a in memory])
    numbers = (ctypes.c_int64 * len(extents))(*extents)
    assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(code.address)(pointers, numbers) == 0
    return outputs


def compare(cases, most, ulps=0):
    """Compare kernels as members of their families with each alone, and count the families."""
    families = Families()
    kernels = [lowered(write, *arrays) for write, arrays in cases]
    members = [families.enter(kernel) for kernel, _ in kernels]
    for member, (kernel, shapes), (_, arrays) in zip(members, kernels, cases, strict=True):
        alone = run(Families().enter(kernel), kernel, shapes, arrays)
        shared = run(member, kernel, shapes, arrays)
        for one, other in zip(alone, shared, strict=True):
            np.testing.assert_array_max_ulp(one, other, ulps)
            assert not np.isnan(one).any()
    assert len({id(member.family) for member in members}) <= most


LENGTHS = [2, 3, 24, 25, 40, 63, 64, 65, 95, 96, 100, 127, 500, 768, 769, 800, 1_000, 1_024, 1_600, 5_000]


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_folds_of_all_lengths(name):
    def fold(op, x, y):
        return [op.fold(name, op("multiply", x, y), (0,), False)]

    arrays = [(RNG.uniform(0.9, 1.1, n + 7)[3 : n + 3], RNG.normal(size=n)) for n in LENGTHS]
    compare([(fold, pair) for pair in arrays], 6)


@pytest.mark.parametrize("name", ["add", "maximum"])
@pytest.mark.parametrize("axis", [0, 1])
def test_folds_along_axes(name, axis):
    def fold(op, x):
        return [op.fold(name, x, (axis,), False)]

    x = RNG.normal(size=(40, 300))
    parts = [x[:a, b : b + c] for a in (2, 3, 17) for b in (0, 5) for c in (2, 60, 64, 90, 256)]
    compare([(fold, (part,)) for part in parts], 8)


def test_products_of_triangles():
    def product(op, a, x):
        return [op.product(a, op.move(lambda v: v[:, None], x))]

    a, x = RNG.normal(size=(90, 90)), RNG.normal(size=90)
    compare([(product, (a[k:, :k], x[:k])) for k in range(2, 88)], 4)
    compare([(product, (a[:k, k:].T, x[:k])) for k in range(2, 88)], 4)


def test_elementwise_lines_on_slices():
    def line(op, x, y, c):
        return [op("divide", op("multiply", x, c), op.move(lambda v: v[::-1], y))]

    def function(op, x, y, c):
        return [op("exp", op("multiply", op("multiply", x, c), op.move(lambda v: v[::-1], y)))]

    x, c = RNG.normal(size=200), np.array(0.5)
    slices = [slice(k, 2 * k + 2) for k in range(60)]
    compare([(line, (x[s], x[s], c)) for s in slices], 1)
    compare([(function, (x[s], x[s], c)) for s in slices], 1, ulps=4)  # on vectors or not: other functions


def test_assemblies_that_grow():
    def assembled(op, x, y):
        n = x.shape[0]
        k = y.shape[0]
        return [op.assemble((n,), x, [(y, lambda a: a[n - k :], False), (y, lambda a: a[:k], True)])]

    x = RNG.normal(size=100)
    compare([(assembled, (x, x[:k])) for k in range(2, 99)], 1)


def test_the_outline_keeps_what_vectors_depend_on():
    x, y = RNG.normal(size=(10, 10)), RNG.normal(size=10)

    def twice(op, v):
        return [op("multiply", v, 2.0)]

    outlines = [outline_of(lowered(twice, array)[0])[0] for array in (y, y[:7], x[:, 0], x[:9, 1], y[::-1])]
    assert outlines[0] == outlines[1]
    assert outlines[2] == outlines[3]
    assert len(set(outlines)) == 3


def test_nests_without_a_step_are_left_out():
    kernel, _ = lowered(lambda op, x: [op.fold("add", x, (0,), False)], RNG.normal(size=96))
    nests = [s for s in walk_statements(kernel.statements) if isinstance(s, Nest)]
    assert any(0 in nest.counts for nest in nests)
    assert "< 0" not in str(without_empty(kernel))
