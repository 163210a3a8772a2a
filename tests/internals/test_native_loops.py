"""The loops that machine code is made of: what is carried, counts and places that are computed, dtypes of buffers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile

import numpy as np
import pytest

from wengert.compilation.native.engine import compile_texts
from wengert.compilation.native.export import write_source
from wengert.compilation.native.layout import fits
from wengert.compilation.native.llvm import write_declarations, write_kernel
from wengert.compilation.native.loops import (
    Buffer,
    Carry,
    Compute,
    Element,
    Kernel,
    Load,
    Nest,
    Register,
    Return,
    Store,
    without_unread,
)

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")


def run(kernel, *arrays, optimize):
    """Run a kernel on arrays, the last of which is that of the results."""
    copies = [array.copy() for array in arrays]
    text = "\n".join([write_declarations(kernel), write_kernel(kernel)])
    compiled = compile_texts([text], "kernel", {}, optimize)
    pointers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compiled.address)
    branch = function(pointers, arrays[-1].ctypes.data)
    if shutil.which("gcc") is not None:
        assert run_in_c(kernel, *copies) == branch
        for one, other in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(one, other)
    return branch


def run_in_c(kernel, *arrays):
    """Run a kernel without temporaries as C source."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = f"{folder}/f.c", f"{folder}/f.so"
        with open(source, "w") as file:
            file.write(write_source(kernel, [buffer.name for buffer in kernel.arguments], "f"))
        strict = "-std=c99 -Wall -Wextra -Wpedantic -Werror -ffp-contract=off"
        subprocess.run(["gcc", "-shared", "-fPIC", *strict.split(" "), source, "-o", library, "-lm"], check=True)
        return ctypes.CDLL(library).f(*[ctypes.c_void_p(a.ctypes.data) for a in arrays], None)


@pytest.mark.parametrize("optimize", [False, True])
def test_sums_carried_through_two_loops(optimize):
    x, y = Buffer("x", 12, "argument"), Buffer("y", 2, "result")
    a, total, then, end, largest, more, new, last = [Register(k, "?" if k == 6 else "d") for k in range(1, 9)]
    body = (
        Load(a, Element(x, 0, (4, 1))),
        Compute(then, "add", (total, a)),
        Compute(more, "greater", (a, largest)),
        Compute(new, "select", (more, a, largest)),
    )
    nest = Nest((3, 4), body, (Carry(total, 0.0, then, end), Carry(largest, -1.0, new, last)))
    kernel = Kernel("f", (x,), y, (nest, Store(Element(y, 0), end), Store(Element(y, 1), last), Return(0)))
    assert "for i < 3, j < 4; r2 = 0.0, then r3, in the end r4; r5 = -1.0, then r7, in the end r8:" in str(kernel)
    assert without_unread(kernel.statements, ()) == kernel.statements
    values, result = np.arange(12.0) ** 2, np.zeros(2)
    assert run(kernel, values, result, optimize=optimize) == 0
    np.testing.assert_array_equal(result, [values.sum(), 121.0])


@pytest.mark.parametrize("count", [0, 1, 7])
def test_counts_and_places_that_are_computed(count):
    """y[k] += x[places[k]] for the first k, which a buffer says, and whether any was positive."""
    x, places, n = Buffer("x", 5, "argument"), Buffer("places", 7, "argument", "l"), Buffer("n", 1, "argument", "l")
    flag, y = Buffer("flag", 1, "work", "?"), Buffer("y", 7, "result")
    length, place, positive = Register(1, "l"), Register(2, "l"), Register(3, "?")
    value, any_, then, end = Register(4), Register(5, "?"), Register(6, "?"), Register(7, "?")
    body = (
        Load(place, Element(places, 0, (1,))),
        Load(value, Element(x, 0, (0,), ((place, 1),))),
        Compute(positive, "greater", (value, 0.0)),
        Compute(then, "or", (any_, positive)),
        Store(Element(y, 0, (1,)), value),
    )
    nest = Nest((length,), body, (Carry(any_, False, then, end),))
    kernel = Kernel(
        "f", (x, places, n, flag), y, (Load(length, Element(n, 0)), nest, Store(Element(flag, 0), end), Return(0))
    )
    values, where = np.array([-1.0, 2.0, -3.0, -4.0, -5.0]), np.array([0, 2, 2, 4, 3, 0, 1])
    flag_, result = np.ones(1, bool), np.zeros(7)
    run(kernel, values, where, np.array([count]), flag_, result, optimize=True)
    np.testing.assert_array_equal(result[:count], values[where[:count]])
    assert not result[count:].any()
    assert flag_[0] == (count == 7)
    assert "x[n2]" in str(kernel)
