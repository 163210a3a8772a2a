"""Plain NumPy in, a Wengert list out: the user's function is run on real values, and what it does is written down.

A *traced value* stands for an array or scalar; it carries its value along, so shapes, dtypes and branches come from
NumPy itself.  Operators, ufuncs (NEP 13) and other NumPy functions (NEP 18) that meet one append a row to a *tape* and
return the next traced value.  Traces nest: the values of an inner trace may be traced values of an outer one, and what
the inner derivative computes is then written on the outer tape.  Each trace has a level; where values of two traces
meet, the inner one records and takes the other as a constant, so no tangent is ever confused with another's.

In the order of their imports:

- `context`: what a thread is tracing;
- `names`: what names of functions mean while a trace runs;
- `fingerprints`: large plain arrays, which are not copied onto the tape, must not change under way;
- `tape`: the rows of a trace;
- `layout`: how arrays lie in memory;
- `callers`: what the code that asks something of a traced value wants of it;
- `unsupported`: what users read where tracing cannot go on, and what to write instead;
- `traced`: the traced value, and how what is done to it becomes a row;
- `flat`: its elements one after the other;
- `views`: which traced arrays share memory with another;
- `elements`: single elements of an array that are read and written, ``y[i] = 0.9 * y[i - 1] + x[i]``;
- `results`: results of NumPy's functions are views, or lie in memory, as NumPy's own;
- `assignment`: ``a[i] = v``, ``a += b``, ``out=``;
- `adoption`: plain arrays that the function has made, once a traced value is written into them;
- `conversions`: ``float(x)`` in a package's code;
- `lists`: NumPy's functions that are called with lists of traced values;
- `methods`: what else an array has;
- `patching`: calls that NumPy's protocols do not bring here (``np.array([...])``, ``math.sin``, SciPy's functions);
- `jitted`: functions that Numba has compiled run as Python;
- `errstate`: warnings that name the user's line;
- `trace`: a run of the user's function, and the Program that it makes; the recorder of other Programs.
"""

from wengert.tracing.assignment import root_of_view
from wengert.tracing.context import Context, at_place, current_context, threads
from wengert.tracing.errstate import (
    IGNORING,
    RAISING,
    USUAL,
    error_state,
    postponing_warnings,
    raising,
    under,
    warn_of_domain,
    watch,
)
from wengert.tracing.fingerprints import Unchanged
from wengert.tracing.layout import laid_like
from wengert.tracing.methods import complete
from wengert.tracing.patching import patched
from wengert.tracing.tape import COPIED, Lengths, LongTrace, Row, Tape, is_kept, outputs_of, results_of, what_is_kept
from wengert.tracing.trace import (
    Group,
    Trace,
    build_program,
    parameter_names,
    record,
    run,
    warn_of_decisions,
    warn_of_guards,
)
from wengert.tracing.traced import (
    Traced,
    all_constant,
    as_scalar,
    constant,
    holds_traced,
    innermost,
    join,
    plain,
    record_results,
    settled,
)
from wengert.tracing.unsupported import means_more, refuse_kind

complete()

__all__ = [
    "COPIED",
    "IGNORING",
    "RAISING",
    "USUAL",
    "Context",
    "Group",
    "Lengths",
    "LongTrace",
    "Row",
    "Tape",
    "Trace",
    "Traced",
    "Unchanged",
    "all_constant",
    "as_scalar",
    "at_place",
    "build_program",
    "constant",
    "current_context",
    "error_state",
    "holds_traced",
    "innermost",
    "is_kept",
    "join",
    "laid_like",
    "means_more",
    "outputs_of",
    "parameter_names",
    "patched",
    "plain",
    "postponing_warnings",
    "raising",
    "record",
    "record_results",
    "refuse_kind",
    "results_of",
    "root_of_view",
    "run",
    "settled",
    "threads",
    "under",
    "warn_of_decisions",
    "warn_of_domain",
    "warn_of_guards",
    "watch",
    "what_is_kept",
]
