"""Native code: the branches of a jitted function as machine code, made by LLVM, and called without the interpreter.

    Code -> loops -> LLVM text -> machine code -> a builtin function of Python's

`lowering` makes one kernel of a tree of branches: scalar operations in registers and nests of loops, with all decisions
in it (`loops` is that form, `operations` its arithmetic); `llvm` writes it, `engine` compiles it, and `entry` makes the
function that Python calls.  Each row of the table of primitives says how it is lowered (its facet `native`).

Where that is not all of a function, because a line has no such facet or arrays are large, `grouping` chooses lines that
become kernels among the lines of the Python code: `expressions` is their graph, `nests` the fused loops over arrays of
any size, and `kernels` the functions that Python calls.  Lines are split into pieces; of many pieces that are alike few
are lowered (`lowerings`).  Whatever machine code does not take, Python computes.
"""
