"""Code: what is lowered and printed agrees with the walk, and the facets that printers read are true."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from corpus import CORPUS

import wengert as wg
from wengert import trees
from wengert.program import Var, as_value, interpret
from wengert.program.code import Check, Exit, lower, lower_branch
from wengert.program.compiled import Script

CASES = [(name, kind) for name, case in CORPUS.items() for kind in ("function", *case.kinds)]


def traced(name, kind):
    """Return the Program of a case, and the values of its independent variables."""
    case = CORPUS[name]
    program = wg.trace(case.function_of(kind))(*case.args)
    leaves = [leaf for leaf in trees.flatten(case.args)[0] if isinstance(leaf, (float, complex, np.ndarray))]
    leaves = [leaf for leaf in leaves if np.asarray(leaf).dtype.kind in "fc"]
    if len(leaves) != len(program.arguments):
        pytest.skip("some numbers among the arguments are no variables")
    return program, [
        part for argument, leaf in zip(program.arguments, leaves, strict=True) for part in argument.unpack(leaf)
    ]


def compute(line, operands):
    """Compute a line as tracing does: by Python's operators, whose products of complex numbers round differently."""
    result = line.primitive.compute(*operands, **line.params)
    return result if line.primitive.multiple else as_value(result)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_code_computes_what_the_walk_computes(name, kind):
    program, values = traced(name, kind)
    computed = [var for line in program.lines if not line.primitive.multiple for var in line.outputs]
    outputs, (mark, *kept) = Script(program, computed).of(program, "mark")(*values)
    expected = interpret(program, values, compute)
    assert mark == "mark"
    for atom, value in zip((*program.outputs, *computed), (*outputs, *kept), strict=True):
        truth = expected[atom] if isinstance(atom, Var) else atom.value
        assert np.asarray(value).dtype == np.asarray(truth).dtype
        np.testing.assert_array_equal(value, truth)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_fresh_results_share_no_memory(name, kind):
    program, values = traced(name, kind)

    def apply(line, operands):
        result = compute(line, operands)
        if line.primitive.fresh:
            arrays = [a for a in operands if isinstance(a, np.ndarray)]
            assert not any(np.shares_memory(result, a) for a in arrays), line
        return result

    interpret(program, values, apply)


def test_a_branch_begins_with_what_its_decisions_depend_on():
    def f(x):
        y = np.exp(x)
        return y * x if np.sin(x) > 0 else y

    program = wg.trace(f)(1.0)
    assert str(lower(program).statements[1]) == "u_1 = exp(u_0)"
    branch = lower_branch(program)
    assert [type(s).__name__ for s in branch.statements] == [
        "Enter",
        "Call",
        "Call",
        "Exit",
        "Call",
        "Call",
        "CheckFinite",
    ]
    assert not any(type(s) is Check for s in branch.statements)
    assert [s.by_numbers for s in branch.statements if hasattr(s, "by_numbers")] == [False, True, False, True]


def test_a_branch_takes_over_what_another_has_computed_before_its_exit():
    def f(x):
        y = np.exp(x)
        if y > 1:
            return y * x if x > 2 else y + x
        return y - x

    first = lower_branch(wg.trace(f)(1.0))
    early, late = first.exits
    below = lower_branch(wg.trace(f)(-1.0), after=(first, early))
    assert [str(s) for s in below.statements if not isinstance(s, Exit)][1:2] == ["u_3 = u_1 - u_0"]
    above = lower_branch(wg.trace(f)(3.0), after=(first, late))
    assert above.exits == []
    assert {var for s in above.statements[:1] for var in s.variables} == {
        first.inputs[0],
        first.statements[1].line.outputs[0],
    }


def test_comparisons_are_operators_and_do_not_warn_of_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = wg.trace(lambda x: np.where(x > 0, x, -x) == x)(np.ones(2))
        assert Script(program).of(program)(np.array([1.0, np.nan]))[0].tolist() == [True, False]
