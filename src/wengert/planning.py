"""plan"""
from wengert.linearization import Linearization


def choose(linearization: Linearization) -> str:
    n = sum(x.size for x in linearization.inputs)
    m = sum(y.size for y in linearization.values)
    return "forward" if n <= m else "reverse"
