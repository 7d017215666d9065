"""A second trainer, without a teacher, completes whole sweeps, and every message names its own parameters."""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from kd.errors import NotHere
from storage.url import resolve
from sweeps import Sweep
from sweeps.errors import SpecError
from sweeps.plan.plan import RECIPE_SEEDS
from sweeps.query.listing import open_sweep, trial_rows
from sweeps.spec.model import Spec, parse
from sweeps.trainers.arms import Arm
from sweeps.trainers.protocol import Point
from sweeps.usecases.create import create_sweep
from sweeps.workers.worker import run_worker
from tests.examples.digits_trainer import DigitsKind
from tests.support.sweeps.small_sweeps import tasks_of
from tests.support.sweeps.typed_commands import KdSweeps

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # it stops after 60 steps


TRAINER = Path(__file__).with_name("digits_trainer.py")
ONE: dict[str, Any] = {
    "trainer": {"kind": f"{TRAINER}:KIND"},
    "source": {"dataset": "digits"},
    "search": {"trials": 4},
    "confirm": {"rounds": [[2, 1]]},
    "transfer": {"seeds": 3},
}
TWO = ONE | {"target": {"dataset": "negative"}}
TASKS = {"one": 13, "two": 32}

FOREIGN = re.compile(r"teacher|student|distil|keras|scratch|temperature|alpha|α|\bT\b", re.IGNORECASE)
# Names of statistics, and the versions of all packages of the machine.
_ALLOWED = re.compile(
    r"\(Student\s+1908\)|Student's t|95 %\s+t intervals?|\\% t interval|t\s+bound|^- .*; python .*$", re.M
)


CANDIDATES = [Point.of({"C": c, "tol": 1e-4}) for c in (1e-3, 1.0, 30.0)]


class _ChosenKind(DigitsKind):
    """The same trainer with an arm whose C is chosen among three."""

    chosen = Arm(
        key="chosen",
        label="The best of three",
        method="the C of three that validation chose",
        point=lambda context: context.chosen(),
        candidates=lambda spec, role: CANDIDATES,
        standard=3,
    )
    arms = MappingProxyType({**DigitsKind.arms, "chosen": chosen})


CHOSEN = _ChosenKind()


@pytest.fixture(scope="module", params=["one", "two"])
def worked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the number of datasets, and the URL of a storage with a finished sweep "d"."""
    url = f"sqlite:///{tmp_path_factory.mktemp('digits')}/kd-sweeps.db"
    assert create_sweep(resolve(url), "d", _spec(request.param)).new
    assert run_worker(resolve(url), "d") == 0
    return request.param, url


def _spec(datasets: str) -> Spec:
    return parse(ONE if datasets == "one" else TWO, origin="test", new=True)


def _foreign(text: str) -> list[str]:
    lines = _ALLOWED.sub("", text).splitlines()
    return [line for line in lines if FOREIGN.search(line)]


def test_every_task_is_done_and_the_archive_verifies(worked: tuple[str, str], kd_sweeps: KdSweeps) -> None:
    datasets, url = worked
    code, table, audit = kd_sweeps("status", "d", "--audit", "--storage", url)
    assert code == 0
    tasks = TASKS[datasets]
    assert f"audit: {tasks} planned, {tasks} accounted for, 0 violations, 0 warnings" in f"{table}{audit}"
    assert kd_sweeps("archive", "d", "-o", "d.kdsweep", "--storage", url)[0] == 0
    code, checks, _ = kd_sweeps("verify", "d.kdsweep")
    assert (code, "DIFFERS" in checks) == (0, False)
    assert re.search(r"^same     answer hash [0-9a-f]{12}$", checks, re.MULTILINE)
    assert ("verdict on negative" in checks) == (datasets == "two")


def test_the_page_uses_no_term_of_another_trainer(worked: tuple[str, str], kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    datasets, url = worked
    assert kd_sweeps("report", "d", "-o", "page", "--storage", url)[0] == 0
    page = tmp_path / "page"
    assert {path.stem for path in page.glob("figures/*.svg")} == {
        f"{name}{suffix}" for name in ("gains", "surface", "strategies") for suffix in ("", "-narrow")
    }
    text = (page / "report.md").read_text(encoding="utf-8")
    assert "C and tol" in text
    assert "too few searches to tell whether C and tol matter" in text
    assert "What each choice of C and tol gains" in text
    assert "| scikit-learn's default (`default`) | 1, 0.0001 |" in text
    assert ("negative" in text) == (datasets == "two")
    assert (page / "results.csv").read_text(encoding="utf-8").partition("\n")[0] == (
        "dataset,role,arm,group,repeat,seed,state,C,tol,val_accuracy,test_accuracy,train_s,cpu_s,stage"
    )
    for name in ("report.md", "results.csv", "table.tex", *(f"figures/{path.name}" for path in page.glob("figures/*"))):
        written = (page / name).read_text(encoding="utf-8")
        assert _foreign(re.sub(r"<style>.*?</style>|<[^>]*>", "\n", written, flags=re.DOTALL)) == [], name
    html = (page / "report.html").read_text(encoding="utf-8")
    assert "What each choice of C and tol gains" in html
    code, answer, _ = kd_sweeps("create", "d", "page/spec.toml", "--storage", url)
    assert (code, "created" in answer) == (0, False), "the spec next to the page must be that of the sweep"


def test_no_command_uses_a_term_of_another_trainer(worked: tuple[str, str], kd_sweeps: KdSweeps) -> None:
    _, url = worked
    for words in (["status", "d"], ["best", "d"], ["report", "d"], ["trials", "d"], ["workers", "d"], ["list"]):
        code, out, err = kd_sweeps(*words, "--storage", url)
        assert (code, _foreign(f"{out}{err}")) == (0, []), words
    c, tol = map(float, kd_sweeps("best", "d", "-f", "value", "--storage", url)[1].split())
    assert 1e-3 <= c <= 1e2
    assert 1e-5 <= tol <= 1e-1
    point = Sweep.open("d", storage=url).best
    assert (point.C, point.tol) == pytest.approx((c, tol), rel=1e-3)
    assert str(point).startswith(f"C = {c:.4g}, tol = {tol:.4g}: validation ")
    with pytest.raises(AttributeError, match="temperature was not searched; searched: C, tol"):
        _ = point.temperature
    code, out, err = kd_sweeps("best", "d", "--paste", "--storage", url)
    assert (code, out) == (2, "")
    assert "writes no code for a point" in err


def test_two_sweeps_of_the_trainer_are_compared(worked: tuple[str, str], kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    _, url = worked
    assert kd_sweeps("archive", "d", "-o", "d.kdsweep", "--storage", url)[0] == 0
    for name in ("d", "e"):
        assert kd_sweeps("import", "d.kdsweep", "--as", name, "--storage", "sqlite:///two.db")[0] == 0
    code, out, err = kd_sweeps("compare", "d", "e", "-o", "both", "--storage", "sqlite:///two.db")
    assert (code, _foreign(f"{out}{err}")) == (0, [])
    page = (tmp_path / "both" / "compare.html").read_text(encoding="utf-8")
    assert "gained over scikit-learn's default on digits" in page
    assert _foreign(re.sub(r"<style>.*?</style>|<[^>]*>", "\n", page, flags=re.DOTALL)) == []


def test_a_worker_with_another_version_of_its_file_stops_before_it_claims(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(TRAINER.read_bytes())
    spec = parse(TWO | {"trainer": {"kind": f"{file}:KIND"}}, origin="test", new=True)
    create_sweep(resolve(f"sqlite:///{tmp_path}/kd-sweeps.db"), "d", spec)
    file.write_text(f"{file.read_text(encoding='utf-8')}# edited\n", encoding="utf-8")
    with pytest.raises(NotHere, match=r"mine\.py here has sha256 [0-9a-f]{12}, the sweep was created with"):
        run_worker(resolve(f"sqlite:///{tmp_path}/kd-sweeps.db"), "d")
    code, out, _ = kd_sweeps("trials", "d", "-f", "value", "--field", "state")
    assert (code, set(out.split())) == (0, {"waiting"})


def test_an_arm_of_any_trainer_may_be_chosen_among_candidates(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    spec = parse(TWO | {"trainer": {"kind": f"{__name__}:CHOSEN"}}, origin="test", new=True)
    assert create_sweep(resolve(url), "d", spec).new
    assert run_worker(resolve(url), "d") == 0
    with open_sweep(resolve(url), "d") as (engine, sweep):
        rows = [row for row in trial_rows(engine, sweep) if row.arm == "chosen" and row.dataset == "negative"]
    tried: dict[float, list[float]] = {}
    for row in rows:
        if row.stage == "recipes":
            tried.setdefault(float(row.more["C"]), []).append(row.score or 0.0)
    assert {C: len(scores) for C, scores in tried.items()} == {point["C"]: RECIPE_SEEDS for point in CANDIDATES}
    best = max(tried, key=lambda C: sum(tried[C]))
    assert {row.more["C"] for row in rows if row.stage == "transfer"} == {best}
    assert "0 violations, 0 warnings" in "".join(map(str, kd_sweeps("status", "d", "--audit", "--storage", url)))
    assert kd_sweeps("archive", "d", "-o", f"{tmp_path}/d.kdsweep", "--storage", url)[0] == 0
    code, checks, _ = kd_sweeps("verify", f"{tmp_path}/d.kdsweep")
    assert (code, "DIFFERS" in checks) == (0, False)
    assert re.search(r"^same     selection recipes.best:target$", checks, re.MULTILINE)


def test_a_score_that_is_not_finite_counts_as_diverged(tmp_path: Path) -> None:
    score = "Trained(score="
    text = TRAINER.read_text(encoding="utf-8")
    assert text.count(score) == 1
    file, url = tmp_path / "diverging.py", f"sqlite:///{tmp_path}/s.db"
    file.write_text(text.replace(score, f"{score}float('nan') if run.key == 'search#1' else "), encoding="utf-8")
    spec = parse(ONE | {"trainer": {"kind": f"{file}:KIND"}}, origin="test", new=True)
    assert create_sweep(resolve(url), "s", spec).new
    assert run_worker(resolve(url), "s") == 0
    with open_sweep(url, "s") as (engine, _):
        lost = [task for task in tasks_of(engine) if task.state != "done"]
    assert [(task.key, task.error_class, task.reason) for task in lost] == [
        ("search#1", "nan", "the score of search#1 is nan")
    ]


def test_without_an_untreated_arm_the_margin_is_in_points(tmp_path: Path) -> None:
    file = tmp_path / "plain.py"
    file.write_text(TRAINER.read_text(encoding="utf-8").replace('untreated="default", ', ""), encoding="utf-8")
    own = TWO | {"trainer": {"kind": f"{file}:KIND"}}
    assert parse(TWO, origin="test", new=True).transfer.margin_share == 0.2
    assert parse(own, origin="test", new=True).transfer.margin_share == 0.0
    share = own | {"transfer": {"seeds": 3, "margin_share": 0.1}}
    text = r"margin_share: got 0\.1, .* untreated arm, and trainer .* has none; leave it out, and give transfer\.margin"
    with pytest.raises(SpecError, match=text) as error:
        parse(share, origin="test", new=True)
    assert "\n" not in str(error.value)
