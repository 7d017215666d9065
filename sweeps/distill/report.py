"""Add to the pages of a distillation: data and training in Methods, and the cost of trainings and models."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from kd.baselines.applications import APPLICATIONS, TUNED
from kd.losses.builtin import LOSSES
from sweeps.distill.arms import AUTOKERAS
from sweeps.distill.cost import MULTIPLES, BreakEven
from sweeps.distill.snippets import NAMES
from sweeps.distill.spec import DatasetSpec, KdSpec, Training, formula
from sweeps.findings.findings import Findings
from sweeps.findings.rows import Row
from sweeps.plan.jobs import Measured
from sweeps.report.document import Block, Bullets, Fold, Heading, Paragraph, columns, table
from sweeps.report.words import display_name, model, number, percentage, seconds_not_compared
from sweeps.stats.estimates import Estimate, pareto_front
from sweeps.terminal import number_of
from sweeps.trainers.protocol import ReportParts

_EVENS = TypeAdapter(tuple[BreakEven, ...])
_COLUMNS = columns(
    "method",
    "MACs (million)",
    "file KB",
    "int8 KB",
    "int8 test %",
    "latency ms p50 / p95",
    "images/s",
    "train CPU s",
    "+ teacher and search CPU s",
    text=1,
)


def read_evens(own: Mapping[str, Any]) -> tuple[BreakEven, ...]:
    return _EVENS.validate_python(own.get("break_evens", ()))


def times(multiple: float) -> str:
    """Return a multiple of a cost: "4x", "1/4x"."""
    return f"{multiple:g}x" if multiple >= 1 else f"1/{math.floor(1 / multiple)}x"


def break_even_sentence(even: BreakEven) -> str:
    first, last = even.curve[0][0], even.curve[-1][0]
    parts = []
    for multiple, value in zip(MULTIPLES, even.at, strict=True):
        early = multiple * even.sweep_cpu_s < first
        nothing = "no trial finished yet" if early else f"beyond its {last:.0f} CPU s"
        parts.append(f"{times(multiple)} {nothing if value is None else f'{value:.2f} %'}")
    reached = (
        f"AutoKeras reached it after {even.even_at:.0f} CPU s"
        if even.even_at is not None
        else f"AutoKeras did not reach it within {last:.0f} CPU s"
    )
    if even.even_at is not None and even.sweep_cpu_s:
        reached += f", {even.even_at / even.sweep_cpu_s:.2g} times the cost of the sweep"
    return (
        f"break-even on {display_name(even.dataset)}: the distilled student reached {even.student:.2f} % validation"
        f" accuracy after {even.sweep_cpu_s:.0f} CPU s of teachers, search and confirm; {reached}. AutoKeras at"
        f" multiples of the cost of the sweep: {', '.join(parts)}"
    )


@dataclass(frozen=True)
class _Choice:
    """A model that a user would deploy. test: a fraction; kilobytes: of its file; latency: ms."""

    name: str
    test: Estimate
    kilobytes: float
    latency: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.name}, {percentage(self.test.mean)} % (n={self.test.n})"


def _choices(findings: Findings, role: str) -> list[_Choice]:
    """Return the tested and measured models of a dataset, without the arms that only explain others."""
    choices, dataset = [], findings.spec.role(role).dataset
    for row in findings.rows:
        measured = row.measured
        if row.dataset != dataset or row.test is None or measured is None:
            continue
        if row.kind == "arm" and row.method not in ("best", "scratch", AUTOKERAS):
            continue  # the other arms have the same network
        if measured.bytes is not None and measured.latency_ms_p50 is not None and row.train_cpu_s is not None:
            cpu_s = row.train_cpu_s + (row.shared_cpu_s or 0.0)
            name, detail = model(findings.spec, role, row)
            if row.kind == "teacher":  # of which a dataset may have several
                name = f"{name}, {detail}"
            choices.append(_Choice(name, row.test, measured.bytes / 1000, measured.latency_ms_p50, cpu_s))
    return choices


def _advice(choices: Sequence[_Choice], *, same_machine: bool) -> list[str]:
    smallest = min(choices, key=lambda choice: choice.kilobytes)
    fastest = min(choices, key=lambda choice: choice.latency)
    advice = [
        f"most accurate: {max(choices, key=lambda choice: choice.test.mean)}",
        f"smallest file: {smallest}, {smallest.kilobytes:,.0f} KB",
        f"fastest: {fastest}, {fastest.latency:.2f} ms",
        f"Pareto front of latency and accuracy: {_front(choices, [choice.latency for choice in choices])}",
    ]
    if same_machine:
        cheapest = min(choices, key=lambda choice: choice.cpu_s)
        advice += [
            f"cheapest to train: {cheapest}, {cheapest.cpu_s:.0f} CPU s",
            f"Pareto front of training cost and accuracy: {_front(choices, [choice.cpu_s for choice in choices])}",
        ]
    return advice


def _front(choices: Sequence[_Choice], costs: Sequence[float]) -> str:
    front = pareto_front([(cost, choice.test.mean) for cost, choice in zip(costs, choices, strict=True)])
    return ", ".join(f"{choices[index].name} ({percentage(choices[index].test.mean, '.1f')} %)" for index in front)


def _models(findings: Findings, role: str) -> list[tuple[str, Row, Measured]]:
    """Return the measured models of a dataset with their labels; one of the students, which share a network."""
    models = []
    for row in findings.rows:
        is_shown = row.kind != "arm" or row.method in ("best", AUTOKERAS)
        if row.dataset == findings.spec.role(role).dataset and row.measured is not None and is_shown:
            label = ", ".join(filter(None, model(findings.spec, role, row)))
            models.append(("Student" if row.method == "best" else label, row, row.measured))
    return models


def _cells(name: str, row: Row, measured: Measured) -> list[str]:
    return [
        name,
        number(measured.macs, ",.2f", 1e-6),
        number(measured.bytes, ",.0f", 1e-3),
        number(measured.int8_bytes, ",.0f", 1e-3),
        percentage(measured.int8_test_accuracy),
        f"{number(measured.latency_ms_p50, '.2f')} / {number(measured.latency_ms_p95, '.2f')}",
        number(measured.images_per_s, ",.0f"),
        number(row.train_cpu_s, ".1f"),
        number(row.shared_cpu_s, ".0f"),
    ]


def _data(spec: KdSpec) -> str:
    names = ["source", *("target" for _ in spec.targets)] if spec.targets else ["dataset"]
    described = zip(names, spec.parts, strict=True)
    data = "; ".join(
        f"{name} {display_name(part.dataset)}, {part.images:,} training images" for name, part in described
    )
    text = (
        f"**Data.** {data[0].upper()}{data[1:]}. Training subsets are stratified by class. Selection uses validation"
        " images that are held out from the training data. Only the trainings on fresh seeds that compare the arms, and"
        " the final measurement, read the test images, after every selection is frozen."
    )
    crops = [f"{display_name(part.dataset)} ({part.views} views)" for part in spec.parts if part.augment != "none"]
    if crops:
        text += (
            f" Augmentation: random crops and flips on {', '.join(crops)}; the views of each image are fixed, and the"
            " teacher's logits are those of the same view (He et al. 2015; Beyer et al. 2021)."
        )
    return text


def _training(spec: KdSpec) -> str:
    training = spec.training
    display = KdReport().display
    teachers = _listed(spec, lambda part: f"{display(display_name(part.teacher))}, {part.teacher_epochs} epochs")
    students = _listed(spec, lambda part: f"{part.student}, {part.epochs} epochs")
    loss = LOSSES.get(training.distillation)
    source = f" ({loss.source.partition(',')[0]})" if loss else ""
    several = "" if spec.outer.teachers == 1 else f" On each dataset {spec.outer.teachers} teachers are trained."
    return (
        f"**Training.** Teachers learn from labels alone ({teachers}; Adam, learning rate"
        f" {training.teacher_learning_rate:g} with cosine decay to 0); their logits are computed once.{several}"
        f" Students ({students}; Adam, {_rate(training)}) minimise `{formula(training.distillation)}`{source};"
        f" alpha weighs the labels. Batches of {training.batch_size}."
    )


def _rate(training: Training) -> str:
    if training.schedule == "average":
        return (
            f"constant learning rate {training.learning_rate:g}; the student is the exponential moving average of its"
            f" weights over about {training.average_steps} steps (Polyak & Juditsky 1992)"
        )
    return training.rate() + (" (Loshchilov & Hutter 2017)" if training.schedule == "cosine" else "")


def _listed(spec: KdSpec, describe: Callable[[DatasetSpec], str]) -> str:
    if len(alike := {describe(part) for part in spec.parts}) == 1:
        return alike.pop()
    return "; ".join(f"{display_name(part.dataset)}: {describe(part)}" for part in spec.parts)


class KdReport(ReportParts):
    @property
    def figures(self) -> Sequence[Any]:  # type: ignore[override]
        from sweeps.distill.figures import FIGURES

        return FIGURES

    def methods(self, spec: KdSpec) -> Sequence[str]:
        return _data(spec), _training(spec)

    def display(self, method: str) -> str:
        method = method.removeprefix("pretrained:").removeprefix("baseline:")  # as teachers are written
        network = APPLICATIONS.get(method.removesuffix(TUNED))
        if network is None:
            return {AUTOKERAS: "AutoKeras", **NAMES}.get(method, method)
        return f"{network.title} (pretrained{', fine-tuned' if method.endswith(TUNED) else ''})"

    def budget(self, spec: KdSpec, method: str) -> str:
        limits = spec.baselines
        text = f"{number_of(limits.autokeras_trials, 'trial')} of {number_of(limits.autokeras_epochs, 'epoch')}"
        return text if method == AUTOKERAS else ""

    def references(self, spec: KdSpec) -> str:
        budget = spec.baselines
        limits = {
            AUTOKERAS: f" (at most {budget.autokeras_trials} trials of {budget.autokeras_epochs} epochs and"
            f" {budget.autokeras_parameters:,} parameters)"
        }
        return "".join(
            f" Baselines, trained once on {display_name(spec.role(role).dataset)}:"
            f" {', '.join(self.display(method) + limits.get(method, '') for method in spec.baselines_on(role))}."
            for role in spec.roles
            if spec.baselines_on(role)
        )

    def notes(self, spec: KdSpec) -> Sequence[str]:
        return (f"loss: `{formula(spec.training.distillation)}`; alpha weighs the labels",)

    def cost(self, findings: Findings, figures: Iterable[Block]) -> Sequence[Block]:
        if all(row.measured is None for row in findings.rows):
            return []
        blocks, reasons = list[Block](), ""
        kinds = findings.provenance.machine_kinds
        evens = {even.dataset: even for even in read_evens(findings.own)}
        for role in findings.report_roles:
            dataset = findings.spec.role(role).dataset
            models = _models(findings, role)
            rows = [_cells(name, row, measured) for name, row, measured in models]
            reasons += "".join(
                f" No int8 of {name} on {display_name(dataset)}: {measured.int8_reason}."
                for name, _, measured in models
                if measured.int8_reason
            )
            if rows:
                blocks += [Heading(f"On {display_name(dataset)}", level=3), table(_COLUMNS, rows)]
            choices = _choices(findings, role)
            if choices:
                advice = _advice(choices, same_machine=len(kinds) == 1)
                advice += [break_even_sentence(evens[dataset])] if dataset in evens else []
                blocks.append(Bullets(tuple(advice)))
        blocks.append(
            Paragraph(
                "MACs and latency are those of one image on one thread, from the stored image to the logits, resizing"
                " included. Throughput (images/s) is measured in batches of 256. All students of a dataset share one"
                " network: the distilled one was measured and speaks for all. int8 test accuracy is that of this one"
                f" student; large networks are tested on fewer, evenly spaced images.{reasons}",
                small=True,
            )
        )
        if apart := seconds_not_compared(kinds):
            blocks.append(Paragraph(apart))
        return [
            Fold("Cost, and when to use what", "size, speed, seconds of training", (*blocks, *figures), printed=True)
        ]
