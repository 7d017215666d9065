"""tiny, quick, compare, full; and what `--dataset`, `--teacher` and the like change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kd.baselines.applications import APPLICATIONS, TUNED
from kd.errors import DataError
from sweeps.distill.arms import AUTOKERAS_ARM, CONTROLS, SOURCE_ARMS, TARGET_ARMS
from sweeps.distill.spec import Baselines, DatasetSpec, Training
from sweeps.errors import SpecError
from sweeps.spec.model import ROLES, Spec, override
from sweeps.spec.tables import Confirm, Repeats, Search, Transfer
from sweeps.stats.verdict import RULE

_TINY = Spec(
    preset="tiny",
    source=DatasetSpec(dataset="digits", images=1078, teacher="cnn-small-narrow", teacher_epochs=6, epochs=4),
    target=DatasetSpec(dataset="digits-rgb", images=1078, teacher="cnn-small-narrow", teacher_epochs=10, epochs=6),
    # bench/results/recipe.md: 4 and 7 points better than a constant 1e-3, in the same seconds.
    training=Training(
        batch_size=32, learning_rate=4e-3, schedule="average", average_steps=20, teacher_learning_rate=5e-3
    ),
    search=Search(trials=8),
    confirm=Confirm(rounds=((2, 2),)),
    transfer=Transfer(seeds=5, rule=RULE),
    baselines=Baselines(methods=("mobilenet",)),
)

_QUICK = Spec(
    preset="quick",
    # Few images and many epochs: a student that sees each image three times has nothing to learn from a teacher, one
    # that sees it fifteen times has, in the same time. The recipe as well: bench/results/recipe.md.
    source=DatasetSpec(dataset="mnist", images=4_000, teacher="cnn-small", teacher_epochs=15, epochs=15),
    target=DatasetSpec(dataset="cifar10", images=4_000, teacher="cnn-small", teacher_epochs=18, epochs=12),
    training=Training(learning_rate=4e-3, schedule="average", teacher_learning_rate=5e-3),
    # bench/results/samplers.md: of the searches with 29 trainings, Sobol points with halving end nearest to the best.
    search=Search(trials=10, sampler="qmc"),
    confirm=Confirm(rounds=((4, 1), (2, 2))),
    transfer=Transfer(seeds=8, other_seeds=6, rule=RULE),
    # Four cheap searches more, from other starting points: which points a search finds is the larger part of what is
    # uncertain about the regret. bench/results/answer.md.
    outer=Repeats(searches=5, trials=8, rounds=((3, 1),), seeds=4),
    baselines=Baselines(methods=("autokeras", "mobilenet", "efficientnet-lite0"), autokeras_epochs=4),
)

PRESETS = {
    "tiny": _TINY,
    "quick": _QUICK,
    # The sweep of quick, and beside it whatever else makes a classifier of the same images.
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
    "full": Spec(
        preset="full",
        source=DatasetSpec(dataset="mnist", images=50_000, teacher="keras-teacher", teacher_epochs=10, epochs=20),
        target=DatasetSpec(dataset="cifar10", images=45_000, teacher="resnet20", teacher_epochs=60, epochs=60),
        # bench/results/recipe.md: of three recipes the best with 20,000 images, too. bench/results/samplers.md: with
        # many trials TPE that lags behind by eight, and halving, end nearest to the best.
        training=Training(learning_rate=4e-3, schedule="average"),
        search=Search(trials=100),
        confirm=Confirm(rounds=((16, 2), (4, 10))),
        transfer=Transfer(
            seeds=30,
            margin=0.3,
            rule=RULE,
            source_arms=SOURCE_ARMS + CONTROLS,
            target_arms=(*TARGET_ARMS, *CONTROLS, AUTOKERAS_ARM),
        ),
        outer=Repeats(teachers=3, searches=5, trials=40, rounds=((10, 2), (3, 5)), seeds=10),
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

# Lowest and highest sd between seeds of the paired difference of two points, test accuracy points, and where it was
# measured: it depends on how near the points lie. What `create` says a plan can resolve. By target and student.
PAIRED_SD = {("cifar10", "keras-student"): (0.25, 0.48, "bench/results/recipe.md, preset quick")}

# The same between searches, of the mean regret of each: what a search of preset quick finds is partly luck.
SEARCH_SD = {("cifar10", "keras-student"): (0.1, 0.69, "bench/results/answer.md")}

# Wall minutes on 2 cores, as measured: what any sweep and each of its tasks are expected to take is reckoned from them.
MINUTES = {"tiny": 1, "quick": 10, "compare": 16}

# What `run` takes instead when neither MNIST nor CIFAR-10 can be had: nothing to download.
WITHOUT_DOWNLOAD = {
    "source": PRESETS["tiny"].source,
    "target": PRESETS["tiny"].target,
    "training": PRESETS["tiny"].training,
}


def preset(name: str) -> Spec:
    """Return the preset of that name; SpecError lists those that exist."""
    if name in PRESETS:
        return PRESETS[name]
    near = get_close_matches(name, PRESETS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise SpecError(f"no preset {name!r}; presets: {', '.join(PRESETS)}{hint}")


def on(spec: Spec, *, source: str | None = None, targets: Sequence[str] = (), alone: bool = False) -> Spec:
    """Put a spec on other datasets. Datasets that it or a preset knows bring their settings along.

    So `--source cifar10 --target mnist` swaps the two, images, teacher and epochs included. Any other dataset keeps
    the settings of the role that it takes over, a further target those of the first.

    Args:
        alone: without a target; `targets` are not read.

    Raises:
        SpecError: a dataset twice, or more targets than there are roles for.
    """
    from kd.data.datasets import is_own  # here: NumPy takes a while to import, and most commands need none

    known = {
        part.dataset: part for other in (*reversed(PRESETS.values()), spec) for part in map(other.role, other.roles)
    }
    wanted = {"source": source or spec.source.dataset}
    if not alone:
        wanted |= zip(ROLES[1:], targets or [spec.role(role).dataset for role in spec.targets], strict=False)
    if len(targets) > len(ROLES) - 1:
        raise SpecError(f"--target: got {len(targets)} of them; allowed: at most {len(ROLES) - 1}")
    roles: dict[str, Any] = dict.fromkeys(ROLES)
    for role, dataset in wanted.items():
        part = known.get(dataset) or (spec.target if role != "source" and spec.target else spec.source)
        roles[role] = part.model_dump() | {"dataset": dataset}
        if dataset != part.dataset:
            roles[role] |= {"content_hash": "", "name": "", "size": ()}
            if is_own(dataset):
                roles[role]["images"] = 0  # all of them, unless the request says less
    return override(spec, roles)


@dataclass(frozen=True)
class SpecRequest:
    """The options of `run` and `create` that make a spec.

    base: a preset, or what a file holds; None is preset quick. changes: dotted keys, as in
    `sweeps.spec.model.override`. source, targets: datasets, as in `sweeps.distill.presets.on`. dataset: one alone, in
    their place. teacher, student: of every dataset for which `changes` name no other.
    """

    base: Spec | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    targets: Sequence[str] = ()
    teacher: str | None = None
    student: str | None = None
    dataset: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the name of a sweep was given."""
        return not any(vars(self).values())

    def spec(self) -> Spec:
        """Return the spec that all this makes.

        Raises:
            SpecError: it makes none.
        """
        if self.dataset and (self.source or self.targets):
            other = "--source" if self.source else "--target"
            raise SpecError(f"--dataset is one dataset alone, without a target; leave out --dataset or {other}")
        for role, name in zip(ROLES, (self.dataset or self.source, *self.targets), strict=False):
            other = self.changes.get(f"{role}.dataset", name)
            if name and other != name:
                raise SpecError(f"{role}.dataset: got {name!r} and, by --set, {other!r}; give one of them")
        base = self.base or preset("quick")
        if self.dataset:
            placed = on(base, source=self.dataset, alone=True)
        else:
            placed = on(base, source=self.source, targets=self.targets)
        taught = {f"{role}.teacher": self.teacher for role in _taught_by(placed, self.teacher)} if self.teacher else {}
        learning = {f"{role}.student": self.student for role in placed.roles} if self.student else {}
        return override(placed, taught | learning | dict(self.changes))


def _taught_by(spec: Spec, teacher: str) -> Sequence[str]:
    """Return the roles that a teacher is meant for: all of them, or the one whose dataset its file names."""
    from kd.teachers.logits_file import PREFIX, read  # here: NumPy takes a while to import, and most commands need none

    if not teacher.startswith(PREFIX):
        return spec.roles
    try:
        dataset = read(Path(teacher.removeprefix(PREFIX)).expanduser()).dataset
    except DataError as error:
        raise SpecError(f"--teacher: {error}") from None
    return [role for role in spec.roles if spec.role(role).dataset == dataset] or spec.roles
