"""Accumulation: an order of multiplying local Jacobians, and nothing else.

Every derivative of a program is a sum over the paths of its graph of products of local partials.  The ways to compute
it differ only in the order in which the factors meet:

- *forward* (inside-out): a sweep along the list, one pass an independent variable;
- *reverse* (outside-in): a sweep against it, one pass a dependent variable;
- a *block* of seeds travels in one sweep (vector mode).

``sweeps`` holds both, and ``orders`` lists what planning chooses from: an order between the two, or a compressed set of
seeds, is a further file there.
"""

from wengert.accumulation.sweeps import forward, holds_nan, reverse

__all__ = ["forward", "holds_nan", "reverse"]
