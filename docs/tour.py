"""A tour of wengert that is a program: one function goes through every stage, and each stage prints what it made.

Run it with ``python docs/tour.py``.  The function is the reference example, f: R^3 -> R^2,

    y_1 = x_1 (x_2 - x_3),    y_2 = x_3 log(1 - x_1).
"""

import numpy as np

import wengert as wg
from wengert.linearization import Linearization, edges
from wengert.program import evaluate_line, interpret
from wengert.program.structure import structure


def f(x):
    """Return the reference example."""
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


x = np.array([0.5, 2.0, 3.0])


def stage(title):
    """Head a stage."""
    print(f"\n---- {title} {'-' * (70 - len(title))}")


# ---- 1. Trace: run the function, and write down what it does ----
#
# The function runs once, on real values.  Each operation that meets a traced value appends a line, and the values ride
# along: shapes, dtypes and branches are NumPy's own.

stage("1. the Wengert list")
program = wg.trace(f)(x)
print(program.listing(places=False))

# ---- 2. Program: a list of lines is a value ----
#
# All that goes along the list, line by line, is a handler given to one walk.  Evaluation is the plainest:

stage("2. one walk: evaluation")
values = interpret(program, list(x), evaluate_line)
print({str(variable): round(float(value), 4) for variable, value in values.items()})

# How deep is each variable below the inputs?  The same walk, with another handler:

depths = interpret(program, [0, 0, 0], lambda line, depth: 1 + max(depth), constant=lambda value: 0)
print({str(variable): depth for variable, depth in depths.items()})

# Programs that differ in their constants alone have the same structure.  Code is looked up by it.

stage("2. one structure, other particulars")
doubled, tripled = (wg.trace(lambda x, k=k: k * np.ones(2) * x)(np.zeros(2)) for k in (2.0, 3.0))
(key, particulars), (other_key, other_particulars) = structure(doubled), structure(tripled)
print("same structure:", key == other_key)
print("particulars:", particulars, other_particulars)

# ---- 3. Linearize: a local Jacobian on every edge ----
#
# One rule an argument, whatever the mode: d log(u)/du = 1/u serves forward and reverse.

stage("3. the linearized graph")
linearization = Linearization.of_program(program, x)
for row in linearization.rows:
    for source, target, partial in edges(row):
        print(f"from position {source} to {target}: {float(partial.dense()[0, 0]):.4g}")

# ---- 4. Plan: count each order before anything runs ----

stage("4. the plan")
print(wg.plan(f)(x))

# ---- 5. Accumulate: multiply the local Jacobians in the order that costs least ----

stage("5. the Jacobian")
J = wg.jacobian(f)(x)
print(J)
assert np.allclose(J, wg.jacobian(f, mode="forward")(x))
assert np.allclose(J, wg.jacobian(f, mode="reverse")(x))

# What accumulation yields is a Program again, so derivatives of derivatives need no second mechanism:

stage("5. the adjoint of one result, as a Program")
print(wg.trace(wg.grad(lambda x: f(x)[1]))(x).listing(places=False))

# ---- 6. Compile: the same Program as code ----

stage("6. the code that is read")
print(program.source())

# `wg.jit` traces once, checks every decision that the function took on a value, and keeps a function for each branch:

stage("6. the code that runs")
jitted = wg.jit(wg.jacobian(f))
assert np.array_equal(jitted(x), J)
jitted.show("code")

# ---- 7. Explain: the derivation, as one does it by hand ----

stage("7. the explanation, its first lines")
print("\n".join(str(wg.explain(f)(x)).splitlines()[:12]))
