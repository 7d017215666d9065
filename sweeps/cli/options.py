"""The options that several commands share, so that they are spelt and explained once."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.formats import Format

SweepName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep.")]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER@HOST/DB; else KD_SWEEPS_STORAGE, OPTUNA_STORAGE, sqlite:///kd-sweeps.db.",
    ),
]
Form = Annotated[Format, typer.Option("-f", "--format", help="How to print.")]
Field = Annotated[str | None, typer.Option(metavar="KEY", help="Only this field; nested ones with dots.")]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder with mnist.npz and cifar10.npz.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="DIR", help="Folder with ImageNet weights under Keras' file names."),
]
Preset = Annotated[str | None, typer.Option(metavar="NAME", help="tiny, quick, compare or full.")]
Workers = Annotated[int | None, typer.Option(metavar="N", help="Worker processes; one per core when not given.")]
