"""A tool for GradBench, the benchmark of automatic differentiation across languages (github.com/gradbench/gradbench).

Each of its twelve evals is a module: the function in plain NumPy, the derivative by one call of wengert, and how the
JSON of the eval becomes arguments and the result JSON again.  ``python -m benchmarks.gradbench`` speaks the protocol,
and ``python -m benchmarks.gradbench.driver`` sends it inputs, checks every answer and prints a table.
"""
