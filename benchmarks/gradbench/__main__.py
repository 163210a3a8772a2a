"""The tool: JSON lines in on standard input, one JSON line out on standard output for each.

It answers ``start``, ``define``, ``evaluate`` and ``analysis``; what goes wrong is told in the answer, and nothing
else is printed on standard output.  Times are those of the clock, or with ``--processor`` those of the processor, which
other work on a machine disturbs less.

Run:  python -m benchmarks.gradbench [--processor]
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import contextlib
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

EVALS = ("hello", "ba", "det", "gmm", "ht", "kmeans", "llsq", "lse", "lstm", "ode", "particle", "saddle")
Message = dict[str, Any]


def plain(result: Any) -> Any:
    """Return a result as JSON has it: lists, floats and integers."""
    if isinstance(result, dict):
        return {name: plain(value) for name, value in result.items()}
    if isinstance(result, (np.ndarray, np.generic)):
        return result.tolist()
    return result


NANOSECONDS = time.process_time_ns if "--processor" in sys.argv[1:] else time.perf_counter_ns


def timed(call: Callable[[], Any], runs: int, seconds: float) -> tuple[Any, list[Message]]:
    """Call until so many runs and so many seconds are reached; return the last result and the time of each run."""
    timings = []
    elapsed = 0
    while len(timings) < runs or elapsed < 1e9 * seconds:
        start = NANOSECONDS()
        result = call()
        nanoseconds = NANOSECONDS() - start
        elapsed += nanoseconds
        timings.append({"name": "evaluate", "nanoseconds": nanoseconds})
    return result, timings


def evaluate(message: Message) -> Message:
    module = importlib.import_module(f".{message['module']}", __package__)
    function = module.FUNCTIONS[message["function"]]
    data = message["input"]
    options = data if isinstance(data, dict) else {}
    arguments = module.arguments(data)
    result, timings = timed(lambda: function(*arguments), options.get("min_runs", 1), options.get("min_seconds", 0))
    answer = getattr(module, "answer", None)
    return {"success": True, "output": plain(answer(result) if answer else result), "timings": timings}


def reply(message: Message) -> Message:
    match message["kind"]:
        case "start":
            return {"tool": "wengert"}
        case "define":
            return {"success": message["module"] in EVALS}
        case "evaluate":
            return evaluate(message)
    return {}


def respond(line: str) -> Message:
    """Return the answer to a line, an error of any kind as the text of it."""
    message: Any = None
    try:
        message = json.loads(line)
        return {"id": message["id"], **reply(message)}
    except Exception as error:
        traceback.print_exc()
        text = "".join(traceback.format_exception_only(error)).strip()
        return {"id": message.get("id") if isinstance(message, dict) else None, "success": False, "error": text}


def main(lines: Iterable[str] = sys.stdin) -> None:
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # a function that prints does not disturb the protocol
        for line in lines:
            if line.strip():
                print(json.dumps(respond(line)), file=output, flush=True)


if __name__ == "__main__":
    main()
