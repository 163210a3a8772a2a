r"""The command line: ``wengert explain | plan | trace | check FILE.py:FUNCTION --at NUMBERS``.

The file is executed as ``python FILE.py`` would be, the function is taken from it, and its arguments come from the
command line, from a data file or from the file's own example.  In a terminal the output is colored; piped, it is the
same text without color.  The exit code says what happened::

    0  done (check: the derivatives are right)
    1  check: the derivatives are wrong, or none could be checked
    2  the command line is wrong
    3  the file, the function or its arguments cannot be had
    4  the function cannot be evaluated or differentiated

>>> parse_at(("0.5 2 3",))
[array([0.5, 2. , 3. ])]
>>> parse_at(("[[1, 2]]", "3"))
[array([[1., 2.]]), 3.0]
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import operator
import os
import re
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click

from wengert.errors import DomainWarning, FormulaError, LoadError, WengertError
from wengert.formula import function as function_of_formulas

MODES = ("forward", "reverse", "both")
FORMS = ("text", "markdown", "latex", "html", "svg", "slide", "slide-markdown", "slide-latex")
EXITS = """\b
Exit codes:
  0  done (check: the derivatives are right)
  1  check: the derivatives are wrong, or none could be checked
  2  the command line is wrong
  3  the file, the function or its arguments cannot be had
  4  the function cannot be evaluated or differentiated"""


class Failure(click.ClickException):
    """The end of a command: a message without a traceback, and an exit code."""

    def show(self, file: Any = None) -> None:
        first, newline, rest = self.message.partition("\n")
        head = click.style("error: ", fg="red", bold=True) + click.style(first, bold=True)
        click.echo(head + newline + rest, err=True)


class CannotLoad(Failure):
    """The file, the function or its arguments cannot be had."""

    exit_code = 3


class CannotDifferentiate(Failure):
    """The function cannot be evaluated or differentiated."""

    exit_code = 4


# ---- Arguments of the command ----


def is_number(token: str) -> bool:
    """Return whether a word on the command line is a number or a JSON list of them."""
    if token.startswith("["):
        return True
    try:
        float(token)
    except ValueError:
        return False
    return True


class Command(click.Command):
    """A command whose option ``--at`` takes as many numbers as follow it, negative ones included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        gathered: list[str] = []
        words = list(args)
        while words:
            word = words.pop(0)
            option, _, attached = word.partition("=")  # --at=0.5,2
            if option != "--at":
                gathered.append(word)
                continue
            numbers = [attached] if attached.startswith("[") else attached.replace(",", " ").split()
            while words and is_number(words[0]):
                numbers.append(words.pop(0))
            if not numbers:
                instead = f", not {words[0]!r}" if words else ""
                raise click.UsageError(f"--at takes numbers{instead}: --at 0.5 2 3", ctx)
            gathered += ["--at", " ".join(numbers)]
        return super().parse_args(ctx, gathered)


def parse_at(groups: Sequence[str]) -> list[Any]:
    """Return the argument after each ``--at``: a number, a vector of several, or the array of a JSON list."""
    import numpy as np

    values: list[Any] = []
    for group in groups:
        if group.startswith("["):
            try:
                values.append(np.array(json.loads(group), dtype=float))
            except (ValueError, TypeError) as error:
                raise click.UsageError(f"--at takes numbers or one JSON list, not {group!r}: {error}.") from None
        else:
            words = group.split()
            values.append(float(words[0]) if len(words) == 1 else np.array([float(word) for word in words]))
    return values


# ---- The file and its function ----


@contextlib.contextmanager
def loaded(target: str) -> Iterator[tuple[Callable[..., Any], dict[str, Any], str]]:
    """Execute a file as ``python FILE.py`` would, and yield the function, the file's names and its path.

    While it lasts the file is ``__main__`` and its folder is the first on the path.
    """
    name, colon, function = target.rpartition(":")
    if not colon or re.fullmatch(r"[\\/].*", function):  # C:\f.py
        name, function = target, ""
    path = os.path.abspath(name)
    if not name.endswith(".py"):
        near = f"{name}.py:{function}" if os.path.exists(f"{path}.py") else "wengert trace model.py:loss --at 0.5 2"
        raise LoadError(f"{name!r} is not a Python file.\nName one and a function in it: {near}")
    if not os.path.isfile(path):
        folder = os.path.dirname(path)
        files = sorted(f for f in os.listdir(folder) if f.endswith(".py")) if os.path.isdir(folder) else []
        similar = difflib.get_close_matches(os.path.basename(path), files, n=1)
        what = f"There is no such file in {folder}."
        if similar:
            what = f"Did you mean {os.path.join(os.path.dirname(name), similar[0])}?"
        raise LoadError(f"{name} does not exist.\n{what}")
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__dict__["__builtins__"] = __builtins__
    main, argv, path_before = sys.modules["__main__"], sys.argv, list(sys.path)
    sys.modules["__main__"], sys.argv = module, [name]
    sys.path.insert(0, os.path.dirname(path))
    try:
        execute(path, module.__dict__)
        yield find(module.__dict__, function, name), module.__dict__, name
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = main, argv, path_before


def execute(path: str, names: dict[str, Any]) -> None:
    """Run a file; what it raises ends the command, with the part of the traceback that is the file's own."""
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        exec(code, names)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise LoadError(f"{os.path.basename(path)} ended itself with exit code {end.code}.") from None
    except BrokenPipeError:
        raise  # whoever reads the output has read enough
    except Exception as error:
        raise LoadError(f"{os.path.basename(path)} cannot be executed:\n{trimmed(error)}") from error


def find(names: Mapping[str, Any], function: str, file: str) -> Callable[..., Any]:
    """Look a function up by name (``f`` or ``Class.method``); without a name, take the only one that there is."""
    here = [
        name
        for name, value in names.items()
        if isinstance(value, types.FunctionType) and value.__module__ == "__main__" and not name.startswith("_")
    ]
    listing = f"{file} defines {', '.join(here)}." if here else f"{file} defines no function."
    if not function:
        if len(here) == 1:
            return names[here[0]]  # type: ignore[no-any-return]
        usage = f"Name one of them: {file}:{here[0]}" if here else "Write one: def f(x): ..."
        raise LoadError(f"{file} does not say which function.\n{listing} {usage}")
    first, _, attributes = function.partition(".")
    try:
        value = operator.attrgetter(attributes)(names[first]) if attributes else names[first]
    except (KeyError, AttributeError):
        near = difflib.get_close_matches(function, here, n=1, cutoff=0.5)
        hint = f"Did you mean {file}:{near[0]}? " if near else ""
        raise LoadError(f"{file} has no function {function}.\n{hint}{listing}") from None
    if not callable(value):
        raise LoadError(f"{function} in {file} is of type {type(value).__name__}, not a function.\n{listing}")
    return value  # type: ignore[no-any-return]


def trimmed(error: BaseException) -> str:
    """Write a traceback of the user's frames alone."""
    libraries = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, click.__file__))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(libraries)]
    while frames and f"{os.sep}site-packages{os.sep}" in frames[0].filename:
        del frames[0]  # what lies between wengert and the user's function, not what that calls
    head = ["Traceback (most recent call last):\n"] if frames else []
    return "".join([*head, *traceback.format_list(frames), *traceback.format_exception_only(error)]).rstrip()


# ---- The function's arguments ----


class Parameters(NamedTuple):
    """The positional arguments that a function takes."""

    function: str
    names: tuple[str, ...] = ()
    required: int = 0
    more: bool = True
    """True if it takes any number of them (``*args``), or does not tell."""

    @classmethod
    def of(cls, f: Callable[..., Any]) -> Parameters:
        """Read the signature of a function."""
        name = getattr(f, "__name__", type(f).__name__)
        try:
            parameters = inspect.signature(f).parameters.values()
        except (TypeError, ValueError):
            return cls(name)
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        named = [p for p in parameters if p.kind in kinds]
        required = sum(p.default is p.empty for p in named)
        return cls(name, tuple(p.name for p in named), required, any(p.kind is p.VAR_POSITIONAL for p in parameters))

    def take(self, count: int) -> bool:
        """Return whether the function can be called with so many."""
        return self.required <= count and (self.more or count <= len(self.names))

    def __str__(self) -> str:
        return f"{self.function}({', '.join([*self.names, *['...'] * self.more])})"


def arguments(
    f: Callable[..., Any], names: Mapping[str, Any], file: str, at: Sequence[str], data: str | None
) -> list[Any]:
    """Return the arguments to call the function with, from ``--at``, ``--args`` or the file's example."""
    if at and data is not None:
        raise click.UsageError("Give either --at or --args, not both.")
    parameters = Parameters.of(f)
    if at:
        return from_command_line(parameters, parse_at(at))
    if data is not None:
        return fitted(parameters, read(data), data)
    examples = {f"{parameters.function}.example": getattr(f, "example", None)}
    examples |= {name: names.get(name) for name in ("example", "EXAMPLE")}
    for name, value in examples.items():
        if value is not None and not callable(value):
            return fitted(parameters, value, f"{name} in {file}")
    raise click.UsageError(
        f"{parameters} is to be evaluated somewhere.\n"
        f"Give its arguments with --at NUMBERS or --args FILE, or write  example = (...)  in {file}."
    )


def from_command_line(parameters: Parameters, values: list[Any]) -> list[Any]:
    """Fit what followed ``--at`` to the function: several, or one for its one parameter, or a number for each."""
    import numpy as np

    if len(values) > 1:
        if parameters.take(len(values)):
            return values
        raise click.UsageError(f"{parameters} does not take {len(values)} arguments, one for each --at.")
    (value,) = values
    vector = np.ndim(value) == 1
    if parameters.take(1) and (parameters.names or not vector):
        return values
    if vector and parameters.take(len(value)):
        return [float(number) for number in value]
    size = int(np.size(value))
    numbers = "one array" if np.ndim(value) > 1 else "1 number" if size == 1 else f"{size} numbers"
    raise click.UsageError(
        f"{parameters} takes {parameters.required} arguments, and --at gives {numbers}.\n"
        "Give a number for each, or one --at for each: --at 0.5 2 --at 3."
    )


def read(path: str) -> Any:
    """Read arguments from a .npy, .npz or .json file."""
    import numpy as np

    kind = os.path.splitext(path)[1].lower()
    if kind not in (".npy", ".npz", ".json"):
        raise click.UsageError(f"--args takes a .npy, .npz or .json file, not {path!r}.")
    try:
        if kind == ".json":
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            if isinstance(content, dict):
                return {name: from_json(value) for name, value in content.items()}
            return from_json(content)
        loaded = np.load(path, allow_pickle=False)
        if kind == ".npy":
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded}
    except FileNotFoundError:
        raise LoadError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} cannot be read: {error}") from None


def from_json(value: Any) -> Any:
    """Convert lists of numbers to arrays of floats; leave single numbers (an exponent, say) as they are."""
    import numpy as np

    return np.array(value, dtype=float) if isinstance(value, list) else value


def fitted(parameters: Parameters, value: Any, origin: str) -> list[Any]:
    """Fit read or example arguments to the function: a tuple in order, a dict by name, else the only one."""
    if isinstance(value, dict):
        names = parameters.names or tuple(value)
        strange = [name for name in value if name not in names]
        missing = [name for name in names[: parameters.required] if name not in value]
        if strange or missing:
            what = f"names {', '.join(strange)}" if strange else f"does not name {', '.join(missing)}"
            raise LoadError(f"{origin} {what}, and the function is {parameters}.")
        present = [name for name in names if name in value]
        if tuple(present) != names[: len(present)]:
            gap = next(name for name in names if name not in value)
            raise LoadError(f"{origin} leaves out {gap}, which stands before {present[-1]}: give it too.")
        return [value[name] for name in present]
    values = list(value) if isinstance(value, tuple) else [value]
    if not parameters.take(len(values)):
        counted = f"{len(values)} argument{'s' * (len(values) != 1)}"
        raise LoadError(f"{origin} gives {counted}, and the function is {parameters}.")
    return values


# ---- Running and printing ----


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """End a command that fails in the function with a message, and print each domain warning once."""
    printed: set[str] = set()

    def warn(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, DomainWarning):
            if str(message) not in printed:
                click.echo(click.style("warning: ", fg="yellow", bold=True) + str(message), err=True)
            printed.add(str(message))
        else:
            usual(message, category, *place, **options)

    usual, warnings.showwarning = warnings.showwarning, warn
    try:
        yield
    except (click.ClickException, BrokenPipeError):
        raise
    except WengertError as error:
        raise CannotDifferentiate(str(error)) from error
    except Exception as error:
        raise CannotDifferentiate(f"the function cannot be evaluated there:\n{trimmed(error)}") from error
    finally:
        warnings.showwarning = usual


@contextlib.contextmanager
def prepared(
    target: str | None, formulas: str | None, at: Sequence[str], data: str | None
) -> Iterator[tuple[Callable[..., Any], list[Any]]]:
    """Load a function, or make one of formulas, and its arguments, and guard what is done with them."""
    if (target is None) == (formulas is None):
        raise click.UsageError("Name a function, FILE.py:FUNCTION, or give a formula: --expr 'x*sin(y)'.")
    with contextlib.ExitStack() as stack:
        try:
            if formulas is not None:
                f = function_of_formulas(formulas)
                values = arguments(f, {}, "the file of the function", at, data)
            else:
                f, names, file = stack.enter_context(loaded(str(target)))
                values = arguments(f, names, file, at, data)
        except FormulaError as error:
            raise click.UsageError(str(error)) from error
        except LoadError as error:
            raise CannotLoad(str(error)) from error
        with guarded():
            yield f, values


def show(value: Any, text: str | None = None) -> None:
    """Print an object: colored in a terminal, plain text otherwise; never cut or wrapped by its width."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, force_jupyter=False)
    plain = text if text is not None else str(value)
    if not console.is_terminal:
        click.echo(plain)
    elif isinstance(value, str) or max(map(len, plain.splitlines()), default=0) > console.width:
        console.print(colored(plain))  # a table would be squeezed into the width
    else:
        console.print(value)


COLORS = (
    (r"^[^\n]+(?=\n[=-]{3,}$)|^#+ .*$|^Pass \d+:.*$", "bold"),
    (r"(?<!\w)(?:∂|d)?[ux]_(?:\d+|\{[^}]*\})", "cyan"),
    (r"(?<!\w)(?:∂|d)?y(?:_(?:\d+|\{[^}]*\}))?(?!\w)", "green"),
    (r"\(\d+(?: x \d+)*\)(?=\s|$)", "magenta"),
    (r"(?<=\S) +# .*$", "dim"),
)
"""The colors of plain text: headings, variables, results, shapes, places."""


def colored(text: str) -> Any:
    """Color a listing for the terminal."""
    from rich.text import Text

    rich_text = Text(text)
    for pattern, style in COLORS:
        rich_text.highlight_regex(re.compile(pattern, re.MULTILINE), style)
    return rich_text


# ---- The commands ----


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all commands take: the function, and where to evaluate it."""
    for decorate in (
        click.option("--args", "data", metavar="FILE", help="Read the arguments from a .npy, .npz or .json file."),
        click.option(
            "--at",
            multiple=True,
            metavar="NUMBERS...",
            help="Where to evaluate it: several numbers are one vector if the function has one parameter, and one "
            "scalar each if it has as many parameters. Several --at: one for each argument. A JSON list is an array.",
        ),
        click.option(
            "--expr",
            "formulas",
            metavar="FORMULAS",
            help="A function of formulas in the place of FILE.py:FUNCTION: 'x1*(x2-x3), x3*log(1-x1)'. Its arguments "
            "are the names in the formulas, in order.",
        ),
        click.argument("function", metavar="FILE.py:FUNCTION", required=False),
    ):
        command = decorate(command)
    return command


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Group(click.Group):
    """Commands whose reader may stop early (``| head``): that ends them as it does any program, and is no verdict."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
            ctx.exit(128 + 13)  # what shells say of SIGPIPE
        return result


@click.group(cls=Group, context_settings=CONTEXT, epilog=EXITS)
@click.version_option(package_name="wengert", message="%(prog)s %(version)s")
def main() -> None:
    """Exact derivatives of plain NumPy functions: written down, counted, chosen and explained.

    FILE.py is executed as `python FILE.py` would be (its folder is on the path, `__name__` is "__main__", and what it
    prints is printed); then FUNCTION is taken from it. FUNCTION can be left out if the file defines just one.

    \b
    The arguments come from
      --at 0.5 2 3        one vector, or a scalar for each parameter;
      --args data.npz     a file, by parameter name;
      or the file itself: a tuple or dict named `example`, or `f.example`.

    \b
    Example:
      wengert explain model.py:f --at 0.5 2 3 --mode reverse
    """


@main.command(cls=Command, epilog=EXITS)
@common
@click.option("--mode", type=click.Choice(MODES), default="both", show_default=True, help="Which accumulation.")
@click.option("--format", "form", type=click.Choice(FORMS), help="In which form.  [default: text]")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser: the page, or what --format asks for.")
@click.option("--save", "path", metavar="FILE", help="Write it to a .html, .pdf, .tex, .md, .svg or .txt file.")
@click.option("--step", type=int, metavar="K", help="Write out step K of each loop (from 0) with its values.")
def explain(
    function: str | None,
    formulas: str | None,
    at: tuple[str, ...],
    data: str | None,
    mode: str,
    form: str | None,
    opens: bool,
    path: str | None,
    step: int | None,
) -> None:
    """Derive the derivatives step by step, with formulas and values.

    The function is decomposed into intermediate variables; then each pass of each accumulation mode is written out
    by the chain rule, with what it comes to as a formula and as a number.

    \b
    Examples:
      wengert explain model.py:f --at 0.5 2 3 --mode reverse --format latex
      wengert explain --expr "x1*(x2 - x3), x3*log(1 - x1)" --at 0.5 2 3
    """
    from wengert.explanation import explain as explained

    with prepared(function, formulas, at, data) as (f, values):
        explanation = explained(f, mode=mode, step=step)(*values)
        if path is not None:
            explanation.save(path)
        if opens:
            open_in_browser(explanation, form or "html")
        elif path is None:
            show(written(explanation, form or "text"))


def written(explanation: Any, form: str) -> str:
    """Write an explanation in one of `FORMS`."""
    if form.startswith("slide"):
        return getattr(explanation, form.removeprefix("slide-") if "-" in form else "text")(slide=True)  # type: ignore[no-any-return]
    return getattr(explanation, form)()  # type: ignore[no-any-return]


def open_in_browser(explanation: Any, form: str) -> None:
    """Open an explanation in a browser, as a file that stays where the system keeps temporary ones."""
    import tempfile
    import webbrowser

    ending = {"html": ".html", "svg": ".svg"}.get(form, ".txt")
    with tempfile.NamedTemporaryFile("w", suffix=ending, prefix="wengert-", delete=False, encoding="utf-8") as file:
        file.write(written(explanation, form))
    if not webbrowser.open(f"file://{file.name}"):
        raise Failure(f"no browser can be opened here.\nOpen {file.name} in one.")


@main.command(cls=Command, epilog=EXITS)
@common
def plan(function: str | None, formulas: str | None, at: tuple[str, ...], data: str | None) -> None:
    """Count what the derivatives cost in each mode, and say which one is chosen and why.

    \b
    Example:
      wengert plan model.py:f --at 0.5 2 3
    """
    from wengert.api import plan as planned

    with prepared(function, formulas, at, data) as (f, values):
        show(planned(f)(*values))


@main.command(cls=Command, epilog=EXITS)
@common
@click.option("--source", is_flag=True, help="Print it as NumPy code that runs alone and gives the same values.")
def trace(function: str | None, formulas: str | None, at: tuple[str, ...], data: str | None, source: bool) -> None:
    """Write the function down as a list of intermediate variables (its Wengert list).

    Each line names the place in the file that it comes from.

    \b
    Examples:
      wengert trace model.py:f --at 0.5 2 3
      wengert trace model.py:f --at 0.5 2 3 --source > straight.py
    """
    from wengert.api import trace as traced

    with prepared(function, formulas, at, data) as (f, values):
        program = traced(f)(*values)
        if not source:
            show(str(program))
            return
        from rich.syntax import Syntax

        text = program.source().rstrip("\n")
        show(Syntax(text, "python", theme="ansi_dark", background_color="default"), text)


@main.command(cls=Command, epilog=EXITS)
@common
def check(function: str | None, formulas: str | None, at: tuple[str, ...], data: str | None) -> None:
    """Check the derivatives: both modes against complex step or differences, and against each other.

    Where something is wrong, the report names the entry, the line of the file and the rule.

    \b
    Example:
      wengert check model.py:f --at 0.5 2 3
    """
    from wengert.checking import check_derivatives

    with prepared(function, formulas, at, data) as (f, values):
        report = check_derivatives(f)(*values)
    show(report)
    if not report:
        raise SystemExit(1)


@main.command(cls=Command, epilog=EXITS)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; a free one by default.")
@click.option("--open/--no-open", "opens", default=True, show_default=True, help="Open the page in a browser.")
@click.option("--args", "data", metavar="FILE", help="Read the arguments from a .npy, .npz or .json file.")
@click.option("--at", multiple=True, metavar="NUMBERS...", help="Where to evaluate the function, as for explain.")
@click.argument("function", metavar="FILE.py:FUNCTION", required=False)
def serve(function: str | None, at: tuple[str, ...], data: str | None, port: int, opens: bool) -> None:
    """Serve a page on this machine in which one types a formula and explores its chain rule.

    With FILE.py:FUNCTION it begins with that function. Formulas are read, never run as code. Needs wengert[serve].

    \b
    Example:
      wengert serve
      wengert serve model.py:f --at 0.5 2 3
    """
    from wengert.server import serve as run

    def ready(address: str) -> None:
        click.echo(f"{address}  (Ctrl-C ends it)")
        if opens:
            import webbrowser

            webbrowser.open(address)

    try:
        if function is None:
            run(None, port, ready)
            return
        with prepared(function, None, at, data) as own:
            run(own, port, ready)
    except ImportError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"the port {port} cannot be had: {error.strerror}") from error


if __name__ == "__main__":  # pragma: no cover
    main()
