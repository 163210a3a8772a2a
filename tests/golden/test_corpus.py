"""The replay corpus: what is written of 100 functions and of their derivatives stays as it is, and it is right.

A refactoring must not change the golden text; a commit that does says why (``python tests/golden/regenerate.py``).
Derivatives are compared with differences of the plain functions, and what sources compute, alone, with the functions.
"""

from __future__ import annotations

import dataclasses
import doctest

import corpus
import numpy as np
import pytest
import replay
from corpus import CORPUS, RULES, tilted
from truth import differences, second_differences

import wengert as wg

SECTIONS = [(name, section) for name, case in CORPUS.items() for section in replay.sections(case)]
KINDS = [(name, kind) for name, case in CORPUS.items() for kind in ("function", *case.kinds)]


def identify(pairs):
    return [pytest.param(*pair, id="-".join(pair)) for pair in pairs]


# ---- Golden text ----


@pytest.mark.parametrize(("name", "section"), identify(SECTIONS))
def test_the_text_is_as_it_was(name, section):
    changed = replay.difference(name, section, replay.golden(name).get(section), replay.write(CORPUS[name], section))
    assert not changed, changed


def test_every_file_is_of_a_function_and_has_its_sections():
    assert {path.stem for path in replay.FOLDER.glob("*")} == set(CORPUS)
    for name, case in CORPUS.items():
        assert list(replay.golden(name)) == replay.sections(case), name


@pytest.mark.parametrize("module", [corpus, replay])
def test_examples_in_docstrings(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted
    assert not outcome.failed


def test_files_are_small_enough_to_be_read():
    assert sum(path.stat().st_size for path in replay.FOLDER.glob("*")) < 2**20


# ---- Values ----


def leaves(tree):
    """Return the arrays of a tree, the keys of its dicts in order."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [np.asarray(tree)]


def is_inexact(array):
    """Return True for an array of floats or complex numbers, which can be an independent variable."""
    return array.dtype.kind in "fc"


def rebuild(tree, values):
    """Return a tree of the same structure with other arrays."""
    if isinstance(tree, dict):
        filled = {key: rebuild(tree[key], values) for key in sorted(tree)}
        return {key: filled[key] for key in tree}
    if hasattr(tree, "_fields"):
        return type(tree)(*[rebuild(item, values) for item in tree])
    if isinstance(tree, (list, tuple)):
        return type(tree)(rebuild(item, values) for item in tree)
    return next(values)


def flat(tree):
    """Lay a tree of arrays out in one vector of real numbers, imaginary parts after the real ones."""
    parts = [part for a in leaves(tree) for part in ((a.real, a.imag) if np.iscomplexobj(a) else (a,))]
    return np.concatenate([np.ravel(part).astype(float) for part in parts])


def on_vector(case):
    """Return the function on the independent variables as one vector, and the point."""
    chosen = [case.args[k] for k in case.argnums]

    def function(v):
        arrays, start = [], 0
        for a in leaves(chosen):
            parts = []
            for _ in range(1 + np.iscomplexobj(a)):
                parts.append(v[start : start + a.size].reshape(a.shape)[()])
                start += a.size
            arrays.append(parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1])
        args = list(case.args)
        for k, x in zip(case.argnums, rebuild(chosen, iter(arrays)), strict=True):
            args[k] = x
        return flat(case.f(*args))

    return function, flat(chosen)


def true_jacobian(case):
    function, v = on_vector(case)
    return differences(function, (v,), 0, 4e-3)


def true_hessian(case):
    function, v = on_vector(case)
    units = np.eye(v.size)

    def along(u):
        return second_differences(function, (v,), (u,))[0]

    single = [along(u) for u in units]
    return np.array(
        [[(along(u + w) - single[i] - single[j]) / 2 for j, w in enumerate(units)] for i, u in enumerate(units)]
    )


def assembled(blocks, rows, columns):
    """Put the blocks of a Jacobian together, one for each array of the results and each of the arguments."""
    blocks = iter(leaves(blocks))
    return np.block([[next(blocks).reshape(np.size(r), np.size(c)) for c in columns] for r in rows])


def computed_and_true(case, kind):
    """Return a derivative as wengert computes it and as differences do, both as arrays of real numbers."""
    derivative = case.function_of(kind)(*case.args)
    chosen = leaves([case.args[k] for k in case.argnums])
    if kind in ("hessian", "hvp"):
        true = true_hessian(case)
        return (
            (flat(derivative), true @ tilted(case.args[0]))
            if kind == "hvp"
            else (assembled(derivative, chosen, chosen), true)
        )
    true = true_jacobian(case)
    if kind in ("gradient", "gradient of a component"):
        return flat([np.conj(leaf) if np.iscomplexobj(leaf) else leaf for leaf in leaves(derivative)]), true[0]
    if kind == "jvp":
        return flat(derivative), true @ flat([tilted(x) for x in case.args])
    if kind == "vjp":
        return flat(derivative), flat(tilted(case.f(*case.args))) @ true
    return assembled(derivative, leaves(case.f(*case.args)), chosen), true


def assert_true(case, kind):
    computed, true = computed_and_true(case, kind)
    single = any(a.dtype == np.float32 for a in leaves(case.args))
    rtol = 1e-5 if single else 1e-6 if kind in ("hessian", "hvp") else 1e-8
    np.testing.assert_allclose(computed, true, rtol, rtol * max(1.0, np.max(np.abs(true))))


@pytest.mark.parametrize(("name", "kind"), identify(pair for pair in KINDS if pair[1] != "function"))
def test_derivatives_agree_with_differences(name, kind):
    assert_true(CORPUS[name], kind)


@pytest.mark.parametrize(("name", "kind"), identify(KINDS))
def test_programs_and_their_sources_compute_what_the_functions_do(name, kind):
    case = CORPUS[name]
    program = replay.program_of(name, kind)
    expected = leaves(case.function_of(kind)(*case.args))
    namespace = dict(RULES)
    exec(compile(program.source(), f"<source of {name}>", "exec"), namespace)
    alone = namespace[program.name if program.name.isidentifier() else "f"]
    independent = [x for x in case.args if any(is_inexact(a) for a in leaves(x))]  # not counts, nor arrays of indices
    arrays = [a[()] for a in leaves(independent) if is_inexact(a)]
    for result in (program(*independent), alone(*arrays)):
        for computed, wanted in zip(leaves(result), expected, strict=True):
            assert computed.shape == wanted.shape
            assert computed.dtype == wanted.dtype
            rtol = 1e-6 if wanted.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(computed, wanted, rtol, rtol * np.max(np.abs(wanted), initial=1.0))


# ---- What is wrong would be seen ----


def altered(case, f):
    f.__name__ = case.name
    return dataclasses.replace(case, f=f)


def test_another_constant_would_be_seen():
    case = CORPUS["reference"]
    program = wg.trace(altered(case, lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(2 - x[0])])).f)(*case.args)
    before = replay.golden("reference")
    listing, source = program.listing(places=False), replay.stable(program.source(), "reference")
    changed = replay.difference("reference", "listing", before["listing"], listing)
    assert "-u_2 = 1 - u_{-2}" in changed
    assert "+u_2 = 2 - u_{-2}" in changed
    assert "python tests/golden/regenerate.py reference" in changed
    assert replay.difference("reference", "source", before["source"], source)


@pytest.mark.parametrize("section", replay.sections(CORPUS["reference"]))
def test_another_word_would_be_seen_in_each_section(section):
    text = replay.golden("reference")[section]
    assert not replay.difference("reference", section, text, text)
    assert replay.difference("reference", section, text[:-1] + "?", text)


def test_a_missing_section_would_be_seen():
    assert "has no section 'plan'" in replay.difference("reference", "plan", None, "")


def test_a_wrong_derivative_would_be_seen():
    wrong = wg.custom_derivative(lambda x: x * x)
    wrong.def_partial(lambda y, x: 2.001 * x)
    case = CORPUS["sum_of_squares"]
    assert_true(case, "gradient")
    for kind in ("gradient", "hessian"):
        with pytest.raises(AssertionError):
            assert_true(altered(case, lambda x: np.sum(wrong(x))), kind)


# ---- The text is the same on every machine ----


def test_numbers_are_rounded_to_ten_digits():
    assert replay.stable("u_1 * 0.30000000000000004 - 1.2345678901234e-05", "f") == "u_1 * 0.3 - 1.23456789e-05"
    assert replay.stable("u_12 + 0.693147 u_{-1} 12,345", "f") == "u_12 + 0.693147 u_{-1} 12,345"


def test_places_are_counted_from_their_functions():
    line = CORPUS["softmax"].f.__code__.co_firstlineno + 2  # below the decorator
    assert replay.stable(f"# corpus.py:{line}", "softmax") == "# +1"
    assert replay.stable(f"# corpus.py:{line}", "chain") == "# softmax+1"
    assert replay.stable("# elsewhere.py:7", "chain") == "# elsewhere.py:7"


def test_addresses_are_left_out():
    assert replay.stable(f"call={object()!r})", "f") == "call=<object>)"
