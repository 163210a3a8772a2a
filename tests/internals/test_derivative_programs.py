"""Tangent and adjoint programs: against jvp and vjp, against each other, and derived once more."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.accumulation.programs import adjoint_program, tangent_program
from wengert.program import check


def seed(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def of_matrices(a, b):
    return np.tanh(a @ b), np.sum(b**2)


def with_a_loop(x, c):
    return wg.fori_loop(0, 5, lambda _, v: np.sin(c * v) + v, x)


A, B = np.arange(6.0).reshape(2, 3) / 7, np.arange(3.0) / 5
CASES = {
    "elements": (seed, (np.array([0.5, 2.0, 3.0]),)),
    "arrays": (of_matrices, (A, B)),
    "loop": (with_a_loop, (B, np.float64(0.7))),
    "unused": (lambda x, y: np.exp(x), (B, A)),
    "constant": (lambda x: (np.exp(x), np.ones(2)), (B,)),
}


def drawn(rng, like):
    return tuple(rng.standard_normal(np.shape(v)) for v in like)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("name", CASES)
def test_the_programs_compute_what_jvp_and_vjp_do(name):
    f, args = CASES[name]
    rng = np.random.default_rng(3)
    program = wg.trace(f, argnums=tuple(range(len(args))))(*args)
    tangents, adjoints = tangent_program(program, args), adjoint_program(program, args)
    check(tangents), check(adjoints)
    for _ in range(3):
        point = tuple(v + 0.01 * d for v, d in zip(args, drawn(rng, args), strict=True))
        dots = drawn(rng, args)
        values, pushed = wg.jvp(f, point, dots)
        values, pushed = as_tuple(values), as_tuple(pushed)
        found = as_tuple(tangents(*point, *dots))
        for one, other in zip(found, (*values, *pushed), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)
        bars = drawn(rng, values)
        pulled = as_tuple(adjoints(*point, *bars))
        across = sum(np.sum(g * t) for g, t in zip(bars, pushed, strict=True))
        np.testing.assert_allclose(sum(np.sum(g * t) for g, t in zip(pulled, dots, strict=True)), across, rtol=1e-12)


def test_arguments_and_results_are_laid_out_as_those_of_the_program():
    program = wg.trace(seed)(np.array([0.5, 2.0, 3.0]))
    assert not [line for line in adjoint_program(program, [np.array([0.5, 2.0, 3.0])]).lines if line.inputs[0].shape]
    printed = adjoint_program(program, [np.array([0.5, 2.0, 3.0])]).listing(places=False)
    assert printed.splitlines()[0] == "x_1 = u_{-4}, x_2 = u_{-3}, x_3 = u_{-2}, y_bar_1 = u_{-1}, y_bar_2 = u_0"


@pytest.mark.parametrize("name", CASES)
def test_a_block_of_tangents_is_the_tangents_one_by_one(name):
    f, args = CASES[name]
    rng = np.random.default_rng(4)
    program = wg.trace(f, argnums=tuple(range(len(args))))(*args)
    one, block = tangent_program(program, args), tangent_program(program, args, batch=4)
    dots = [drawn(rng, args) for _ in range(4)]
    together = as_tuple(block(*args, *map(np.stack, zip(*dots, strict=True))))
    half = len(program.results)
    for k in range(4):
        alone = as_tuple(one(*args, *dots[k]))
        for whole, single in zip(together[half:], alone[half:], strict=True):
            np.testing.assert_allclose(whole[k], single, rtol=1e-13, atol=1e-14)


def test_only_what_is_asked_for_is_computed():
    program = wg.trace(of_matrices, argnums=(0, 1))(A, B)
    adjoints = adjoint_program(program, (A, B), seeded=(False, True), wanted=(False, True))
    assert [a.name for a in adjoints.arguments] == ["a", "b", "y2_bar"]
    assert [line.primitive.name for line in adjoints.lines].count("matmul") == 0
    np.testing.assert_allclose(adjoints(A, B, 1.0)[0], 2 * B)
    tangents = tangent_program(program, (A, B), active=(False, True), gives=[("dot", 1)])
    assert [a.name for a in tangents.arguments] == ["a", "b", "b_dot"]
    np.testing.assert_allclose(tangents(A, B, B)[0], 2 * B @ B)


def test_the_tangent_of_the_adjoint_is_the_second_derivative():
    f = lambda x: np.sum(np.sin(x) * x[::-1])  # noqa: E731
    program = wg.trace(f)(B)
    adjoints = adjoint_program(program, (B,))
    second = tangent_program(adjoints, (B, np.float64(1.0)), active=(True, False), gives=[("dot", 0)])
    columns = np.stack([second(B, np.float64(1.0), e)[0] for e in np.eye(3)])
    np.testing.assert_allclose(columns, wg.hessian(f)(B), rtol=1e-12)


@pytest.mark.parametrize("argnum", [0, 1])
def test_a_matrix_times_a_stack_is_pulled_back_by_one_product(argnum):
    rng = np.random.default_rng(argnum)
    stack, matrix, weights = rng.standard_normal((6, 5, 1, 4)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    gradient = wg.grad(lambda stack, matrix: np.sum(np.tanh(stack @ matrix) * weights), argnum)
    program = wg.trace(gradient)(stack, matrix)
    slopes = weights / np.cosh(stack @ matrix) ** 2
    pulled = (slopes @ matrix.T, np.einsum("abik,abij->kj", stack, slopes))[argnum]
    np.testing.assert_allclose(program(stack, matrix), pulled, rtol=1e-12)
    backward = [line for line in program.lines if line.primitive.name == "matmul"][1:]
    assert [line.outputs[0].shape for line in backward] == [[(30, 4)], [(4, 3)]][argnum]
