"""The orders of accumulation that planning chooses from: a short file each, and its entry in this list.

>>> [order.name for order in ORDERS], [order.name for order in ON_REQUEST]
(['forward', 'reverse'], ['elimination', 'waist'])
"""

from dataclasses import replace

from wengert.accumulation.orders.elimination import ELIMINATION, Search, searching
from wengert.accumulation.orders.forward import FORWARD
from wengert.accumulation.orders.order import Order
from wengert.accumulation.orders.reverse import REVERSE
from wengert.accumulation.orders.waist import WAIST

ORDERS: tuple[Order, ...] = (FORWARD, REVERSE)
"""Of two orders that cost the same the first is taken: those that keep less come before those that keep more."""

HESSIAN_ORDERS: tuple[Order, ...] = (
    replace(FORWARD, name="forward over reverse"),
    replace(REVERSE, name="reverse over reverse"),
)
"""The orders of a Hessian: of the Jacobian of the gradient, which is accumulated in reverse."""

ON_REQUEST: tuple[Order, ...] = (ELIMINATION, WAIST)
"""The orders that planning takes longer for than most functions take: they are compared if `effort` is asked for."""

__all__ = [
    "ELIMINATION",
    "FORWARD",
    "HESSIAN_ORDERS",
    "ON_REQUEST",
    "ORDERS",
    "REVERSE",
    "WAIST",
    "Order",
    "Search",
    "searching",
]
