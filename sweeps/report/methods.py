"""The Methods text: data, training, search, confirm, comparison, statistics."""

from collections.abc import Callable, Sequence

from sweeps.distill.arms import DEFAULT_POINTS
from sweeps.distill.space import search_space
from sweeps.distill.spec import DatasetSpec, Training, formula, known
from sweeps.findings.findings import Findings
from sweeps.hints import PORTABLE
from sweeps.report.document import Code, Fold, Paragraph
from sweeps.report.words import counted
from sweeps.spec.model import Spec
from sweeps.stats.estimates import percent
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM
from sweeps.stats.verdict import FEWEST_SEARCHES

_ARMS = {
    "best": "T and alpha tuned on {source}",
    "native": "T and alpha tuned on the target itself",
    "best-scaled": "as best, T times the spread of the logits of this dataset's teacher over that of the source's",
    "scratch": "labels only",
    "default-paper": "T, alpha and the loss's own parameters as in its paper",
    "scratch-tuned": "labels only, with the learning rate, epochs and batch size of `best` as far as these were tuned",
    "random": "T and alpha drawn anew for each seed",
    "class-mean": "as best, but with the mean logits of each class instead of the teacher's",
    "shuffled-within-class": "as best, but with the teacher's logits permuted among the images of each class",
    "label-smoothing": "labels smoothed by 0.1, no teacher",
    "autokeras": "the network that AutoKeras found, trained anew with each seed on labels only",
    "scratch-same-cost": "labels only, for so many epochs that the arm costs as many operations as `best` with the"
    " search, the confirmation and the teachers that it needed, all counted",
}


_SAMPLERS = {
    "tpe": "multivariate TPE (Bergstra et al. 2011, Optuna)",
    "gp": "a Gaussian process (Optuna's GPSampler)",
    "random": "a random draw",
}


def section(findings: Findings) -> Fold:
    """Return the section "Methods": a few paragraphs, and the commands that run the sweep again."""
    name, spec = findings.name, findings.spec
    blocks = (
        Paragraph(_data(spec)),
        Paragraph(_training(spec)),
        Paragraph(_search(spec)),
        Paragraph(_transfer(spec)),
        Paragraph(_statistics(spec)),
        Paragraph(
            "The same spec gives the same tasks and the same seeds. To run it again in another storage, use the"
            " `spec.toml` beside this page:"
        ),
        Code((PORTABLE.create(name, "spec.toml"), PORTABLE.launch(name))),
    )
    return Fold("Methods", "what was done, to cite and to run again", blocks)


def _data(spec: Spec) -> str:
    roles = [(role, spec.role(role)) for role in spec.roles]
    data = "; ".join(f"{_role(role, spec)} {part.dataset}, {part.images:,} training images" for role, part in roles)
    text = (
        f"**Data.** {data[0].upper()}{data[1:]}. Training subsets are stratified by class. Selection uses validation"
        " images that are held out from the training data. Only the trainings on fresh seeds that compare the arms, and"
        " the final measurement, read the test images, after every selection is frozen."
    )
    crops = [f"{part.dataset} ({part.views} views)" for _, part in roles if part.augment != "none"]
    if crops:
        text += (
            f" Augmentation: random crops and flips on {', '.join(crops)}; the views of each image are fixed, and the"
            " teacher's logits are those of the same view (He et al. 2015; Beyer et al. 2021)."
        )
    return text


def _training(spec: Spec) -> str:
    training = spec.training
    teachers = _listed(spec, lambda part: f"{part.teacher}, {part.teacher_epochs} epochs")
    students = _listed(spec, lambda part: f"{part.student}, {part.epochs} epochs")
    several = "" if spec.outer.teachers == 1 else f" On each dataset {spec.outer.teachers} teachers are trained."
    return (
        f"**Training.** Teachers learn from labels alone ({teachers}; Adam, learning rate"
        f" {training.teacher_learning_rate:g} with cosine decay to 0); their logits are computed once.{several}"
        f" Students ({students}; Adam, {_rate(training)}) minimise `{formula(training.distillation)}`"
        f"{_source(training.distillation)}; alpha weighs the labels. Batches of {training.batch_size}."
    )


def _source(loss: str) -> str:
    builtin = known(loss)
    return f" ({builtin.source.partition(',')[0]})" if builtin else ""


def _rate(training: Training) -> str:
    if training.schedule == "average":
        return (
            f"constant learning rate {training.learning_rate:g}; the student is the exponential moving average of its"
            f" weights over about {training.average_steps} steps (Polyak & Juditsky 1992)"
        )
    return training.rate() + (" (Loshchilov & Hutter 2017)" if training.schedule == "cosine" else "")


def _search(spec: Spec) -> str:
    search, rounds = spec.search, spec.confirm.rounds
    several = _further(spec)
    native = " The same search and confirmation on each target, with the same seeds, give `native`."
    native = native if spec.targets else ""
    points = [f"{search.planned} scrambled Sobol points (Owen 1998)"] if search.planned else []
    if search.trials > search.planned:
        sampler = _SAMPLERS.get(search.sampler, f"`{search.sampler}`")
        points.append(
            f"{search.trials - search.planned} points proposed by {sampler}, each of them from the outcomes of all"
            f" trials but the {search.lag - 1} before it, whatever finished first"
        )
    confirm = _confirm(rounds)
    return (
        f"**Search.** T in [{search.temperature[0]:g}, {search.temperature[1]:g}] (log-uniform) and alpha in"
        f" [{search.alpha[0]:g}, {search.alpha[1]:g}] (uniform){_more(spec)}, {search.trials} trials on"
        f" {spec.source.dataset}: {', then '.join(points)}. All trials use the same student seed and are scored by"
        f" validation accuracy after the last epoch, without pruning. {confirm}. The points of a round share their"
        f" seeds; the one with the highest mean over fresh seeds is `best`.{native}{several}"
    )


def _more(spec: Spec) -> str:
    """Return the ranges of what is searched beyond T and alpha."""
    return "".join(f", {name} in {bounds}" for name, bounds in search_space(spec).items() if name in spec.search.space)


def _confirm(rounds: Sequence[tuple[int, int]]) -> str:
    (top, seeds), *later = rounds
    text = f"The {top} best points are retrained on {seeds} fresh seeds each"
    for points_left, more in later:
        text += f"; the {points_left} best of these on {more} more"
    return text


def _further(spec: Spec) -> str:
    """Return how the search is repeated."""
    if spec.outer.searches == 1:
        return ""
    cheap = spec.for_group("further")
    return (
        f" The search is repeated from other starting points and with seeds of its own, {spec.outer.searches} in all"
        f" per teacher; each further one has {cheap.search.trials} trials. {_confirm(cheap.confirm.rounds)}."
        + (
            f" Its best and native are compared, beside scratch, on {cheap.transfer.seeds} seeds of their own."
            if spec.targets
            else ""
        )
    )


def _transfer(spec: Spec) -> str:
    arms = dict.fromkeys(arm for role in spec.roles for arm in spec.arms(role))
    budget = spec.baselines
    limits = {
        "autokeras": f" (at most {budget.autokeras_trials} trials of {budget.autokeras_epochs} epochs and"
        f" {budget.autokeras_parameters:,} parameters)"
    }
    beside = "".join(
        f" Baselines, trained once on {spec.role(role).dataset}:"
        f" {', '.join(method + limits.get(method, '') for method in spec.baselines_on(role))}."
        for role in spec.roles
        if spec.baselines_on(role)
    )
    return (
        f"**{'Transfer' if spec.targets else 'Comparison'}.** {_seeds(spec)}, which no selection saw:"
        f" {'; '.join(f'`{arm}`, {_arm(arm, spec.source.dataset)}' for arm in arms)}.{beside} Latency is the median"
        " over single images on one thread; the models take turns in one process."
    )


def _seeds(spec: Spec) -> str:
    transfer = spec.transfer
    if not spec.targets or spec.seeds_of("target", "scratch") == transfer.seeds:
        return f"Every arm is trained with the same {transfer.seeds} seeds"
    return (
        f"On the target `native` and `best` are trained with the same {transfer.seeds} seeds, every other arm with the"
        f" first {transfer.other_seeds} of them"
    )


def _statistics(spec: Spec) -> str:
    transfer = spec.transfer
    if not spec.targets:
        return f"**Statistics.** {_intervals(spec)}"
    levels = [f"{percent(transfer.level(look)):.3g} %" for look in range(1, transfer.looks + 1)]
    looks = "once" if transfer.looks == 1 else f"at most {transfer.looks} times, at {', '.join(levels)} in turn"
    outer = "" if spec.outer.teachers == 1 else " Intervals over teachers, their searches averaged, are given apart."
    least = "" if transfer.rule == 1 else ", with the larger of the variances between searches and of their seeds"
    unit = (
        "The regret is the mean over searches; its interval is Student's t over searches, so it covers seeds and search"
        f" for one teacher (Snedecor & Cochran 1989, nested sampling){least}, and the verdict is decided over searches."
        if spec.outer.searches >= FEWEST_SEARCHES
        else "Its interval covers the training seeds of one search and one teacher."
    )
    return (
        "**Statistics.** The one primary question is the regret, native − best, in points of test accuracy, paired by"
        f" seed. {unit}"
        f" The margin is {counted(transfer.margin)} or, where native measurably gains over scratch and half of"
        " that gain is less, half of that gain (one paired contrast). The verdict is FAILS when the one-sided"
        f" {percent(1 - transfer.level(1)):.3g} % lower t bound is above the margin; TRANSFERS when the upper bound is"
        " below it (non-inferiority, Piaggio et al. 2012) and native measurably beats scratch or random; FLAT when"
        f" native is shown to lie less than {counted(transfer.margin)} above best, scratch and random alike"
        f"{'' if transfer.rule == 1 else ', and not shown to beat scratch'};"
        f" UNDECIDED otherwise. The test set may be read {looks}; the spec and its time were stored before the"
        f" first look. {_intervals(spec, other=True)}{outer}"
    )


def _intervals(spec: Spec, *, other: bool = False) -> str:
    """Say what intervals and p values are of. other: those beside a verdict."""
    beside = " other" if other else ""
    matter = (
        " Whether T and alpha matter is judged by a Gaussian process fitted to all runs of all"
        " searches (Rasmussen & Williams 2006): the share of the searched box that loses less than half the standard"
        " deviation of a run against its best point."
    )
    return (
        f"All{beside} intervals are 95 % t intervals over seeds, of differences paired by seed (Student"
        f" 1908), given one test set, and not adjusted for further looks. All{beside} questions are"
        f"{' secondary, and their p values are' if other else ''} adjusted by Holm's method (1979). Bias-corrected"
        f" bootstrap intervals (Efron 1987) are given from {BCA_FROM} seeds on, sign-flip tests (Fisher 1935) from"
        f" {SIGN_FLIP_FROM} on.{'' if spec.search.space else matter}"  # of more parameters that is not asked
    )


def _listed(spec: Spec, describe: Callable[[DatasetSpec], str]) -> str:
    """Return what each dataset has, once where it is the same for all."""
    parts = [spec.role(role) for role in spec.roles]
    if len({describe(part) for part in parts}) == 1:
        return describe(parts[0])
    return "; ".join(f"{part.dataset}: {describe(part)}" for part in parts)


def _role(role: str, spec: Spec) -> str:
    return "dataset" if not spec.targets else "source" if role == "source" else "target"


def _arm(arm: str, source: str) -> str:
    if arm in _ARMS:
        return _ARMS[arm].format(source=source)
    return f"T = {DEFAULT_POINTS[arm].temperature:g}, alpha = {DEFAULT_POINTS[arm].alpha:g}"
