"""A local server of pages: one types a formula, and explores its chain rule in the browser.

It listens on this machine alone, answers nobody whom another site sends, and never runs what it is sent: formulas are
read by the grammar of `wengert.formula`.  It needs the extra ``serve``: Starlette and uvicorn.

>>> answer(None, {"formula": "x1*sin(x2)", "at": "0.5 2"})[0]
200
>>> status, page = answer(None, {"formula": "x1*(x2"})
>>> status, "A closing parenthesis is missing" in page
(400, True)
"""

from __future__ import annotations

import html
import math
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert.errors import FormulaError, WengertError
from wengert.explanation import explain
from wengert.explanation.page import write_message
from wengert.formula import function, names_in, parse

HOST = "127.0.0.1"
FIRST = "x1*(x2 - x3), x3*log(1 - x1)"
"""The formulas that a page begins with: the reference text's."""
STARTS = (0.5, 2.0, 3.0)
"""Where a formula is explained at first; further variables start at 1."""
MOST_VARIABLES = 40
"""A formula of more variables is not explained."""

Explained = tuple[Callable[..., Any], Sequence[Any]]
"""A function of the user's, and its arguments."""


def answer(own: Explained | None, query: Mapping[str, str]) -> tuple[int, str]:
    """Return the status and the page for a query: of its formulas, else of the user's function, else of an example."""
    text = query.get("formula", "").strip()
    try:
        if not text and own is not None:
            f, values = own
            return 200, explain(f)(*values).html(_form("", ""))
        text = text or FIRST
        values = _numbers(text, query.get("at", ""))
        at = " ".join(f"{value:g}" for value in values)
        return 200, explain(function(text))(*values).html(_form(text, at))
    except (WengertError, ArithmeticError, ValueError, NotImplementedError) as error:
        form = _form(text, query.get("at", ""), str(error))
        return 400, write_message(text or "wengert", form)


def _numbers(text: str, at: str) -> list[float]:
    """Return the numbers to explain formulas at; raise FormulaError or ValueError if they do not fit."""
    names = names_in(parse(text))
    if len(names) > MOST_VARIABLES:
        raise FormulaError(f"The formula has {len(names)} variables", text, 0, f"Write up to {MOST_VARIABLES}.")
    words = re.split(r"[\s,;]+", at.strip()) if at.strip() else []
    if not words:
        return [STARTS[k] if k < len(STARTS) else 1.0 for k in range(len(names))]
    numbers = []
    for word in words:
        try:
            numbers.append(float(word))
        except ValueError:
            raise ValueError(f"{word!r} is no number: the point is written as {' '.join(names)}.") from None
    if len(numbers) != len(names) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"The formula has {len(names)} variables, {', '.join(names)}: give a finite number for each.")
    return numbers


def _form(text: str, at: str, error: str = "") -> str:
    """Return the form in which formulas are typed, with what is wrong in them."""
    wrong = f'<pre class="wrong" id="wrong" role="alert">{html.escape(error)}</pre>' if error else ""
    invalid = ' aria-invalid="true" aria-describedby="wrong" autofocus' if error else ""
    return (
        '<form class="formula" method="get" action="/">\n'
        f'<label>Formulas <input type="text" name="formula" value="{html.escape(text)}" spellcheck="false" '
        f'autocomplete="off" placeholder="{html.escape(FIRST)}" maxlength="2000"{invalid}></label>\n'
        f'<label>at <input type="text" name="at" value="{html.escape(at)}" autocomplete="off"></label>\n'
        f'<button type="submit" class="primary">Explain</button>\n{wrong}</form>'
    )


def application(own: Explained | None = None) -> Any:
    """Return the server as an application of ASGI; `own` is what it explains until a formula is typed."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def page(request: Request) -> Response:  # in a thread of its own: an explanation takes time
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("This server answers its own pages alone.", 403)
        status, content = answer(own, request.query_params)
        headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(content, status, headers)

    hosts = Middleware(
        TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]
    )  # no name that another site points here
    return Starlette(routes=[Route("/", page)], middleware=[hosts])


def serve(own: Explained | None = None, port: int = 0, ready: Callable[[str], Any] = print) -> None:
    """Serve pages on this machine until it is interrupted; `ready` is told the address.

    Parameters
    ----------
    own
        What it explains until a formula is typed.
    port
        The port; 0 for one that is free.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError('pages are served by uvicorn and Starlette: pip install "wengert[serve]"') from error
    with socket.socket() as listening:
        listening.bind((HOST, port))
        listening.listen()
        ready(f"http://{HOST}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(application(own), log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])
