"""The place of ``autograd.extend``: `primitive`, `defvjp`, `defjvp` and their like.

>>> import wengert.compat.autograd.numpy as np
>>> from wengert.compat.autograd import grad
>>> @primitive
... def logsumexp(x):
...     largest = np.max(x)
...     return largest + np.log(np.sum(np.exp(x - largest)))
>>> defvjp(logsumexp, lambda ans, x: lambda g: g * np.exp(x - ans))
>>> grad(logsumexp)(np.zeros(2))
array([0.5, 0.5])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.custom import custom_derivative, stop_gradient
from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian
from wengert.trees import flatten, map_leaves

Rule = Callable[..., Any]

__all__ = [
    "def_linear",
    "defjvp",
    "defjvp_argnum",
    "defjvp_argnums",
    "defvjp",
    "defvjp_argnum",
    "defvjp_argnums",
    "notrace_primitive",
    "primitive",
]


class primitive(custom_derivative):  # noqa: N801 - a decorator
    """Enter a function as a line of the list; `defvjp` and `defjvp` define its rules.

    >>> double = primitive(lambda x: 2 * x)
    >>> defjvp(double, lambda g, ans, x: 2 * g)
    >>> from wengert.compat.autograd import grad
    >>> float(grad(double)(1.0))
    2.0
    """

    def __init__(self, f: Rule) -> None:
        super().__init__(f)
        self._signature = None  # rules take the arguments as they were given
        self._known: dict[str, Callable[[int], Rule | None]] = {}
        self._older: dict[int, Rule | None] = {}

    def defgrad(self, vjpmaker: Rule, argnum: int = 0) -> None:
        """Define a reverse rule of one argument, as the oldest code does: ``lambda ans, *args: lambda g: ...``.

        >>> square = primitive(lambda x: x * x)
        >>> square.defgrad(lambda ans, x: lambda g: 2 * g * x)
        """
        self._add({argnum: vjpmaker})

    def defvjp_is_zero(self, argnums: Sequence[int] = (0,)) -> None:
        """Define that the derivative with respect to some arguments is zero.

        >>> sign = primitive(lambda x: abs(x) / x)
        >>> sign.defvjp_is_zero()
        """
        self._add(dict.fromkeys(argnums))

    def _add(self, rules: dict[int, Rule | None]) -> None:
        """Define reverse rules of some arguments beside those that older code has defined one after the other."""
        self._older.update(rules)
        defvjp(self, *self._older.values(), argnums=list(self._older))

    def _check(self, kind: str, known: Callable[[int], Rule | None]) -> None:
        """Raise an error where a rule is missing, instead of taking it for zero."""
        self._known[kind] = known
        rules = self.rules
        assert rules is not None
        jacobian = rules.jacobian

        def checked(call: Any, k: int, y: Any, operands: Sequence[Any]) -> LocalJacobian | None:
            at = call.argument_of(k)
            for kind, known in self._known.items():
                if at is None or _missing(known, at):
                    where = "an argument given by name" if at is None else f"argnum {at}"
                    raise UnsupportedError(
                        f"{kind} of {self.name} with respect to {where} is not defined.\n"
                        f"Define it by def{kind.lower()}, None where it is zero, and give that argument by position."
                    )
            return jacobian(call, k, y, operands)

        rules.jacobian = checked  # type: ignore[method-assign]


class _Missing(Exception):  # noqa: N818 - it says that, and never leaves this file
    pass


def _missing(known: Callable[[int], Rule | None], argnum: int) -> bool:
    try:
        known(argnum)
    except _Missing:
        return True
    return False


def _table(rules: Sequence[Rule | None], argnums: Sequence[int] | None) -> Callable[[int], Rule | None]:
    by_argnum = dict(zip(range(len(rules)) if argnums is None else argnums, rules, strict=True))

    def find(argnum: int) -> Rule | None:
        if argnum not in by_argnum:
            raise _Missing
        return by_argnum[argnum]

    return find


def _define_pulls(fun: primitive, known: Callable[[int], Rule | None]) -> None:
    def forward(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        y = fun(*args, **kwargs)
        return y, (y, args, kwargs)

    def backward(kept: Any, g: Any) -> tuple[Any, ...]:
        y, args, kwargs = kept
        makers = [None if _missing(known, k) else known(k) for k in range(len(args))]
        return tuple(
            None if make is None or not _real(a) else make(y, *args, **kwargs)(g)
            for make, a in zip(makers, args, strict=True)
        )

    fun.defvjp(forward, backward)
    fun._check("VJP", known)


def _real(value: Any) -> bool:
    return any(isinstance(leaf, float) or hasattr(leaf, "dtype") for leaf in flatten(value)[0])


def _define_pushes(fun: primitive, known: Callable[[int], Rule | None]) -> None:
    def rule(primals: Any, tangents: Any, **kwargs: Any) -> tuple[Any, Any]:
        y = fun(*primals, **kwargs)
        total: Any = None
        for k, t in enumerate(tangents):
            push = None if t is None or _missing(known, k) else known(k)
            if push is None:
                continue
            part = push(t, y, *primals, **kwargs)
            total = part if total is None else total + part
        return y, map_leaves(lambda leaf: 0 * leaf, y) if total is None else total

    fun.defjvp(rule)
    fun._check("JVP", known)


def defvjp(fun: primitive, *vjpmakers: Rule | None, argnums: Sequence[int] | None = None) -> None:
    """Define a reverse rule for each argument: ``lambda ans, *args: lambda g: ...``, None for zero.

    >>> square = primitive(lambda x: x * x)
    >>> defvjp(square, lambda ans, x: lambda g: 2 * g * x)
    """
    _define_pulls(fun, _table(vjpmakers, argnums))


def defvjp_argnum(fun: primitive, vjpmaker: Rule) -> None:
    """Define a reverse rule that takes the position: ``lambda argnum, ans, args, kwargs: lambda g: ...``.

    >>> square = primitive(lambda x: x * x)
    >>> defvjp_argnum(square, lambda argnum, ans, args, kwargs: lambda g: 2 * g * args[0])
    """
    _define_pulls(fun, lambda argnum: lambda ans, *args, **kwargs: vjpmaker(argnum, ans, args, kwargs))


def defvjp_argnums(fun: primitive, vjpmaker: Rule) -> None:
    """Define a reverse rule for several: ``lambda argnums, ans, args, kwargs: lambda g: [...]``.

    >>> times = primitive(lambda a, b: a * b)
    >>> defvjp_argnums(times, lambda argnums, ans, args, kwargs: lambda g: [g * args[1 - k] for k in argnums])
    """

    def one(argnum: int) -> Rule:
        def make(ans: Any, *args: Any, **kwargs: Any) -> Rule:
            pull = vjpmaker((argnum,), ans, args, kwargs)
            return lambda g: next(iter(pull(g)))

        return make

    _define_pulls(fun, one)


def defjvp(fun: primitive, *jvpfuns: Rule | str | None, argnums: Sequence[int] | None = None) -> None:
    """Define a forward rule for each argument: ``lambda g, ans, *args: ...``; None is zero, "same" a linear function.

    >>> square = primitive(lambda x: x * x)
    >>> defjvp(square, lambda g, ans, x: 2 * g * x)
    """

    def made(k: int, rule: Rule | str | None) -> Rule | None:
        if rule == "same":
            return lambda g, ans, *args, **kwargs: fun(*args[:k], g, *args[k + 1 :], **kwargs)
        assert not isinstance(rule, str), rule
        return rule

    places = range(len(jvpfuns)) if argnums is None else argnums
    _define_pushes(fun, _table([made(k, rule) for k, rule in zip(places, jvpfuns, strict=True)], argnums))


def defjvp_argnum(fun: primitive, jvpmaker: Rule) -> None:
    """Define a forward rule that takes the position: ``lambda argnum, g, ans, args, kwargs: ...``.

    >>> square = primitive(lambda x: x * x)
    >>> defjvp_argnum(square, lambda argnum, g, ans, args, kwargs: 2 * g * args[0])
    """
    _define_pushes(fun, lambda argnum: lambda g, ans, *args, **kwargs: jvpmaker(argnum, g, ans, args, kwargs))


def defjvp_argnums(fun: primitive, jvpmaker: Rule) -> None:
    """Define a forward rule for several: ``lambda argnums, gs, ans, args, kwargs: ...``.

    >>> square = primitive(lambda x: x * x)
    >>> defjvp_argnums(square, lambda argnums, gs, ans, args, kwargs: 2 * gs[0] * args[0])
    """
    _define_pushes(fun, lambda argnum: lambda g, ans, *args, **kwargs: jvpmaker((argnum,), (g,), ans, args, kwargs))


def def_linear(fun: primitive) -> None:
    """Define the rules of a function that is linear in each argument.

    >>> times = primitive(lambda a, b: a * b)
    >>> def_linear(times)
    """
    defjvp_argnum(fun, lambda argnum, g, ans, args, kwargs: fun(*args[:argnum], g, *args[argnum + 1 :], **kwargs))


def notrace_primitive(f: Rule) -> Rule:
    """Return a function whose derivative is zero.

    >>> from wengert.compat.autograd import grad
    >>> import numpy as np
    >>> float(grad(lambda x: x * notrace_primitive(np.floor)(x))(2.5))
    2.0
    """
    return lambda *args, **kwargs: f(*stop_gradient(args), **stop_gradient(kwargs))
