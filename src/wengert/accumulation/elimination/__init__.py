"""Elimination: the Jacobian by eliminating intermediate variables from the graph of scalars, in the best order found.

Forward and reverse are two of the orders; between them lie all others (*cross-country* elimination, Griewank & Walther,
chapter 9), which may multiply less than both.  To find the best is NP-complete, so several are compared.

In the order of their imports:

- `graph`: the graph without numbers, and what the elimination of a vertex multiplies and adds;
- `factors`: partials and their products, of which signs, ones and zeros are known;
- `heuristics`: orders by rule: forward, reverse, Markowitz's and its relatives;
- `search`: the best order of a small graph, and simulated annealing for a larger one;
- `edges`: eliminations of single edges before a vertex goes, where that saves products;
- `portfolio`: all of them side by side, and the best;
- `program`: the Program that an elimination yields.
"""

from wengert.accumulation.elimination.graph import Counts, Graph
from wengert.accumulation.elimination.portfolio import CONVENTIONS, Elimination, best_of, portfolio
from wengert.accumulation.elimination.program import JacobianProgram, eliminate

__all__ = ["CONVENTIONS", "Counts", "Elimination", "Graph", "JacobianProgram", "best_of", "eliminate", "portfolio"]
