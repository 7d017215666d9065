"""What `create` says of a distillation, and how much its seeds differ."""

from pathlib import Path

from sweeps.distill.spec import DatasetSpec, KdSpec, formula

# Lowest and highest sd between seeds of the paired difference of two points, test accuracy points, and where it was
# measured: it depends on how near the points lie. What `create` says a plan can resolve. By target and student.
PAIRED_SD = {("cifar10", "keras-student"): (0.25, 0.48, "bench/results/recipe.md, preset quick")}

# The same between searches, of the mean regret of each: what a search of preset quick finds is partly luck.
SEARCH_SD = {("cifar10", "keras-student"): (0.1, 0.69, "bench/results/answer.md")}


def summary(spec: KdSpec) -> dict[str, str]:
    return {"data": " -> ".join(_images(spec.role(role)) for role in spec.roles), "models": _models(spec)}


def details(spec: KdSpec) -> list[str]:
    return [
        *(_described(name, spec.role(name)) for name in spec.roles),
        f"training Adam {spec.training.learning_rate:g} ({spec.training.schedule}), batch {spec.training.batch_size}",
        f"loss     {formula(spec.training.distillation)}",
    ]


def seed_sd(spec: KdSpec, *, searches: bool) -> tuple[float, float, str] | None:
    known, part = SEARCH_SD if searches else PAIRED_SD, spec.role("target")
    return known.get((part.dataset, part.student))


def _images(role: DatasetSpec) -> str:
    name = role.name or Path(role.dataset).name  # of a file its name alone
    return f"{name} ({role.images:,} images)"


def _models(spec: KdSpec) -> str:
    """Say who teaches whom, once where it is the same on every dataset."""
    parts = [spec.role(role) for role in spec.roles]
    teachers, students = {part.teacher for part in parts}, {part.student for part in parts}
    if len(students) > 1:
        return "; ".join(f"{part.teacher} teaches {part.student} on {_short(part)}" for part in parts)
    if len(teachers) == 1:
        return f"{parts[0].teacher} teaches {parts[0].student}"
    return f"{', '.join(f'{part.teacher} on {_short(part)}' for part in parts)} teach {parts[0].student}"


def _short(role: DatasetSpec) -> str:
    return role.name or Path(role.dataset).stem


def _described(name: str, role: DatasetSpec) -> str:
    views = f", {role.views} views of each image" if role.augment != "none" else ""
    return (
        f"{name:<8} {role.shown}: {role.images} images{views}, teacher {role.teacher}, student {role.student}, "
        f"{role.epochs} epochs"
    )
