"""Define the presets tiny, quick, compare and full, and apply options such as `--dataset` and `--teacher` to them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd.baselines.applications import APPLICATIONS, TUNED
from kd.errors import DataError
from sweeps.distill.arms import (
    AUTOKERAS,
    CONTROLS,
    SCRATCH,
    SCRATCH_OWN,
    SOURCE_ARMS,
    TARGET_ARMS,
    UNTUNED,
)
from sweeps.distill.spec import Baselines, DatasetSpec, KdSearch, KdSpec, KdTransfer, Training, of_distillation
from sweeps.errors import SpecError
from sweeps.spec.model import ROLES, named, override
from sweeps.spec.tables import MARGIN_SHARE, Confirm, Repeats
from sweeps.stats.verdict import RULE

if TYPE_CHECKING:
    from sweeps.usecases.create import SpecRequest

_TINY = KdSpec(
    preset="tiny",
    source=DatasetSpec(dataset="digits", images=1078, teacher="cnn-small-narrow", teacher_epochs=6, epochs=4),
    target=DatasetSpec(dataset="digits-rgb", images=1078, teacher="cnn-small-narrow", teacher_epochs=10, epochs=6),
    # bench/results/recipe.md: 4 and 7 points better than a constant 1e-3, in the same seconds.
    training=Training(
        batch_size=32, learning_rate=4e-3, schedule="average", average_steps=20, teacher_learning_rate=5e-3
    ),
    search=KdSearch(trials=8),
    confirm=Confirm(rounds=((2, 2),)),
    # One search is no evidence: this preset is a smoke test of an installation.
    transfer=KdTransfer(
        seeds=5,
        margin_share=MARGIN_SHARE,
        rule=RULE,
        source_arms=("best", SCRATCH),
        target_arms=("best", SCRATCH, "native", UNTUNED[0]),
    ),
    baselines=Baselines(methods=("mobilenet",)),
)

_QUICK = KdSpec(
    preset="quick",
    # Few images and many epochs: in the same time, a student that sees each image fifteen times gains from a teacher,
    # and one that sees it three times does not. The recipe: bench/results/recipe.md. With 4,000 images the same answer
    # took a fifth longer, and its shares were as wide (bench/README.md).
    source=DatasetSpec(dataset="mnist", images=3_000, teacher="cnn-small", teacher_epochs=15, epochs=15),
    target=DatasetSpec(dataset="cifar10", images=3_000, teacher="cnn-small", teacher_epochs=18, epochs=12),
    training=Training(learning_rate=4e-3, schedule="average", teacher_learning_rate=5e-3),
    search=KdSearch(trials=6, sampler="qmc"),
    confirm=Confirm(rounds=((2, 1),)),
    transfer=KdTransfer(
        seeds=3,
        margin_share=MARGIN_SHARE,
        rule=RULE,
        source_arms=("best", SCRATCH),
        # Arms that may end at one point are kept apart where possible: two workers would train a common point twice.
        target_arms=("best", SCRATCH_OWN, "native", SCRATCH, *reversed(UNTUNED)),
    ),
    # Many equal, cheap searches from different starting points: most of the uncertainty is in the point that a search
    # finds, and only more searches average it.
    outer=Repeats(searches=8),
    baselines=Baselines(methods=("autokeras", "mobilenet", "efficientnet-lite0"), autokeras_epochs=4),
)

PRESETS = {
    "tiny": _TINY,
    "quick": _QUICK,
    # The sweep of quick, and other methods that make a classifier from the same images.
    "compare": _QUICK.model_copy(
        update={
            "preset": "compare",
            "baselines": Baselines(
                methods=("autokeras", *APPLICATIONS, *(name + TUNED for name in ("mobilenet", "efficientnet-lite0"))),
                source_methods=("mobilenet", "efficientnet-lite0"),
                autokeras_trials=8,
                autokeras_epochs=10,
                autokeras_seconds=3600,
                autokeras_blocks=("vanilla", "xception", "resnet"),
            ),
        }
    ),
    "full": KdSpec(
        preset="full",
        source=DatasetSpec(dataset="mnist", images=50_000, teacher="keras-teacher", teacher_epochs=10, epochs=20),
        target=DatasetSpec(dataset="cifar10", images=45_000, teacher="resnet20", teacher_epochs=60, epochs=60),
        # bench/results/recipe.md: the best of three recipes with 20,000 images, too. bench/results/samplers.md: with
        # many trials, TPE with a lag of eight, and halving, end nearest to the best.
        training=Training(learning_rate=4e-3, schedule="average"),
        search=KdSearch(trials=40),
        confirm=Confirm(rounds=((8, 1), (3, 3))),
        transfer=KdTransfer(
            seeds=6,
            margin_share=MARGIN_SHARE,
            rule=RULE,
            source_arms=(*SOURCE_ARMS, SCRATCH_OWN, *CONTROLS),
            target_arms=(*TARGET_ARMS, SCRATCH_OWN, *CONTROLS, AUTOKERAS),
        ),
        outer=Repeats(teachers=3, searches=8),
        baselines=Baselines(
            methods=("autokeras", *APPLICATIONS),
            source_methods=tuple(APPLICATIONS),
            seconds=3600,
            autokeras_trials=10,
            autokeras_epochs=30,
            autokeras_seconds=3600,
            autokeras_blocks=("vanilla", "xception", "resnet"),
        ),
    ),
}

# Measured wall minutes on 2 cores, from which the expected times of all sweeps and tasks are estimated.
MINUTES = {"tiny": 1, "quick": 10, "compare": 16}


def preset(name: str) -> KdSpec:
    return named(PRESETS, name)


def on(spec: KdSpec, *, source: str | None = None, targets: Sequence[str] = (), alone: bool = False) -> KdSpec:
    """Put a spec on other datasets, with the settings that the spec or a preset has for them.

    So `--source cifar10 --target mnist` swaps the two, with images, teacher and epochs. Any other dataset gets the
    settings of the role that it takes over, and a further target those of the first. alone: without a target, so that
    the untuned defaults are compared on the one dataset.
    """
    from kd.data.datasets import is_own  # here: it imports NumPy, which most commands do not need

    known = {
        part.dataset: part for other in (*reversed(PRESETS.values()), spec) for part in map(other.role, other.roles)
    }
    wanted = {"source": source or spec.source.dataset}
    if not alone:
        wanted |= zip(ROLES[1:], targets or [spec.role(role).dataset for role in spec.targets], strict=False)
    roles: dict[str, Any] = dict.fromkeys(ROLES)
    for role, dataset in wanted.items():
        part = known.get(dataset) or (spec.target if role != "source" and spec.target else spec.source)
        roles[role] = part.model_dump() | {"dataset": dataset}
        if dataset != part.dataset:
            roles[role] |= {"content_hash": "", "name": "", "size": ()}
            if is_own(dataset):
                roles[role]["images"] = 0  # all images, unless the request has fewer
    if alone and spec.targets:  # compare the target's arms here
        arms = [arm for arm in spec.transfer.target_arms if arm in (SCRATCH_OWN, *UNTUNED)]
        roles["transfer.source_arms"] = [*dict.fromkeys((*spec.transfer.source_arms, *arms))]
    return override(spec, roles)


def requested(request: "SpecRequest") -> KdSpec:
    dataset, changes = request.dataset, request.changes
    for role, name in zip(ROLES, (dataset or request.source, *request.targets), strict=False):
        other = changes.get(f"{role}.dataset", name)
        if name and other != name:
            raise SpecError(f"{role}.dataset: got {name!r} and, by --set, {other!r}; give one of them")
    base = preset("quick") if request.base is None else of_distillation(request.base)
    placed = on(base, source=dataset or request.source, targets=request.targets, alone=bool(dataset))
    teacher, student = request.teacher, request.student
    taught = {f"{role}.teacher": teacher for role in _taught_by(placed, teacher)} if teacher else {}
    named = {"student": student, "epochs": request.epochs}
    learning = {f"{role}.{key}": value for key, value in named.items() if value for role in placed.roles}
    sized = {f"{role}.size": list(request.size) for role in _folders(placed, request)} if request.size else {}
    own = {key: value for key, value in (taught | learning | sized).items() if key not in changes}
    return override(placed, own)


def _folders(spec: KdSpec, request: "SpecRequest") -> Sequence[str]:
    from kd.data.custom import kind_of  # here: it imports NumPy, which most commands do not need

    roles = [role for role in spec.roles if kind_of(spec.role(role).dataset) == "folder"]
    if not roles:
        size = "x".join(map(str, request.size))
        raise SpecError(f"--size: got {size}; only a folder of images takes a size, and no dataset here is one")
    return roles


def _taught_by(spec: KdSpec, teacher: str) -> Sequence[str]:
    # All roles, or the one with the dataset that a file of logits names.
    from kd.teachers.logits_file import PREFIX, read  # here: it imports NumPy, which most commands do not need

    if not teacher.startswith(PREFIX):
        return spec.roles
    try:
        dataset = read(Path(teacher.removeprefix(PREFIX)).expanduser()).dataset
    except DataError as error:
        raise SpecError(f"--teacher: {error}") from None
    return [role for role in spec.roles if spec.role(role).dataset == dataset] or spec.roles
