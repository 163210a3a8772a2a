"""Plain NumPy in, a Wengert list out: the user's function is run on real values, and what it does is written down.

A *traced value* stands for an array or scalar; it carries its value along, so shapes, dtypes and branches come from
NumPy itself.  Operators, ufuncs (NEP 13) and other NumPy functions (NEP 18) that meet one append a row to a *tape* and
return the next traced value.  Traces nest: the values of an inner trace may be traced values of an outer one, and what
the inner derivative computes is then written on the outer tape.  Each trace has a level; where values of two traces
meet, the inner one records and takes the other as a constant, so no tangent is ever confused with another's.

- `tape`: the rows of a trace, and what a thread is tracing;
- `traced`: the traced value, and how what is done to it becomes a row;
- `views`: what shares memory with what, and how it lies there;
- `assignment`: ``a[i] = v``, ``a += b``, ``out=``;
- `patching`: calls that NumPy's protocols do not bring here (``np.array([...])``, ``np.zeros``, SciPy's functions);
- `errstate`: warnings that name the user's line;
- `fingerprints`: large plain arrays, which are not copied onto the tape, must not change under way;
- `unsupported`: functions of SciPy without a rule, by the name under which the user's line called them;
- `messages`: what users are told where tracing cannot go on;
- `trace`: a run of the user's function, and the Program that it makes.
"""

from wengert.tracing.errstate import watch
from wengert.tracing.fingerprints import Unchanged
from wengert.tracing.patching import catchers
from wengert.tracing.tape import (
    COPIED,
    Context,
    Row,
    Tape,
    at_place,
    current_context,
    outputs_of,
    results_of,
    what_is_kept,
)
from wengert.tracing.trace import Group, Trace, build_program, parameter_names, record, run
from wengert.tracing.traced import Traced, all_constant, holds_traced, innermost, join, plain, record_results, settled
from wengert.tracing.views import laid_like

__all__ = [
    "COPIED",
    "Context",
    "Group",
    "Row",
    "Tape",
    "Trace",
    "Traced",
    "Unchanged",
    "all_constant",
    "at_place",
    "build_program",
    "catchers",
    "current_context",
    "holds_traced",
    "innermost",
    "join",
    "laid_like",
    "outputs_of",
    "parameter_names",
    "plain",
    "record",
    "record_results",
    "results_of",
    "run",
    "settled",
    "watch",
    "what_is_kept",
]
