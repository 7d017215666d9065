"""Check a user's training function before anything runs, and call it in a child process."""

import ast
import importlib.util
import inspect
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kd.errors import CodeError, KdError, NotHere, describe_error, lacks_room
from kd.tools import code
from kd.tools.processes import Report, silence
from sweeps.custom.results import Request, Result, in_curve, result_of, scored
from sweeps.errors import TrainingFailed

GIVEN = ("seed", "dataset", "folder", "report")
"""The arguments that a function gets besides its parameters, where it has an argument of that name."""

MOST_OF_CURVE = 1_000  # values, each a row of the database
_REPORT_EVERY_S = 0.1
_TEST = "test"
_TEST_GIVEN = ("seed", "dataset", "folder")


def test_beside(train: str) -> str:
    """Return the name of a function `test` in the same file, or "", without running the file."""
    where = train.rpartition(":")[0]
    path = code.file_of(train)
    try:
        if path is None:
            spec = importlib.util.find_spec(where)
            path = Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None
        tree = ast.parse(path.read_bytes()) if path is not None else ast.Module([], [])
    except (OSError, ValueError, ImportError, SyntaxError):  # the import will raise
        return ""
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return f"{where}:{_TEST}" if _TEST in functions else ""


def check(report: Report, train: str, test: str, names: Sequence[str], datasets: int) -> None:
    """Import both functions, silently, and check their signatures without calling them.

    Raises kd.errors.CodeError or NotHere of one line that names the key.
    """
    silence()
    accepts = _check_arguments("trainer.train", train, (*names, *GIVEN), required=names)
    if not accepts("seed"):
        raise CodeError(f"trainer.train: {train!r} needs an argument 'seed': each training has its own")
    if datasets > 1 and not accepts("dataset"):
        raise CodeError(f"trainer.train: {train!r} needs an argument 'dataset': the sweep has two or more")
    if test:
        _check_arguments("trainer.test", test, (*names, *_TEST_GIVEN), required=())


def signature(report: Report, train: str) -> dict[str, Any]:
    """Return a function's own arguments, silently, by name with the default; None if it has none.

    Arguments with other defaults than numbers, texts and booleans cannot be searched, and are left out.
    """
    silence()
    parameters = inspect.signature(_loaded("trainer.train", train)).parameters.values()
    own = [part for part in parameters if part.name not in GIVEN and not _is_open(part)]
    known = {part.name: None if part.default is part.empty else part.default for part in own}
    return {name: value for name, value in known.items() if value is None or type(value) in (bool, int, float, str)}


def _is_open(part: inspect.Parameter) -> bool:
    """Return whether an argument is *args or **kwargs."""
    return part.kind in (part.VAR_KEYWORD, part.VAR_POSITIONAL)


def work(report: Report, request: Request) -> Iterator[Result | float]:
    """Train and yield the result; when asked for more, test the model and yield the score."""
    yield _trained(report, request)
    arguments = {"seed": request.seed, "dataset": request.dataset, "folder": Path(request.folder)}
    score = _called("trainer.test", request.test, {**request.point, **arguments})
    yield scored(os.path.basename(request.test), score, request.bounds)


def _trained(report: Report, request: Request) -> Result:
    arguments = {
        "seed": request.seed,
        "dataset": request.dataset,
        "folder": Path(request.folder),
        "report": _reporting(report),
    }
    began, cpu = time.perf_counter(), _cpu_s()
    returned = _called("trainer.train", request.train, {**request.point, **arguments})
    train_s, cpu_s = time.perf_counter() - began, _cpu_s() - cpu
    return result_of(os.path.basename(request.train), returned, request.bounds, train_s=train_s, cpu_s=cpu_s)


def _reporting(send: Report) -> Callable[..., None]:
    sent_at, of_curve = -_REPORT_EVERY_S, 0

    def report(fraction: float | None = None, *more: Any, validation: Any = None, text: str = "", **named: Any) -> None:
        """Report that the training is running, how far it is, and how good."""
        nonlocal sent_at, of_curve
        if more or named:
            what = f"an argument {next(iter(named))!r}" if named else "two values"
            raise TypeError(f"report() got {what}; write report(0.5, validation=0.93)")
        value = None if validation is None else in_curve(validation)
        now, in_time = time.monotonic(), validation is not None and of_curve < MOST_OF_CURVE
        if not in_time and now - sent_at < _REPORT_EVERY_S:
            return
        sent_at, of_curve = now, of_curve + in_time
        done = in_curve(fraction)
        send(None if done is None else min(max(done, 0.0), 1.0), str(text)[:200], (value,) if in_time else ())

    return report


def _called(key: str, name: str, arguments: dict[str, Any]) -> Any:
    """Call a user's function with the values that it takes; raise its errors in a form that can be pickled."""
    function = _loaded(key, name)
    parameters = inspect.signature(function).parameters.values()
    every = any(part.kind is part.VAR_KEYWORD for part in parameters)
    wanted = {part.name for part in parameters}
    try:
        _let_import(name)
        return code.call(lambda: function(**{key: value for key, value in arguments.items() if every or key in wanted}))
    except (KdError, MemoryError):
        raise
    except ImportError as error:
        raise NotHere(f"{os.path.basename(name)}: {describe_error(error)}") from error
    except SystemExit as error:
        raise TrainingFailed(
            f"{os.path.basename(name)} called sys.exit({error.code!r}); let it return its score, or raise an error"
        ) from None
    except (Exception, KeyboardInterrupt, GeneratorExit) as error:
        if lacks_room(error) or type(error).__name__ == "OutOfMemoryError":  # of PyTorch, known by its name
            raise (error if isinstance(error, OSError) else MemoryError(describe_error(error))) from error
        # Its class may come from the user's file, which the parent has not loaded.
        failed = TrainingFailed(f"{os.path.basename(name)} raised {describe_error(error)}")
        failed.add_note(traceback.format_exc())
        raise failed from None


def _let_import(name: str) -> None:
    """Let processes that a function starts, as a DataLoader does, import its file by its module name in this process.

    They unpickle its classes, and Python would search for a file with that name.
    """
    if code.file_of(name) is None:
        return
    module = code.importable(name).rpartition(":")[0]
    folder = Path(tempfile.gettempdir()) / "importable"  # removed with this process
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(f"from kd.tools import code\n\ncode.load({name!r})\n", encoding="utf-8")
    if str(folder) not in sys.path:  # its children inherit the path
        sys.path.append(str(folder))


def _loaded(key: str, name: str) -> Callable[..., Any]:
    if (path := code.file_of(name)) is not None and str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # as for a script that Python runs; last, so that it hides no package
    try:
        function = code.load(name)
    except NotHere as error:
        raise NotHere(f"{key}: cannot import {name!r} here: {error}") from error
    except CodeError as error:
        raise CodeError(f"{key}: cannot import {name!r}: {error}") from error
    if not callable(function):
        raise CodeError(f"{key}: {name!r} must be a function, got {type(function).__name__}")
    try:
        inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have no signature
        raise CodeError(f"{key}: {name!r} has no signature; write a Python function that calls it") from None
    return function  # type: ignore[no-any-return]


def _check_arguments(key: str, name: str, offered: Sequence[str], *, required: Sequence[str]) -> Callable[[str], bool]:
    """Check that a function accepts the required names and needs no others than the offered ones.

    Return a function that tells whether it accepts a name.
    """
    function = _loaded(key, name)
    if inspect.isclass(function):
        raise CodeError(f"{key}: {name!r} must be a function, got a class; write a function that calls it")
    called = (function, getattr(function, "__call__", function))  # noqa: B004 - an object's method may be async
    lazy = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_lazy(each) for is_lazy in lazy for each in called):
        raise CodeError(f"{key}: {name!r} is async, or has a yield: calling it does nothing; let it return")
    parameters = inspect.signature(function).parameters.values()
    every = any(part.kind is part.VAR_KEYWORD for part in parameters)
    accepted = {part.name for part in parameters if part.kind in (part.POSITIONAL_OR_KEYWORD, part.KEYWORD_ONLY)}
    for part in parameters:
        if part.default is not part.empty or _is_open(part):
            continue
        if part.kind is part.POSITIONAL_ONLY:
            raise CodeError(f"{key}: {name!r} takes {part.name!r} by position only, and is called by name; remove /")
        if part.name not in offered:
            cure = 'give it a default, or set trainer.test = "none"'
            if required:
                cure = f"set trainer.space.{part.name}, or give the argument a default"
            raise CodeError(
                f"{key}: {name!r} needs the argument {part.name!r}, but is called with {', '.join(offered)}; {cure}"
            )
    unknown = [wanted for wanted in required if wanted not in accepted and not every]
    if unknown:
        own = ", ".join(sorted(accepted - set(GIVEN)))
        raise CodeError(
            f"{key}: {name!r} has no argument {unknown[0]!r}, which trainer.space searches; it has {own or 'none'}"
        )
    return lambda wanted: wanted in accepted or every


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
