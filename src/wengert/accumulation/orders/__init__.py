"""The orders of accumulation that planning chooses from: a short file each, and its entry in this list.

>>> [order.name for order in ORDERS]
['forward', 'reverse']
"""

from wengert.accumulation.orders.forward import FORWARD
from wengert.accumulation.orders.order import Order
from wengert.accumulation.orders.reverse import REVERSE

ORDERS: tuple[Order, ...] = (FORWARD, REVERSE)
"""Of two orders that cost the same the first is taken: those that keep less come before those that keep more."""

__all__ = ["FORWARD", "ORDERS", "REVERSE", "Order"]
