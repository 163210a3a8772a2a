"""Native code: the branches of a jitted function as machine code, made by LLVM, and called without the interpreter.

    Code -> loops -> LLVM text -> machine code -> a builtin function of Python's

`lowering` makes one kernel of a tree of branches: scalar operations in registers and nests of loops, with all decisions
in it (`loops` is that form, `operations` its arithmetic); `llvm` writes it, `engine` compiles it, and `entry` makes the
function that Python calls.  Each row of the table of primitives says how it is lowered (its facet `native`).  A branch
with a line that has no such facet stays with the Python printer, and so does every call that the entry does not take.

The next slices fit in here: reductions and gathers over large arrays are nests, a product of matrices is one more
statement of a kernel, a loop of a Program is a nest with registers that are carried.
"""
