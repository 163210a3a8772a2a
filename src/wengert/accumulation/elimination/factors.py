"""Factors: local partials and their products, of which signs, ones and zeros are known without being computed.

>>> Factor.of(-1.0) * Factor.of(np.array([2.0, 3.0]))
Factor(sign=-1, value=array([2., 3.]))
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert.primitives.numpy.structural import astype
from wengert.tracing import Traced


class Factor(NamedTuple):
    """A local partial, or a product of such: a sign and a value; None is 1.

    >>> Factor(-1, None) * Factor(-1, 3.0), Factor(1, None) + Factor(-1, 2.0)
    (Factor(sign=1, value=3.0), Factor(sign=-1, value=None))
    """

    sign: int
    value: Any

    @classmethod
    def of(cls, partial: Any) -> Factor:
        """Return a partial as a factor; of a number the sign is known."""
        if type(partial) is Traced or np.ndim(partial):  # a truth value, which would not add up, becomes a number
            return cls(1, partial if partial.dtype.kind == "f" else astype(partial, dtype=np.dtype(float)))
        number = float(partial)
        return cls(-1 if number < 0 else 1, None if abs(number) == 1 else abs(number))

    @property
    def is_unit(self) -> bool:
        """True if it is 1 or -1."""
        return self.value is None

    @property
    def is_zero(self) -> bool:
        """True if it is zero whatever the arguments are."""
        return type(self.value) is float and self.value == 0

    @property
    def signed(self) -> Any:
        """The value with its sign."""
        value = 1.0 if self.value is None else self.value
        return value if self.sign > 0 else -value

    def __mul__(self, other: Any) -> Factor:
        if self.is_zero or other.is_zero:
            return ZERO
        a, b = self.value, other.value
        return Factor(self.sign * other.sign, b if a is None else a if b is None else a * b)

    def __add__(self, other: Any) -> Factor:
        if self.is_zero or other.is_zero:
            return other if self.is_zero else self
        a, b = (1.0 if f.value is None else f.value for f in (self, other))
        total = Factor(self.sign, a + b if self.sign == other.sign else a - b)
        return self.of(total.signed) if type(total.value) is float else total


ZERO = Factor(1, 0.0)
