"""The code of `best` for timm, torchdistill, ModelOpt and TRL is the searched loss, as check-loss confirms.

The code runs with the real packages; where one is not installed, its tests are skipped. Their versions are in
`sweeps.distill.snippets`.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest

from kd.losses.check import Checked, Request, check
from sweeps.distill.snippets import snippets
from tests.support.points import at

pytestmark = pytest.mark.slow

POINTS = [(3.0, 0.25), (6.803452110290527, 0.7241379310344828)]

# Models whose logits are halves of their input, so that a loss of images is one of logits.
HALVES = """\
import torch
import torch.nn.functional as F
import warnings

warnings.simplefilter("ignore")


class Half(torch.nn.Module):
    pretrained_cfg = {"mean": (0.5,), "std": (0.5,)}
    num_classes, in_chans = 10, 1

    def __init__(self, second):
        super().__init__()
        self.second = second
        self.identity = torch.nn.Identity()

    def forward(self, images):
        return self.identity(images.chunk(2, dim=1)[self.second])


def loss(student_logits, teacher_logits, labels):
    images = torch.cat([student_logits, teacher_logits], dim=1)
    names = {"student": Half(0), "teacher": Half(1), "images": images, "labels": labels}
    names |= {"student_logits": student_logits, "teacher_logits": teacher_logits}
    exec(CODE, names)
    return RESULT
"""
DIVERGENCE = """\
import torch
import warnings

warnings.simplefilter("ignore")
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

names = {}
exec(CODE, names)


def loss(student_logits, teacher_logits):
    config = names["config"]
    head = torch.eye(student_logits.shape[1], dtype=student_logits.dtype)
    values = ChunkedDivergenceFunction.apply(
        student_logits, head, None, teacher_logits, head, None, config.beta, config.temperature
    )
    return values[0].mean()
"""
RESULTS = {
    "pytorch": ("torch", 'names["loss"]'),
    "timm": ("timm", 'names["loss"]'),
    "torchdistill": (
        "torchdistill",
        'names["criterion"]({".": {"output": student_logits}}, {".": {"output": teacher_logits}}, labels)',
    ),
    "modelopt": ("modelopt", 'names["loss"]'),
}


def _checked(folder: Path, library: str, temperature: float, alpha: float) -> Checked:
    package, result = RESULTS.get(library, ("trl", ""))
    if find_spec(package) is None or find_spec("torch") is None:
        pytest.skip(f"{package} is not installed")
    pasted = snippets(at(temperature, alpha), loss="kd", own={})[library]
    file = folder / "pasted.py"
    pasted = pasted.replace("beta=0.0)", "beta=0.0, use_cpu=True, bf16=False)")  # otherwise TRL requires a GPU
    source = HALVES.replace("RESULT", result) if result else DIVERGENCE
    file.write_text(f"CODE = {pasted!r}\n{source}", encoding="utf-8")
    return check(Request(f"{file}:loss", {}, framework="torch", temperature=temperature, alpha=alpha))


@pytest.mark.parametrize(("temperature", "alpha"), POINTS)
@pytest.mark.parametrize("library", RESULTS)
def test_the_pasted_code_is_the_loss_of_this_project_at_the_point(
    tmp_path: Path, library: str, temperature: float, alpha: float
) -> None:
    loss = _checked(tmp_path, library, temperature, alpha)
    assert (loss.verdict, loss.loss, loss.faults) == ("right", "kd", {})
    assert loss.same is not None
    point = (loss.same.temperature, loss.same.alpha, loss.same.factor)
    assert point == pytest.approx((temperature, alpha, 1.0), rel=1e-5)


@pytest.mark.parametrize("library", ["torchdistill", "trl"])
def test_at_alpha_zero_the_pasted_code_lacks_t_squared_as_its_comment_says(tmp_path: Path, library: str) -> None:
    loss = _checked(tmp_path, library, 3.0, 0.0)
    assert list(loss.faults) == ["no-t-squared"]
    assert loss.same is not None
    point = (loss.same.temperature, loss.same.alpha, loss.same.factor)
    assert point == pytest.approx((3.0, 0.0, 1 / 9), rel=1e-4)
