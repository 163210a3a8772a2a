"""Planning: the orders of accumulation side by side, what each costs, which one is taken and why.

The counts are exact: a pass of each order is counted as it would be executed (`wengert.accumulation.counting`), so the
whole Jacobian costs ``function + partials + passes x pass``, and n passes are counted without being run.  This package
alone chooses: what a `Plan` marks is what `wengert.jacobian` and `wengert.hessian` run and `wengert.explain` names.

- ``machine``: seconds, predicted from counts;
- ``compressions``: the colorings of a pattern, and what is remembered of patterns;
- ``candidates``: one row of a plan;
- ``plan``: the rows as a mapping and a table;
- ``choice``: which is taken.
"""

from wengert.planning.candidates import Candidate
from wengert.planning.choice import Compressed, Request, choose, choose_diagonal, is_searched, plan_trace
from wengert.planning.compressions import check_found
from wengert.planning.plan import COUNTED, Plan

__all__ = [
    "COUNTED",
    "Candidate",
    "Compressed",
    "Plan",
    "Request",
    "check_found",
    "choose",
    "choose_diagonal",
    "is_searched",
    "plan_trace",
]
