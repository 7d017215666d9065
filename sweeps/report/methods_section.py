"""The Methods of a sweep, written from its spec: what was done, in the order it was done, and how to do it again."""

from collections.abc import Callable

from kd.config import LOSS_FORMULA
from sweeps.analysis.analysis import Analysis
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.tables import DatasetSpec
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM

_ARMS = {
    "best": "T and alpha that were tuned on {source}",
    "native": "T and alpha that were tuned on the target itself",
    "scratch": "labels only",
    "random": "T and alpha drawn anew for each seed",
    "class-mean": "as best, but with each class's mean logits for the teacher's",
    "shuffled-within-class": "as best, but with the teacher's logits permuted among the images of each class",
    "label-smoothing": "labels smoothed by 0.1, no teacher",
    "autokeras": "the network that AutoKeras found, trained anew with each seed on labels only",
    "scratch-same-cost": "labels only, for as many epochs as cost what a student and its share of the teacher cost",
}


def section(found: Analysis) -> list[str]:
    """The section "Methods" of a report, line by line: a few paragraphs and the commands that run the sweep again."""
    name = found.comparison.sweep.name
    paragraphs = [_data(found), _training(found), _search(found), _transfer(found), _statistics(found)]
    page = ["## Methods", ""]
    for paragraph in paragraphs:
        page += [paragraph, ""]
    return [
        *page,
        "The same spec gives the same tasks and the same seeds. To run it again, in another storage, from the"
        " `spec.toml` beside this page:",
        "",
        "```",
        f"kd-sweeps create {name} spec.toml",
        f"kd-sweeps launch {name}",
        "```",
        "",
    ]


def _data(found: Analysis) -> str:
    spec = found.spec
    roles = [(role, spec.role(role)) for role in spec.roles]
    data = "; ".join(f"{_role(role)} {part.dataset}, {part.images:,} training images" for role, part in roles)
    text = (
        f"**Data.** {data[0].upper()}{data[1:]}. Training images are taken class-balanced; selection uses validation"
        " images set aside from the training data. The test images are read by the trainings of transfer and the final"
        " measurement only, after every selection is frozen."
    )
    crops = [f"{part.dataset} ({part.views} views)" for _, part in roles if part.augment != "none"]
    if crops:
        text += (
            f" Random crops and flips on {', '.join(crops)}: fixed views of each image, with the teacher's logits of"
            " that view (He et al. 2015; Beyer et al. 2021)."
        )
    return text


def _training(found: Analysis) -> str:
    spec, training = found.spec, found.spec.training
    teachers = _listed(found, lambda part: f"{part.teacher}, {part.teacher_epochs} epochs")
    students = _listed(found, lambda part: f"{part.student}, {part.epochs} epochs")
    several = "" if spec.outer.teachers == 1 else f" {spec.outer.teachers} teachers were trained on each, and"
    return (
        f"**Training.** Teachers learn from labels alone ({teachers}; Adam, learning rate"
        f" {training.teacher_learning_rate:g} falling to 0 along half a cosine);{several} their logits are computed"
        f" once. Students ({students}; Adam, constant {training.learning_rate:g}) minimise `{LOSS_FORMULA}`"
        f" (Hinton et al. 2015); alpha weighs the labels. Batches of {training.batch_size}."
    )


def _search(found: Analysis) -> str:
    spec, search = found.spec, found.spec.search
    sobol = sum("temperature" in task.payload for task in found.comparison.tasks if task.phase == "search")
    several = "" if spec.outer.searches == 1 else f" It is done {spec.outer.searches} times for each teacher."
    return (
        f"**Search.** T in [{search.temperature[0]:g}, {search.temperature[1]:g}] (log-uniform) and alpha in"
        f" [{search.alpha[0]:g}, {search.alpha[1]:g}] (uniform), {search.trials} trials on"
        f" {spec.source.dataset}: {sobol} scrambled Sobol points (Owen 1998), then {search.trials - sobol} from"
        " multivariate TPE (Bergstra et al. 2011, Optuna), all with one student seed, scored by validation accuracy"
        f" after the last epoch; nothing is pruned. The {spec.confirm.top} best trials are trained again on"
        f" {spec.confirm.seeds} fresh seeds each; `best` has the highest mean. The same search and the same confirm on"
        f" each target, from the same Sobol points, give `native`.{several}"
    )


def _transfer(found: Analysis) -> str:
    spec = found.spec
    arms = dict.fromkeys([*spec.transfer.source_arms, *spec.transfer.target_arms])
    budget = spec.baselines
    limits = {
        "autokeras": f" (at most {budget.autokeras_trials} trials of {budget.autokeras_epochs} epochs,"
        f" {budget.autokeras_seconds} s in all)"
    }
    beside = "".join(
        f" Beside them, once on {spec.role(role).dataset}:"
        f" {', '.join(method + limits.get(method, '') for method in budget.on(role))}."
        for role in spec.roles
        if budget.on(role)
    )
    return (
        f"**Transfer.** {spec.transfer.seeds} seeds that no selection saw, the same for each arm:"
        f" {'; '.join(f'`{arm}`, {_arm(arm, spec.source.dataset)}' for arm in arms)}.{beside} Latency is the median of"
        " single images on one thread, the models taking turns in one process."
    )


def _statistics(found: Analysis) -> str:
    spec, transfer = found.spec, found.spec.transfer
    looks = "once" if transfer.looks == 1 else f"at most {transfer.looks} times, each at 5 %/{transfer.looks}"
    outer = "" if spec.outer.teachers == 1 else " Intervals over teachers, their searches averaged, are given apart."
    return (
        "**Statistics.** The one primary question is the regret, native − best, in points of test accuracy, paired by"
        f" seed, against a margin of {transfer.margin:g}: TRANSFERS when its one-sided"
        f" {100 * (1 - transfer.level):.3g} % upper t bound is below the margin (non-inferiority, Piaggio et al. 2012),"
        " FAILS when the lower bound is above it, FLAT when native is found to beat neither scratch nor random, else"
        f" UNDECIDED. The test may be read {looks}; spec and time were stored before the first look. Intervals are"
        " 95 % t intervals over seeds, of differences paired by seed (Student 1908). All other questions are secondary,"
        f" and their p values Holm's (1979); bias-corrected bootstrap intervals from {BCA_FROM} seeds on (Efron 1987),"
        f" sign-flip tests from {SIGN_FLIP_FROM} on (Fisher 1935). Whether there is an optimum to find is the"
        f" intraclass correlation of single runs (Shrout & Fleiss 1979).{outer}"
    )


def _listed(found: Analysis, describe: Callable[[DatasetSpec], str]) -> str:
    """What each dataset has, said once where it is the same for all."""
    parts = [found.spec.role(role) for role in found.spec.roles]
    if len({describe(part) for part in parts}) == 1:
        return describe(parts[0])
    return "; ".join(f"{part.dataset}: {describe(part)}" for part in parts)


def _role(role: str) -> str:
    return "source" if role == "source" else "target"


def _arm(arm: str, source: str) -> str:
    if arm in _ARMS:
        return _ARMS[arm].format(source=source)
    temperature, alpha = DEFAULT_POINTS[arm]
    return f"T = {temperature:g}, alpha = {alpha:g}"
