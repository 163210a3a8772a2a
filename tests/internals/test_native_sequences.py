"""Sequences: commands, loops over them, memory, and products by BLAS, each against NumPy."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from wengert.compilation.native.engine import compile_texts
from wengert.compilation.native.expressions import View
from wengert.compilation.native.layout import fits
from wengert.compilation.native.loops import Buffer
from wengert.compilation.native.products import NotSideBySideError, calls
from wengert.compilation.native.products import code_of as blas_code
from wengert.compilation.native.sequences import Arena, Command, code_of, repetition, stream, word

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")

ADD = """define i32 @add(ptr %table, ptr %extents) {
  %x = load ptr, ptr %table
  %y.at = getelementptr ptr, ptr %table, i64 1
  %y = load ptr, ptr %y.at
  %value = load double, ptr %x
  %number = load double, ptr %extents
  %sum = fadd double %value, %number
  store double %sum, ptr %y
  %is.large = fcmp ogt double %sum, 1.0e2
  %reason = zext i1 %is.large to i32
  ret i32 %reason
}"""


def called(address, bases, argument):
    """Call machine code with a table of bases, and return its result."""
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(address)
    return function(bases.ctypes.data, argument.ctypes.data)


@pytest.mark.parametrize("n", [0, 1, 2, 100])
def test_commands_run_in_order_until_one_stops(n):
    code, step = compile_texts([ADD], "add"), np.array([1.5])
    x, y = np.zeros(3), np.zeros(4)
    there, back = (word(1, 8), word(2, 24)), (word(2, 24), word(1, 8))
    commands = stream([Command(code.address, step.ctypes.data, back if k % 2 else there) for k in range(n)])
    bases = np.array([x.ctypes.data, y.ctypes.data])
    reason = called(code_of("wengert_sequence").address, bases, commands)
    made = min(n, 67)  # 1.5 * 67 is the first above 100
    assert reason == (n > made)
    assert max(x[1], y[3]) == 1.5 * made
    assert x[0] == x[2] == y[0] == 0.0


@pytest.mark.parametrize(("steps", "made", "reason"), [(0, 0, 0), (5, 5, 0), (9, 6, 1)])
def test_bases_move_on_with_the_steps_of_a_loop(steps, made, reason):
    code, step, count = compile_texts([ADD], "add"), np.array([0.25]), np.array([steps])
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0, 8.0, 9.0]), np.zeros(9)
    commands = stream([Command(code.address, step.ctypes.data, (word(1), word(2)))])
    form = repetition(commands.ctypes.data, 3, [8, -8, 0])
    bases = np.array([x.ctypes.data, y.ctypes.data + 64, count.ctypes.data])
    assert called(code_of("wengert_repeat").address, bases, form) == reason
    assert count[0] == made
    np.testing.assert_array_equal(y[::-1][:made], x[:made] + 0.25)


def test_what_is_alive_at_one_time_never_shares_memory():
    rng = np.random.default_rng(3)
    for _ in range(30):
        arena, alive = Arena(), {}
        for _ in range(200):
            if alive and rng.random() < 0.5:
                start = rng.choice(list(alive))
                arena.free(start, alive.pop(start))
            else:
                size = int(rng.integers(1, 1000))
                start = arena.take(size)
                assert all(start + size <= s or s + n <= start for s, n in alive.items())
                alive[start] = size
                assert start % 64 == 0
                assert start + size <= arena.size
        for start, size in alive.items():
            arena.free(start, size)
        assert arena.take(arena.size) == 0


@pytest.mark.parametrize("kind", ["d", "f"])
def test_products_of_any_layout(kind):
    rng = np.random.default_rng(0)
    made = 0

    def matrix(shape):
        big = rng.normal(size=[2 * n + 1 for n in shape]).astype(kind)
        if rng.random() < 0.5:
            big = np.ascontiguousarray(big.swapaxes(-1, -2)).swapaxes(-1, -2)
        part = big[tuple([slice(k := int(rng.integers(0, 2)), k + n) for n in shape])]
        return part.copy(order="K") if rng.random() < 0.4 else part

    def view(array):
        strides = tuple([s // array.itemsize for s in array.strides])
        return View(Buffer("", 0, "", kind), 0, strides, array.shape)

    for _ in range(500):
        m, n, k = map(int, rng.integers(1, 6, 3))
        stack = tuple(map(int, rng.integers(1, 4, rng.integers(0, 3))))
        left = matrix((*stack, m, k))
        right = matrix((*(stack if rng.random() < 0.6 else ()), k, n))
        try:
            products = calls(view(left), view(right))
        except NotSideBySideError:
            continue
        result = np.full(np.matmul(left, right).shape, np.nan, kind)
        for product in products:
            ends = [a.ctypes.data + a.itemsize * k for a, k in zip((left, right, result), product.offsets, strict=True)]
            table = np.array([*[ends[k] for k in product.operands], ends[2]])
            assert called(blas_code(product.routine, product.kind).address, table, np.array(product.extents)) == 0
        rtol, atol = {"d": (1e-12, 1e-14), "f": (1e-4, 1e-5)}[kind]
        np.testing.assert_allclose(result, left @ right, rtol=rtol, atol=atol)
        made += 1
    assert made > 300
