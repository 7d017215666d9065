"""Options that several commands share: their checks, what the shell completes, and the storage or service to ask."""

import contextlib
import functools
import gc
import inspect
import ipaddress
import os
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from storage.errors import UrlError
from sweeps.cli.text import Format
from sweeps.errors import SpecError
from sweeps.extensions import attribute
from sweeps.hints import use_service, use_storage
from sweeps.terminal import say, truncated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy

    from sweeps.operations.operation import A, Client, Operation, R
    from sweeps.usecases.create import SpecRequest
    from sweeps.workers.reach import Reach

HOSTS = (
    "allowed: 127.0.0.1 (this machine only), 0.0.0.0 (all addresses) or an address from `ip address`; give the port"
    " with --port"
)
PRESETS = ("tiny", "quick", "compare", "full")
"""Names only: importing the presets takes a tenth of a second."""

_COMPLETION_WAIT_S = 2.0  # for a database that does not answer: the shell waits as long
_LONGEST_NAME = 253
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63})*")
_DEVICE = re.compile(r"0|[1-9][0-9]{0,3}|(GPU|MIG)-[0-9A-Za-z/-]+")


def _sweep_names(context: typer.Context) -> list[str]:
    """Return the names of the sweeps in the storage on the command line or of the environment.

    None where it cannot be reached. A service is not asked: that takes longer than a user waits after a key. SQLite is
    read without SQLAlchemy, whose import takes as long as all the rest.
    """
    variables = map(os.environ.get, ("KD_SWEEPS_STORAGE", "OPTUNA_STORAGE"))
    url = next(filter(None, (context.params.get("storage"), *variables)), "sqlite:///kd-sweeps.db")
    if url.startswith("sqlite:///"):
        address = f"file:{quote(url.removeprefix('sqlite:///'))}?mode=ro"
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            return [name for (name,) in database.execute("SELECT name FROM sweeps ORDER BY id")]
        return []
    from storage.db.engine import open_engine
    from storage.errors import StorageError
    from storage.records import queries

    names: list[str] = []

    def read() -> None:
        with contextlib.suppress(StorageError):
            engine = open_engine(storage_url(url), read_only=True)
            names.extend(sweep.name for sweep in queries.list_sweeps(engine))
            engine.dispose()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(_COMPLETION_WAIT_S)
    return names


def _preset_names() -> list[str]:
    return [*PRESETS]


def _remember(context: typer.Context, typed: str | None) -> str | None:
    """Make printed commands name the storage that was typed."""
    known = ""
    if typed:
        from storage.url import masked

        with contextlib.suppress(UrlError):  # the command itself reports it
            known = masked(storage_url(typed))
    use_storage(known)
    if not typed and not any(option.name == "url" for option in context.command.params):
        _refuse_service_alone(str(context.info_name))
    return typed


def _refuse_service_alone(command: str) -> None:
    """Refuse a database command where the environment names only a service: it would use the default storage."""
    service = os.environ.get("KD_SWEEPS_URL")
    if service and not os.environ.get("KD_SWEEPS_STORAGE") and not os.environ.get("OPTUNA_STORAGE"):
        raise SpecError(
            f"{command} needs a database, but KD_SWEEPS_URL names a service, {service}; give --storage URL or set"
            " KD_SWEEPS_STORAGE"
        )


def _remember_service(typed: str | None) -> str | None:
    """Make printed commands name the service that was typed."""
    use_service(typed or "")
    return typed


SweepName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep.", autocompletion=_sweep_names)]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep, for example mnist-kd.")]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        callback=_remember,
        help="sqlite:///FILE or postgresql://USER@HOST/DB; else KD_SWEEPS_STORAGE, OPTUNA_STORAGE, sqlite:///kd-sweeps.db.",
    ),
]
Service = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        callback=_remember_service,
        help="https://HOST of a service, instead of a storage; else KD_SWEEPS_URL. Token: KD_SWEEPS_TOKEN.",
    ),
]
Form = Annotated[Format, typer.Option("-f", "--format", help="Output format.")]
Field = Annotated[str | None, typer.Option(metavar="KEY", help="Print only this field; dots for nested fields.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder with mnist.npz and your own data.")]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="DIR", help="Folder with ImageNet weights under Keras' file names.")
]
_PRESETS = f"{', '.join(PRESETS[:-1])} or {PRESETS[-1]}."
SpecOption = Annotated[Path | None, typer.Option("--spec", metavar="FILE", help="Spec file, instead of a preset.")]
SpecFile = Annotated[Path | None, typer.Argument(metavar="SPEC", help="TOML file, instead of --preset.")]
Preset = Annotated[str | None, typer.Option(metavar="NAME", help=_PRESETS, autocompletion=_preset_names)]
PresetName = Annotated[str | None, typer.Argument(metavar="PRESET", help=_PRESETS, autocompletion=_preset_names)]
Trials = Annotated[
    int | None, typer.Option(metavar="N", parser=lambda text: _count("--trials", text), help="Trials of the search.")
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", parser=lambda text: _seed(text), help="Seed of all random numbers.")
]
Epochs = Annotated[
    int | None,
    typer.Option(metavar="N", parser=lambda text: _count("--epochs", text), help="Epochs of every student."),
]
Size = Annotated[
    str | None, typer.Option(metavar="HxW", help="Height and width for the images of a folder, for example 32x32.")
]
Source = Annotated[str | None, typer.Option(metavar="DATASET", help="Dataset to tune on.")]
Targets = Annotated[list[str] | None, typer.Option(metavar="DATASET", help="Dataset to transfer to; repeatable.")]
Dataset = Annotated[str | None, typer.Option(metavar="DATASET", help="Single dataset; nothing is transferred.")]
Teacher = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Teacher for every dataset: cnn-small, pretrained:MobileNetV2, MODULE:BUILD."),
]
Student = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Student for every dataset: keras-student, MODULE:BUILD.")
]
Train = Annotated[
    str | None,
    typer.Option(metavar="FUNCTION", help="Your own training as a function: ./train.py:train or package.module:train."),
]
TrainCommand = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Your own training as a command: 'python train.py --T {temperature} --out {out}'."
    ),
]
Searched = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        metavar="NAME=LOW:HIGH",
        help="With --train: a parameter to search; also NAME=LOW:HIGH:log, NAME=a,b,c; repeatable.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key of the spec, for example 'search.alpha=[0,0.5]'."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print every setting, phase and task of the plan.")]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=lambda text: _workers(text),
        help="Number of workers (default: one per core, or per GPU of --gpus).",
    ),
]
On = Annotated[str, typer.Option(metavar="ENGINE", help="Where the workers run: local, slurm or ray.")]
Gpus = Annotated[str | None, typer.Option(metavar="LIST", help="GPUs that the workers take in turn, such as 0,1.")]
ShowScript = Annotated[bool, typer.Option("--dry-run", help="Print the job script and submit nothing (--on slurm).")]
Detach = Annotated[bool, typer.Option("--detach", help="Submit the workers and exit (--on slurm).")]
EngineOptions = Annotated[
    list[str] | None, typer.Argument(metavar="-- OPTIONS", help="Options for Slurm or Ray, after --.")
]


def spec_request(
    spec: Path | None = None,
    preset: Preset = None,
    trials: Trials = None,
    seed: Seed = None,
    epochs: Epochs = None,
    size: Size = None,
    source: Source = None,
    target: Targets = None,
    dataset: Dataset = None,
    teacher: Teacher = None,
    student: Student = None,
    train: Train = None,
    train_command: TrainCommand = None,
    space: Searched = None,
    change: Changes = None,
) -> "SpecRequest":
    """Build the spec request of `run` and `create`; its parameters define their common options.

    Raises:
        SpecError: an option is malformed, or both a preset and a spec are given.
    """
    from sweeps.spec.stored import read
    from sweeps.usecases.create import SpecRequest
    from sweeps.usecases.create import preset as named

    if preset is not None and spec is not None:
        raise SpecError(f"got --preset {preset} and the spec {spec}; give one of them")
    base = None if preset is None else named(preset)
    return SpecRequest(
        base=base if spec is None else read(spec),
        changes=changes_of(change or ()),
        trials=trials,
        seed=seed,
        epochs=epochs,
        size=() if size is None else _size(size),
        source=source,
        targets=target or (),
        teacher=teacher,
        student=student,
        dataset=dataset,
        train=train,
        command=train_command,
        space=space_of(space or ()),
    )


def with_spec_options(file: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `spec_request`, and their request as its second argument.

    Args:
        file: annotation of the spec file: an option or an argument.
    """
    shared = dict(inspect.signature(spec_request).parameters)
    shared["spec"] = shared["spec"].replace(annotation=file)

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(name: str, **typed: Any) -> None:
            command(name, spec_request(**{option: typed.pop(option) for option in shared}), **typed)

        name, _, *own = inspect.signature(command).parameters.values()
        parameters = [name, *shared.values(), *own]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # which Typer reads
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorated


def _workers(text: str) -> int:
    from sweeps.launch.launcher import MOST_WORKERS

    return whole_number("--workers", text, least=1, most=MOST_WORKERS, example="4")


def _count(option: str, text: str) -> int:
    from sweeps.spec.tables import MOST

    return whole_number(option, text, least=1, most=MOST, example="20")


def _seed(text: str) -> int:
    return whole_number("--seed", text, least=0, most=2**63 - 1, example="1")


def whole_number(option: str, text: str, *, least: int, most: int, example: str) -> int:
    """Parse a whole number; a leading + is allowed.

    Typer's int would not quote the input in its message.

    Raises:
        SpecError: not a whole number in [least, most].
    """
    digits = text.removeprefix("+")
    # Check the length first: Python refuses to parse a number of 5,000 digits.
    if not digits.isdecimal() or len(digits) > len(str(most)) or not least <= int(digits) <= most:
        raise SpecError(
            f"{option}: got {truncated(text, 40)!r}; allowed: a whole number from {least} to {most}, for example"
            f" {option} {example}"
        )
    return int(digits)


def changes_of(items: "Sequence[str]") -> "dict[str, Any]":
    """Parse the --set options into values by key: TOML where it is valid, else text."""
    from sweeps.spec.stored import values_of

    changes: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SpecError(f"--set: got {item!r}; write KEY=VALUE, for example search.trials=50")
        if len(item.splitlines()) > 1:  # as TOML, every further line would be another key and be dropped
            raise SpecError(f"--set: got {item!r}, which has a line break; write --set once for each KEY=VALUE")
        try:
            changes[key] = values_of(f"value = {text}")["value"]
        except ValueError:  # not TOML, or a whole number with more digits than Python parses
            changes[key] = text  # an unquoted string, as people type it
    return changes


def _size(text: str) -> tuple[int, int]:
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and len(side) <= 5 for side in sides):
        raise SpecError(f"--size: got {text[:40]!r}; write HEIGHTxWIDTH in pixels, for example --size 32x32")
    return int(sides[0]), int(sides[1])


def space_of(items: "Sequence[str]") -> "dict[str, Any]":
    """Parse the --space options into the parameters of a spec, by name."""
    parameters: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        low, colon, rest = text.partition(":")
        high, second, log = rest.partition(":")
        ends = [_value(low), _value(high)]
        is_range = bool(colon) and not any(isinstance(end, str) for end in ends) and log == ("log" if second else "")
        is_choice = "," in text and not colon and text[0] not in "[{(\"'"  # TOML's spelling is for --set
        if not name or not equals or not (is_range or is_choice):
            raise SpecError(
                f"--space: got {item!r}; write NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=a,b,c, for example"
                " --space temperature=1.0:20.0:log"
            )
        if name in parameters:
            raise SpecError(f"--space: got {name} twice; give each parameter once")
        if is_range:
            parameters[name] = {"low": ends[0], "high": ends[1]} | ({"log": True} if log else {})
        else:
            parameters[name] = {"choices": [_choice(option.strip()) for option in text.split(",")]}
    return parameters


def _choice(text: str) -> bool | int | float | str:
    # The text "false" would be true in Python.
    return text.lower() == "true" if text.lower() in ("true", "false") else _value(text)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def devices(text: str | None) -> tuple[str, ...]:
    """Parse --gpus into devices, as CUDA_VISIBLE_DEVICES takes them.

    Raises:
        SpecError: the list is empty, names a device twice, or has an item that is neither a number nor a UUID.
    """
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if len(set(names)) < len(names) or not all(_DEVICE.fullmatch(name) for name in names):
        raise SpecError(
            f"--gpus: got {text!r}; allowed: GPU numbers or UUIDs from nvidia-smi -L, each once, with commas, for"
            " example --gpus 0,1"
        )
    return names


def check_host(host: str) -> None:
    """Raise SpecError unless the host is one IP address or host name without a port."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
            raise SpecError(f"--host: got {host[:80]!r}; {HOSTS}") from None


def use_folders(data: Path | None, weights: Path | None = None) -> None:
    """Make this process and its children look for data and weights in these folders; None keeps the setting."""
    if weights is not None and not weights.is_dir():
        raise SpecError(f"--weights: got {weights}; give a folder that holds the weights files, or has them in models/")
    # Through the environment, so that launched workers and their children use the same folders.
    for variable, folder in (("KD_SWEEPS_DATA", data), ("KD_SWEEPS_WEIGHTS", weights)):
        if folder is not None:
            os.environ[variable] = str(folder.absolute())


def storage_url(storage: str | None) -> "sqlalchemy.URL":
    """Return the storage that was typed, or that of the environment; see `storage.url.resolve`."""
    from storage.url import resolve

    return resolve(storage)


def note_storage(url: "sqlalchemy.URL") -> None:
    """Print to stderr which storage is used."""
    from storage.url import masked

    say(f"storage {masked(url)}")


def _refuse_both(storage: str | None, service: str | None) -> None:
    if service is not None and storage is not None:
        raise SpecError("got --url and --storage; give one of them: a service has its own database")


def client_of(storage: str | None, service: str | None) -> "Client":
    """Open the storage or service that was typed, or else that of the environment, a service before a database.

    Raises:
        SpecError: both were typed, or the service's URL is not valid.
        storage.errors.UrlError: the storage's URL is not valid.
    """
    _refuse_both(storage, service)
    named = service
    if named is None and storage is None:
        named = os.environ.get("KD_SWEEPS_URL") or None
    if named is None:
        from sweeps.operations.operation import LocalClient

        # Ten thousand rows live until the command ends: collecting garbage among them would take a fifth of its time.
        gc.set_threshold(100_000)
        return LocalClient(storage_url(storage))
    client: Client = attribute("sweeps.contrib.server.client:HttpClient")(
        named, os.environ.get("KD_SWEEPS_TOKEN", "").strip()
    )
    return client


def reach_of(storage: str | None, service: str | None) -> "Reach":
    """Return the storage or service of a worker: the one typed, or else that of the environment, a database first.

    Raises as `client_of`.
    """
    from sweeps.workers.reach import Service, from_environment

    _refuse_both(storage, service)
    named = Service(service, os.environ.get("KD_SWEEPS_TOKEN", "").strip()) if service is not None else None
    if named is None and storage is None:
        named = from_environment()
    if named is None:
        return storage_url(storage)
    address: str = attribute("sweeps.contrib.server.client:checked")(named.address)
    return Service(address, named.token)


def ask(storage: str | None, service: str | None, operation: "Operation[A, R]", args: "A") -> "R":
    """Ask the storage or service of `client_of`, and print which one it was."""
    client = client_of(storage, service)
    answer = client.ask(operation, args)
    say(client.label)
    return answer
