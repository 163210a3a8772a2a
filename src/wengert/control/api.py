"""What users write for loops, branches and checkpoints: JAX's names and arguments, differentiated to any order.

Without a trace these are plain Python: a ``for``, a ``while``, an ``if``.  In a trace each is one line of the list,
which holds the Program of its body (`wengert.control.higher_order`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.control.checkpoints import Checkpoint, Policy
from wengert.control.closures import leaves_of
from wengert.control.staging import Scan, names_of, not_a_pair, repeat, write_checkpoint, write_cond, write_while
from wengert.errors import ArgumentError
from wengert.program import Recordable
from wengert.tracing import at_place, current_context, holds_traced, join
from wengert.transformations import P, Transformed, Y

Function = Callable[..., Any]


# ---- scan ----


def scan(
    f: Function,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    *,
    checkpoint: Checkpoint = "none",
    memory: int | None = None,
) -> tuple[Any, Any]:
    """Go through arrays and carry a state along: the loop ``for x in xs: carry, y = f(carry, x)``.

    Parameters
    ----------
    f
        Takes the carry and a slice of `xs`; returns the next carry and what is to be collected (None for nothing).
    init
        The first carry: a number, an array or a tree of them.  Its structure, shapes and dtypes stay the same.
    xs
        An array or a tree of arrays, whose leading axes are gone through; None for none.
    length
        The number of steps, where there is no `xs`.
    reverse
        True to go from the last slice to the first; what is collected stands where its slice stood.
    checkpoint
        What is kept for a reverse sweep: ``"none"`` is recomputed (the residuals of all steps are kept), ``"all"``
        states are kept (each step is run once more), a number of snapshots (between which steps are run again, by
        Revolve's optimal schedule), or ``"auto"``: as much as fits into `memory`.
    memory
        A budget in bytes, for ``"auto"``, which it implies: for what is kept, the residuals of a step and the adjoints.
        A quarter of the machine's memory if it is not given.

    Returns
    -------
    tuple
        The last carry, and what was collected, stacked on a leading axis.

    Raises
    ------
    ResultError
        If a step returns a carry of another structure, shape or dtype; if `f` does other things at another step.
    ArgumentError
        If leading axes differ, or the budget is too small for any schedule.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> def step(total, x):
    ...     return total + x, total * x
    >>> carry, products = wg.scan(step, 0.0, np.array([1.0, 2.0, 3.0]))
    >>> float(carry), products
    (6.0, array([0., 2., 9.]))
    >>> wg.grad(lambda x: wg.scan(lambda c, x: (np.sin(c * x), None), 1.0, x)[0])(np.array([1.0, 2.0])).round(6)
    array([-0.120931, -0.09417 ])

    Source: the form is that of ``jax.lax.scan``.
    """
    slices, of_xs = leaves_of(xs, "xs")
    steps = _length("scan", slices, xs, length)
    start, of_carry = leaves_of(init, "init")

    def step(f: Function, carry: Any, _number: Any, x: Any) -> tuple[Any, Any]:
        returned = f(carry, x)
        if type(returned) is tuple and len(returned) == 2:
            return returned
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise not_a_pair("scan", f, returned)
        return returned[0], returned[1]

    names = names_of(f, [of_carry, of_xs])
    loop = Scan("scan", f, step, of_carry, of_xs, names, steps, reverse, None, _policy(checkpoint, memory))
    return loop(start, slices)


def _policy(checkpoint: Checkpoint, memory: int | None) -> Policy:
    """Return what is to be checkpointed, or raise ArgumentError saying what there is."""
    is_number = isinstance(checkpoint, (int, np.integer)) and not isinstance(checkpoint, bool)
    if (is_number and int(checkpoint) > 0) or checkpoint in ("none", "all", "auto"):
        if memory is not None and checkpoint not in ("none", "auto"):
            raise ArgumentError.at_caller(
                f"checkpoint={checkpoint!r} and memory={memory!r} are both given:",
                "Give a number of snapshots or a budget of bytes, not both.",
            )
        return Policy(checkpoint if memory is None else "auto", memory)
    raise ArgumentError.at_caller(
        f"checkpoint={checkpoint!r} is unknown:",
        'It is "none", "all", "auto" (with memory=, a budget in bytes) or a number of snapshots, 1 or more.',
    )


def _integer(name: str, what: str, value: Any, least: int | None = None) -> int:
    """Return a whole number, or raise ArgumentError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        raise ArgumentError.at_caller(
            f"{name}: {what} is {value!r}, and a whole number is needed" + (":" if least is None else ", 0 or more:"),
            "Count the steps by an int.",
        )
    return number


def _length(name: str, slices: Sequence[Any], xs: Any, length: int | None) -> int:
    for k, x in enumerate(slices):
        if not x.shape:
            raise ArgumentError.at_caller(
                f"{name} goes through leading axes, and {trees.paths(xs, 'xs')[k]} is a number:",
                "Close over it, or repeat it by np.full(length, ...).",
            )
    sizes = {x.shape[0] for x in slices}
    if length is not None:
        sizes.add(_integer(name, "length", length, 0))
    if len(sizes) > 1:
        paths = trees.paths(xs, "xs")
        said = [f"{path} has {x.shape[0]}" for path, x in zip(paths, slices, strict=True)]
        said += [] if length is None else [f"length is {length}"]
        raise ArgumentError.at_caller(
            f"{name} goes through leading axes of one size, and {', '.join(said)}:",
            "Give arrays with one size of leading axis, and length (if at all) the same.",
        )
    if not sizes:
        raise ArgumentError.at_caller(f"{name} is not told how many steps to make:", "Give xs or length.")
    return int(sizes.pop())


# ---- fori_loop, map ----


def fori_loop(
    lower: int,
    upper: int,
    body_fun: Function,
    init_val: Any,
    *,
    checkpoint: Checkpoint = "none",
    memory: int | None = None,
) -> Any:
    """Count: the loop ``for i in range(lower, upper): val = body_fun(i, val)``.

    Parameters
    ----------
    lower, upper
        The first number, and the one after the last.
    body_fun
        Takes the number and the value; returns the next value, of the same structure, shapes and dtypes.
    init_val
        The first value: a number, an array or a tree of them.
    checkpoint, memory
        What is kept for a reverse sweep; see `scan`.

    Returns
    -------
    tree
        The last value; the first, if there is no step.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> f = lambda x: wg.fori_loop(0, 5, lambda i, v: v + x**i, 0.0)
    >>> float(f(2.0)), float(wg.grad(f)(2.0))
    (31.0, 49.0)

    Source: the form is that of ``jax.lax.fori_loop``.
    """
    counter = range(_integer("fori_loop", "lower", lower), _integer("fori_loop", "upper", upper))
    start, of_carry = leaves_of(init_val, "init_val")

    def step(f: Function, carry: Any, number: Any, _x: Any) -> tuple[Any, Any]:
        return f(number, carry), None

    numbers, names = names_of(body_fun, [trees.leaf(), of_carry])
    loop = Scan(
        "fori_loop", body_fun, step, of_carry, trees.nothing(), [names, [], numbers], len(counter), False, counter,
        _policy(checkpoint, memory),
    )  # fmt: skip
    return loop(start, [])[0]


def map(  # noqa: A001 - as in JAX
    f: Function, xs: Any, *, checkpoint: Checkpoint = "none", memory: int | None = None
) -> Any:
    """Apply a function to each slice of an array and stack the results: ``np.stack([f(x) for x in xs])``.

    Parameters
    ----------
    f
        Takes a slice; returns a number, an array or a tree of them.
    xs
        An array or a tree of arrays, whose leading axes are gone through.
    checkpoint, memory
        What is kept for a reverse sweep; see `scan`.

    Returns
    -------
    tree
        The results, stacked on a leading axis.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.map(lambda x: x @ x, np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([ 5., 25.])

    Source: the form is that of ``jax.lax.map``.
    """
    slices, of_xs = leaves_of(xs, "xs")
    steps = _length("map", slices, xs, None)

    def step(f: Function, _carry: Any, _number: Any, x: Any) -> tuple[Any, Any]:
        return None, f(x)

    (names,) = names_of(f, [of_xs])
    policy = _policy(checkpoint, memory)
    loop = Scan("map", f, step, trees.nothing(), of_xs, [[], names], steps, False, None, policy)
    return loop([], slices)[1]


# ---- while_loop ----


def while_loop(
    cond_fun: Function, body_fun: Function, init_val: Any, *, checkpoint: Checkpoint = "none", memory: int | None = None
) -> Any:
    """Repeat while a test holds: the loop ``while cond_fun(val): val = body_fun(val)``.

    Reverse accumulation goes back through the steps that were made, however many.

    Parameters
    ----------
    cond_fun
        Takes the value; returns a truth value.
    body_fun
        Takes the value; returns the next one, of the same structure, shapes and dtypes.
    init_val
        The first value: a number, an array or a tree of them.
    checkpoint, memory
        What is kept for a reverse sweep; see `scan`.  Snapshots are chosen as the loop goes on, however long it is.

    Returns
    -------
    tree
        The last value.

    Raises
    ------
    ResultError
        If a step changes structure, shape or dtype of the value, or the test is no truth value.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> def sqrt(a):
    ...     return wg.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)
    >>> round(float(sqrt(2.0)), 12), round(float(wg.grad(sqrt)(2.0)), 12)
    (1.414213562373, 0.353553390593)

    Source: the form is that of ``jax.lax.while_loop``, which goes forward only.
    """
    policy = _policy(checkpoint, memory)
    start, of_carry = leaves_of(init_val, "init_val")
    if not current_context().tapes:
        return repeat(cond_fun, body_fun, [c.copy() for c in start], of_carry)
    return at_place(lambda: write_while(cond_fun, body_fun, start, of_carry, policy))


# ---- cond ----


def cond(pred: Any, true_fun: Function, false_fun: Function, *operands: Any) -> Any:
    """Choose: ``true_fun(*operands) if pred else false_fun(*operands)``.

    Parameters
    ----------
    pred
        A truth value.
    true_fun, false_fun
        Take the operands; return results of one structure, with the same shapes and dtypes.
    operands
        Numbers, arrays or trees of them.

    Returns
    -------
    tree
        The result of the branch that is taken.  Only its derivative is computed, so nothing of the other is in it.

    Raises
    ------
    ResultError
        If the branches return different structures, shapes or dtypes.

    Notes
    -----
    In a trace both branches are traced, so that the Program holds for either; a branch that fails where it is not taken
    (it asks for more elements than there are, say) is left out.  Where `pred` is not traced, this is an ``if``.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> f = lambda x: wg.cond(x > 0, np.log, lambda x: x * x, x)
    >>> float(wg.grad(f)(2.0)), float(wg.grad(f)(-2.0))
    (0.5, -4.0)
    >>> program = wg.trace(f)(2.0)
    >>> float(program(-3.0))
    9.0

    Source: the form is that of ``jax.lax.cond``.
    """
    if not isinstance(pred, Recordable):
        pred = join(pred) if holds_traced(pred) else np.asarray(pred)
    if pred.size != 1 or pred.dtype.kind not in "biuf":
        raise ArgumentError.at_caller(
            f"cond chooses by one truth value, and pred is an array of shape {pred.shape} and dtype {pred.dtype}:",
            "Use np.where to choose element by element; reduce pred by np.any or np.all.",
        )
    if not isinstance(pred, Recordable):
        return (true_fun if bool(pred) else false_fun)(*operands)
    return at_place(lambda: write_cond(pred, true_fun, false_fun, operands))


# ---- checkpoint ----


def checkpoint(f: Callable[P, Y]) -> Transformed[P, Y]:
    """Return the same function, of whose residuals nothing is kept for a reverse sweep: it is run once more instead.

    Parameters
    ----------
    f
        A function of arrays, or trees of them, that returns an array or a tree.

    Returns
    -------
    callable
        Computes the same.  A trace keeps one line of it, which holds the Program; a reverse sweep evaluates that again
        when it comes there.  A chain of checkpointed parts takes the memory of the parts' arguments, and of the
        residuals of one part.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> layer = wg.checkpoint(lambda x: np.tanh(x) * np.sin(x))
    >>> wg.grad(lambda x: np.sum(layer(layer(x))))(np.array([0.5])).round(6)
    array([0.330227])

    Source: the form is that of ``jax.checkpoint``.
    """

    def checkpointed(args: Any, kwargs: Any) -> Any:
        if not current_context().tapes:
            return f(*args, **kwargs)
        return at_place(lambda: write_checkpoint(f, args, kwargs))

    return Transformed(checkpoint, f, checkpointed)
