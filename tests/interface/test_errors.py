"""What can go wrong: each message names the value, the user's line and what to write instead, and never is a number."""

from __future__ import annotations

import inspect
import math
import operator
import warnings

import numpy as np
import pytest

import wengert as wg
from wengert import errors, memory
from wengert.errors import (
    ArgumentError,
    DomainWarning,
    EscapedError,
    LostGradientError,
    ResultError,
    ShapeError,
    UnsupportedError,
)

X = np.array([0.5, 2.0, 3.0])


def raises(error, builtin, call, *said, line=None):
    """Check class, built-in likeness and text of an error; `line` is a part of the user's line that must be shown."""
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, (builtin, errors.WengertError))
    assert isinstance(caught.value, builtin)
    message = str(caught.value)
    for part in said:
        assert part in message, message
    if line is not None:
        where = [text.strip() for text in message.splitlines()]
        assert any(text.startswith(f'File "{__file__}", line ') for text in where), message
        assert any(line in text for text in where), message
        number = int(next(text for text in where if text.startswith("File ")).rsplit(" ", 1)[1])
        with open(__file__) as file:
            assert line in file.read().splitlines()[number - 1], message
    assert_says_no_more(message)
    return message


def assert_says_no_more(message):
    """Check what no message says: frames of the library, numbers of objects in memory, its residuals."""
    for part in (errors.PACKAGE, "Traced", "tape", "0x", "<class", "NoneType", "numpy/_core"):
        assert part not in message, message
    last = message.splitlines()[-1]
    assert last.endswith((".", "?"))
    assert last[0].isupper() or last == message


# ---- The tree ----


def test_every_error_is_in_the_tree_and_resembles_a_builtin():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Exception)]
    for cls in classes:
        assert cls.__name__ in errors.__doc__
        assert cls.__doc__
        if cls is not errors.WengertError and not issubclass(cls, Warning):
            assert issubclass(cls, errors.WengertError)
            own, builtin = cls.__bases__
            assert issubclass(own, errors.WengertError)
            stated = "numpy's, IndexError" if cls is errors.AxisError else builtin.__name__
            assert f"({stated})" in errors.__doc__
    assert issubclass(DomainWarning, RuntimeWarning)
    assert issubclass(errors.JitWarning, RuntimeWarning)


# ---- What a function returns ----


def returns_nothing(x):
    np.sum(x)


def test_no_result():
    raises(
        ResultError,
        TypeError,
        lambda: wg.grad(returns_nothing)(X),
        "returns_nothing returned None",
        "Is a return statement missing?",
        line="def returns_nothing(x):",
    )


@pytest.mark.parametrize(
    "operator", [wg.grad, wg.jacobian, wg.hessian, wg.trace, lambda f: lambda x: wg.jvp(f, (x,), (x,))]
)
@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda x: "text", ("returned a str", "Return an array or a number.")),
        (lambda x: [], ("returned a list", "Return np.array([...]) of it.")),
        (lambda x: (), ("returned a tuple", "np.array([...])", "np.concatenate")),
        (lambda x: {"a": "text"}, ("returned a", "Return an array or a number.")),
        (lambda x: np.array(["a"]), ("returned a ndarray",)),
        (lambda x: None, ("returned None",)),
    ],
)
def test_results_of_other_kinds(operator, result, said):
    raises(ResultError, TypeError, lambda: operator(result)(X), *said, line="lambda x:")


def test_gradient_of_an_array():
    raises(
        ResultError,
        TypeError,
        lambda: wg.grad(lambda x: x * 2)(X),
        "returned an array of shape (3,)",
        "Use wg.jacobian",
        "sum or mean",
        line="wg.grad(lambda x: x * 2)(X)",
    )
    raises(ResultError, TypeError, lambda: wg.grad(lambda x: x[:1])(X), "shape (1,)", "wg.jacobian")
    raises(ResultError, TypeError, lambda: wg.grad(lambda x: x[0] > 0)(X), "bool")


# ---- What a function is called with ----


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (3, ("argument 0 is of integer dtype (3)", "Pass 3.0.")),
        (True, ("argument 0 is of integer dtype (True)", "Pass 1.0.")),
        (np.int64(3), ("integer dtype", "Pass 3.0.")),
        (np.array([1, 2]), ("argument 0 is an array of int64", "Pass x.astype(float).")),
        (np.array([True]), ("an array of bool", "Pass x.astype(float).")),
        ([1.0, 2], ("[1] is of integer dtype (2)", "Pass 2.0.")),
        ((), ("argument 0 is a tuple", "Pass a float or a NumPy array")),
        ("text", ("argument 0 is a str", "Pass a float or a NumPy array.")),
        (None, ("argument 0 is None", "Pass a float or a NumPy array.")),
        ({}, ("argument 0 is a dict", "Pass a float or a NumPy array.")),
        (np.array(["a"]), ("argument 0 is of dtype <U1", "Pass a float or a NumPy array")),
        (np.array([1.0, {}], dtype=object), ("argument 0 is of dtype object", "Pass a float or a NumPy array")),
    ],
)
@pytest.mark.parametrize("operator", [wg.grad, wg.jacobian, wg.hessian, lambda f: lambda x: wg.vjp(f, x)])
def test_arguments_of_other_kinds(operator, argument, said):
    raises(ArgumentError, TypeError, lambda: operator(np.sum)(argument), *said, line="operator")


def test_the_position_of_the_argument_is_named():
    raises(
        ArgumentError, TypeError, lambda: wg.grad(lambda a, b: a * b, 1)(1.0, 2), "argument 1 is of integer dtype (2)"
    )


def test_arguments_that_are_not_there():
    for argnums in (2, -3, (0, 5)):
        raises(
            ArgumentError,
            TypeError,
            lambda argnums=argnums: wg.grad(lambda a, b: a * b, argnums)(1.0, 2.0),
            "called with 2 positional arguments",
            "count them from 0",
            line="wg.grad(lambda a, b: a * b, argnums)(1.0, 2.0)",
        )
    raises(ArgumentError, TypeError, lambda: wg.grad(lambda x: x)(x=1.0), "0 positional arguments")


def test_unknown_mode():
    raises(ArgumentError, TypeError, lambda: wg.jacobian(np.sin, mode="sideways"), "'sideways'", "'forward', 'reverse'")


def test_tangents_of_another_shape():
    raises(
        ArgumentError,
        TypeError,
        lambda: wg.jvp(np.sin, (X,), (np.ones(2),)),
        "tangent 0 has shape (2,)",
        "(3,) is needed",
        line="wg.jvp(np.sin, (X,), (np.ones(2),))",
    )
    raises(ArgumentError, TypeError, lambda: wg.jvp(np.sin, (X,), (1.0,)), "tangent 0 has shape ()")
    raises(ArgumentError, TypeError, lambda: wg.jvp(np.sin, (X,), (X, X)), "1 tangents are needed")
    raises(ArgumentError, TypeError, lambda: wg.jvp(np.sin, X, X), "are sequences", "wg.jvp(f, (x,), (x_dot,))")
    raises(
        ArgumentError,
        TypeError,
        lambda: wg.vjp(np.sin, X)[1](np.ones((3, 1))),
        "the adjoint has shape (3, 1)",
        line="wg.vjp(np.sin, X)[1](np.ones((3, 1)))",
    )


# ---- Gradients that would be lost ----

ESCAPES = [
    (lambda x: float(x[0]), "float(x[0])", "Leave out float(...)"),
    (lambda x: complex(x[0]), "complex(x[0])", "Leave out complex(...)"),
    (lambda x: np.float64(x[0]), "np.float64(x[0])", "Leave out np.float64(...)"),
    (lambda x: round(float(x[0]), 2), "float(x[0])", "Leave out float(...)"),
    (lambda x: sum(map(float, x)), "sum(map(float, x))", "Leave out float: a traced scalar"),
    (lambda x, sine=math.sin: sine(x[0]), "sine(x[0])", "Write np.sin instead of sine: NumPy's functions are traced"),
]


@pytest.mark.parametrize(("f", "line", "instead"), ESCAPES)
@pytest.mark.parametrize("operator", [wg.grad, wg.hessian, wg.trace])
def test_becoming_a_plain_float(operator, f, line, instead):
    raises(LostGradientError, TypeError, lambda: operator(f)(X), "would lose its derivative", instead, line=line)


PLAIN = np.zeros(3)  # made before any trace: nobody can see what is written into it


def writes_an_element(x):
    PLAIN[0] = x[0]
    return np.sum(PLAIN)


def writes_a_slice(x):
    PLAIN[:2] = x[:2] * 2
    return np.sum(PLAIN)


def adds_into_a_plain_array(x):
    total = PLAIN
    total += x
    return np.sum(total)


def uses_out(x):
    np.add(x, 1.0, out=PLAIN)
    return np.sum(PLAIN)


@pytest.mark.parametrize(
    ("f", "line", "said"),
    [
        (writes_an_element, "PLAIN[0] = x[0]", "np.array([...])"),
        (writes_a_slice, "PLAIN[:2] = x[:2] * 2", "np."),
        (adds_into_a_plain_array, "total += x", "a = a + b instead of a += b"),
        (uses_out, "np.add(x, 1.0, out=PLAIN)", "without out="),
    ],
)
@pytest.mark.parametrize("operator", [wg.grad, wg.hessian, wg.trace])
def test_writing_into_arrays(operator, f, line, said):
    raises(LostGradientError, TypeError, lambda: operator(f)(X), said, line=line)
    assert not PLAIN.any()


def test_operators_that_write_out_still_work_on_traced_values():
    def f(x):
        x += 1.0
        x *= x
        return np.sum(operator.iadd(x, 2.0))

    x = X.copy()
    np.testing.assert_allclose(wg.grad(f)(x), 2 * (X + 1))
    np.testing.assert_array_equal(x, X)


# ---- Functions without a rule ----


@pytest.mark.parametrize(
    ("f", "said", "line"),
    [
        (
            lambda x: np.sum(np.busday_count(x, x)),
            ("np.busday_count has no rule", "wg.define("),
            "np.busday_count(x, x)",
        ),
        (lambda x: np.sum(np.gcd(x, x)), ("np.gcd has no rule", "wg.define('my_gcd', np.gcd,"), "np.gcd(x, x)"),
        (
            lambda x: np.sum(np.quantile(x, 0.5, weights=x)),
            ("weights=", "leave them out"),
            "np.quantile(x, 0.5, weights=x)",
        ),
        (lambda x: np.sum(np.reshape(x, 3, order="K")), ("order='K'",), 'order="K"'),
    ],
)
@pytest.mark.parametrize("operator", [wg.grad, wg.hessian, wg.trace])
def test_functions_without_a_rule(operator, f, said, line):
    raises(UnsupportedError, NotImplementedError, lambda: operator(f)(X), *said, line=line)


# ---- Shapes ----


@pytest.mark.parametrize(
    ("f", "said", "line"),
    [
        (lambda x: np.sum(x + np.ones(2)), ("add", "(3,) and (2,)"), "x + np.ones(2)"),
        (lambda x: np.sum(np.ones((4, 2)) @ x), ("matmul", "(4, 2) and (3,)"), "np.ones((4, 2)) @ x"),
        (lambda x: np.sum(x @ np.ones((2, 4))), ("matmul", "(3,) and (2, 4)"), "x @ np.ones((2, 4))"),
        (lambda x: x[0] @ x, ("matmul", "use *"), "x[0] @ x"),
        (lambda x: np.sum(np.stack([x, x[:2]])), ("stack", "same shape"), "np.stack([x, x[:2]])"),
        (
            lambda x: np.sum(np.concatenate([x, np.ones((1, 3))])),
            ("concatenate",),
            "np.concatenate([x, np.ones((1, 3))])",
        ),
        (lambda x: np.sum(np.array([x, x[0]])), ("shape",), "np.array([x, x[0]])"),
        (lambda x: np.sum(x.reshape(2, 2)), ("reshape", "size 3 into shape (2, 2)"), "x.reshape(2, 2)"),
        (lambda x: np.sum(np.sum(x, axis=1)), ("axis 1 is out of bounds",), "np.sum(x, axis=1)"),
        (lambda x: np.sum(np.broadcast_to(x, (2, 2))), ("broadcast_to",), "np.broadcast_to(x, (2, 2))"),
        (lambda x: np.sum(np.squeeze(x, 0)), ("squeeze",), "np.squeeze(x, 0)"),
    ],
)
@pytest.mark.parametrize("operator", [wg.grad, wg.hessian, wg.trace])
def test_shapes_that_do_not_go_together(operator, f, said, line):
    raises(ShapeError, ValueError, lambda: operator(f)(X), *said, line=line)


def test_indices_out_of_bounds_are_numpys_own():
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        wg.grad(lambda x: x[7])(X)
    with pytest.raises(IndexError):
        wg.grad(lambda x: x[0, 0])(X)
    with pytest.raises(TypeError):
        len(wg.grad(lambda x: len(x[0]))(X))
    with pytest.raises(TypeError):
        wg.grad(lambda x: sum(x[0]))(X)


# ---- Values that outlive their trace ----


def test_escaped_values():
    kept = []
    wg.grad(lambda x: kept.append(x) or np.sum(x))(X)
    (x,) = kept
    for use in (lambda: x + 1.0, lambda: np.sin(x), lambda: x[0], lambda: x.sum(), lambda: 2.0 @ x if False else x * x):
        raises(
            EscapedError, RuntimeError, use, "after its trace has ended", "Return it from the function", line="use in"
        )


KEPT = {
    "product": lambda grid, x: np.sum(grid(3) * x),
    "product of matrices": lambda grid, x: np.outer(grid(3), grid(3)) @ x @ x,
    "system": lambda grid, x: np.sum(np.linalg.solve(np.diag(grid(3)), x)),
    "joined": lambda grid, x: np.sum(np.concatenate([grid(3), x]) ** 2),
    "chosen": lambda grid, x: np.sum(np.where(grid(3) > 1.5, x, grid(3))),
    "methods": lambda grid, x: np.sum(x) * grid(3).mean() + float(grid(3)[2]) * x[1],
    "a copy that is written to": lambda grid, x: written(grid(3).copy(), x),
    "elements": lambda grid, x: sum(g * v for g, v in zip(grid(3), x, strict=True)),
    "plain array": lambda grid, x: np.sum(np.asarray(grid(3)) * x),
    "steps": lambda grid, x: wg.scan(lambda c, t: (c * grid(3)[0] + t, None), x[0], grid(3))[0],
}


def written(y, x):
    y[0] = x[0]
    return np.sum(y * y)


@pytest.mark.parametrize("f", KEPT.values(), ids=KEPT.keys())
def test_constants_that_a_function_keeps_are_plain_arrays_in_later_calls(f):
    kept = {}

    def grid(n):
        if n not in kept:
            kept[n] = np.linspace(1.0, 2.0, n)
        return kept[n]

    expected = wg.grad(lambda x: f(lambda n: np.linspace(1.0, 2.0, n), x))(X)
    for _ in range(2):
        np.testing.assert_allclose(wg.grad(lambda x: f(grid, x))(X), expected)
    np.testing.assert_allclose(wg.jacobian(lambda x: f(grid, x), mode="forward")(X), expected)
    np.testing.assert_allclose(wg.trace(wg.grad(lambda x: f(grid, x)))(X)(X), expected)
    np.testing.assert_allclose(wg.vmap(wg.grad(lambda x: f(grid, x)))(X[None]), expected[None])
    assert f(grid, X) == f(lambda n: np.linspace(1.0, 2.0, n), X)
    np.testing.assert_allclose(np.linalg.inv(np.diag(kept[3])), np.diag(1 / np.linspace(1.0, 2.0, 3)))


def test_escaped_values_in_a_later_trace():
    kept = []
    wg.grad(lambda x: kept.append(x) or np.sum(x))(X)
    raises(
        EscapedError,
        RuntimeError,
        lambda: wg.grad(lambda y: np.sum(y * kept[0]))(X),
        "after its trace",
        line="y * kept[0]",
    )


# ---- Values outside of a domain ----


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    return value, caught


def log_of(x):
    return np.sum(np.log(x))


def test_log_of_a_negative_number_is_numpys_nan_and_names_the_line():
    _, caught = warned(lambda: wg.grad(log_of)(-X))
    assert caught
    assert {w.category for w in caught} == {DomainWarning}
    message = str(caught[0].message)
    assert "invalid value in log" in message
    assert "np.log(x)" in message
    assert f'File "{__file__}"' in message
    assert "outside its domain" in message
    assert caught[0].filename == __file__
    assert caught[0].lineno == inspect.getsourcelines(log_of)[1] + 1
    assert_says_no_more(message + "\nEnd.")


def test_a_scalar_outside_the_domain_is_shown():
    value, caught = warned(lambda: wg.jvp(lambda x: np.log(x), (-2.0,), (1.0,))[0])
    assert np.isnan(value)
    assert "in log of -2.0" in str(caught[0].message)
    value, caught = warned(lambda: wg.jvp(lambda x: 1 / x, (0.0,), (1.0,))[0])
    assert value == np.inf
    assert "divide by zero" in str(caught[0].message)
    assert "1 / x" in str(caught[0].message)


def test_a_derivative_outside_its_domain_says_so():
    gradient, caught = warned(lambda: wg.grad(lambda x: np.sqrt(x))(0.0))
    assert gradient == np.inf
    assert "derivative of sqrt" in str(caught[0].message)
    assert "np.sqrt(x)" in str(caught[0].message)


def test_settings_of_numpy_are_obeyed():
    with np.errstate(all="ignore"):
        _, caught = warned(lambda: wg.grad(log_of)(-X))
        assert not caught
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        wg.grad(log_of)(-X)
    before = np.geterr()
    warned(lambda: wg.grad(log_of)(-X))
    assert np.geterr() == before
    assert np.geterrcall() is None


def test_an_explanation_warns_but_once_and_of_the_users_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wg.explain(lambda x: np.log(x[0] - 1.0) + x[1])(X)
    assert [w.category for w in caught] == [DomainWarning]
    assert caught[0].filename == __file__


def test_warnings_can_be_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DomainWarning, match=r"np\.log\(x\)"):
            wg.grad(log_of)(-X)
    np.testing.assert_allclose(wg.grad(log_of)(X), 1 / X)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: np.sum(x > 1), "What is counted, compared or rounded does not move"),
        (lambda x: x[0] > 1, "a number of dtype bool"),
        (lambda x: np.exp(1j * x[0]), "Return its real part"),
        (lambda x: x > 1, "Use wg.jacobian"),
    ],
)
def test_a_gradient_of_what_is_no_real_scalar_says_what_to_return(f, said):
    raises(ResultError, TypeError, lambda: wg.grad(f)(X), said, line="wg.grad(f)(X)")


# ---- Size ----


@pytest.mark.parametrize(
    "made",
    [
        lambda x: wg.jacobian(np.sin, sparse=False)(x),
        lambda x: wg.jacobian(np.sin, mode="reverse")(x),
        lambda x: wg.jacobian(lambda x: {"a": np.cumsum(x), "b": x[:0]})(x),
        lambda x: wg.vmap(wg.jacobian(np.sin, sparse=False))(x[None]),
        lambda x: wg.jit(wg.jacobian(np.sin, sparse=False))(x),
    ],
)
def test_a_jacobian_larger_than_memory_is_refused_before_it_is_made(made):
    x = np.zeros(10**6)  # 7.3 TiB
    raises(errors.SizeError, MemoryError, lambda: made(x), "7,450.6 GiB", "wg.jvp(f, (x,), (v,))", line="wg.j")


def test_a_hessian_larger_than_memory_is_refused_with_hvp():
    x, f = np.zeros(10**6), lambda x: np.sum(x**3)
    dense = wg.hessian(f, sparse=False)
    raises(errors.SizeError, MemoryError, lambda: dense(x), "7,450.6 GiB", "wg.hvp(f)(x, v)", line="dense(x)")
    np.testing.assert_array_equal(wg.hvp(f)(x, x + 1), x)


def test_the_memory_is_that_of_a_container_if_it_has_less(monkeypatch, tmp_path):
    (tmp_path / "limit").write_text("4096\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(memory, "LIMITS", (str(tmp_path / "none"), str(tmp_path / "limit"), str(tmp_path / "absent")))
    assert memory.quarter_of_memory() == 1024
    monkeypatch.setattr(memory, "LIMITS", ())
    monkeypatch.delattr(memory.os, "sysconf")
    assert memory.quarter_of_memory() == memory.UNKNOWN // 4


# ---- Definitions ----


def test_names_that_are_taken():
    with pytest.raises(ValueError, match="there is a primitive sin already"):
        wg.define("sin", np.sin)
    with pytest.raises(KeyError):
        wg.undefine("no such primitive")


def test_defined_functions_come_and_go():
    wg.define("my_gcd", np.gcd, None, None, replaces=np.gcd)
    try:
        assert np.gcd in wg.primitives.CALLS
    finally:
        wg.undefine("my_gcd")
    raises(UnsupportedError, NotImplementedError, lambda: wg.grad(lambda x: np.gcd(x, x)[0])(X), "np.gcd has no rule")


def test_a_replaced_rule_comes_back():
    wg.define("my_sort", np.sort, lambda y, x: None, replaces=np.sort, elementwise=False)
    wg.undefine("my_sort")
    np.testing.assert_array_equal(wg.grad(lambda x: np.sort(x)[-1])(np.array([1.0, 3.0, 2.0])), [0.0, 1.0, 0.0])


@pytest.mark.parametrize("k", [0, 3, 30, 59])
def test_the_excerpt_of_a_very_long_line_is_cut_around_the_expression(k):
    terms = [f"term_{n}" for n in range(60)]
    line = "    total = " + " + ".join(terms) + "\n"
    start = line.index(terms[k] + ("\n" if k == 59 else " "))
    _, shown, carets = errors.Location("f.py", 1, (start, start + len(terms[k])), line).excerpt().splitlines()
    assert len(shown) <= 4 + 120
    assert [shown[n] for n, mark in enumerate(carets) if mark == "^"] == list(terms[k])
    assert shown.endswith("...") is (k < 59)
    assert shown.startswith("    ...") is (k > 3)
