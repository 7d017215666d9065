"""Published distillation losses, right and wrong, rewritten in NumPy from their descriptions.

`kl_div` and the softmaxes are as PyTorch's documentation defines them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[Any]


def log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: Logits) -> Logits:
    return np.exp(log_softmax(logits))


def cross_entropy(logits: Logits, labels: Logits) -> Any:
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def kl_div(log_input: Logits, target: Logits, reduction: str = "mean", *, log_target: bool = False) -> Any:
    if log_target:
        per_class = np.exp(target) * (target - log_input)
    else:
        logarithm = np.log(np.where(target == 0, 1.0, target))
        per_class = np.where(target == 0, 0.0, target * logarithm) - target * log_input
    reduced = {"none": per_class, "sum": per_class.sum(), "mean": per_class.mean()}
    return per_class.sum() / len(per_class) if reduction == "batchmean" else reduced[reduction]


def right(outputs: Logits, labels: Logits, teacher_outputs: Logits, T: float, alpha: float) -> Any:
    """haitongli/knowledge-distillation-pytorch as it should be: alpha weighs the teacher."""
    soft = kl_div(log_softmax(outputs / T), softmax(teacher_outputs / T), "batchmean")
    return alpha * T * T * soft + (1.0 - alpha) * cross_entropy(outputs, labels)


# Right, but once reported as a bug.


def tutorial(student_logits: Logits, teacher_logits: Logits, labels: Logits) -> Any:
    """PyTorch's tutorial: T = 2, soft_target_loss_weight = 0.25, ce_loss_weight = 0.75."""
    targets, log_probabilities = softmax(teacher_logits / 2), log_softmax(student_logits / 2)
    soft = np.sum(targets * (np.log(targets) - log_probabilities)) / len(log_probabilities) * 2**2
    return 0.25 * soft + 0.75 * cross_entropy(student_logits, labels)


def vit_pytorch(
    student_logits: Logits, teacher_logits: Logits, labels: Logits, temperature: float, alpha: float
) -> Any:
    """lucidrains/vit-pytorch#289: the square of T is right."""
    soft = kl_div(log_softmax(student_logits / temperature), softmax(teacher_logits / temperature), "batchmean")
    return cross_entropy(student_logits, labels) * (1 - alpha) + soft * temperature**2 * alpha


def entropy(student: Logits, teacher: Logits, labels: Logits, *, tau: float, weight: float) -> Any:
    """Hinton et al. 2015: the cross entropy with the soft targets."""
    soft = -(softmax(teacher / tau) * log_softmax(student / tau)).sum(axis=-1).mean()
    return weight * cross_entropy(student, labels) + (1 - weight) * tau**2 * soft


def vanilla_added(logits_student: Logits, logits_teacher: Logits, target: Logits, temperature: float) -> Any:
    """RepDistiller, mdistiller: ce_weight 0.1 and kd_weight 0.9, per image."""
    soft = kl_div(log_softmax(logits_student / temperature), softmax(logits_teacher / temperature), "none").sum(1)
    return 0.1 * cross_entropy(logits_student, target) + 0.9 * soft.mean() * temperature**2


# Wrong, each with its source.


def keras_string(student_logits: Logits, teacher_logits: Logits) -> Any:
    """keras 3.12 to 3.15.1, LogitsDistillation(temperature=3), whose default is the string "kl_divergence"."""
    target, values = (np.clip(logits / 3.0, 1e-7, 1.0) for logits in (teacher_logits, student_logits))
    return (target * np.log(target / values)).sum(axis=-1)


def jsd(student: Logits, teacher: Logits, teacher_share: float, beta: float, temperature: float = 1.0) -> Any:
    log_student, log_teacher = log_softmax(student / temperature), log_softmax(teacher / temperature)
    with np.errstate(divide="ignore"):
        shares = np.log([1 - teacher_share, teacher_share])
    mixture = np.logaddexp(log_student + shares[0], log_teacher + shares[1])
    of_teacher = kl_div(mixture, log_teacher, "batchmean", log_target=True)
    of_student = kl_div(mixture, log_student, "batchmean", log_target=True)
    return beta * of_teacher + (1 - beta) * of_student


def trl_liger(student_logits: Logits, teacher_logits: Logits, labels: Logits) -> Any:
    """huggingface/trl#5731: 0.5 CE + 0.5 JSD at T = 0.9, where the caller asked for the JSD at T = 1."""
    return 0.5 * cross_entropy(student_logits, labels) + 0.5 * jsd(student_logits, teacher_logits, 0.5, 0.5, 0.9)


def trl_mixture(student_logits: Logits, teacher_logits: Logits, beta: float = 0.1) -> Any:
    """huggingface/trl#3043: the mixture was beta*student + (1-beta)*teacher."""
    return jsd(student_logits, teacher_logits, teacher_share=1 - beta, beta=beta)


def trl_endpoint(student_logits: Logits, teacher_logits: Logits, beta: float = 1.0) -> Any:
    """huggingface/trl#3043: with the right mixture the loss is 0 at beta = 0 and 1."""
    return jsd(student_logits, teacher_logits, teacher_share=beta, beta=beta)


def trl_jsd(student_logits: Logits, teacher_logits: Logits, beta: float = 0.1) -> Any:
    """TRL since then: correct, but not a loss of this project."""
    return jsd(student_logits, teacher_logits, teacher_share=beta, beta=beta)


def trl_gkd(student_logits: Logits, teacher_logits: Logits, temperature: float) -> Any:
    """huggingface/trl#6847: GKD applies the temperature to generation only, not to the divergence."""
    return kl_div(log_softmax(student_logits), log_softmax(teacher_logits), "batchmean", log_target=True)


def bfloat16(values: Logits) -> Logits:
    """Round float32 to bfloat16, halves away from zero."""
    bits = np.asarray(values, np.float32).view(np.uint32) + np.uint32(0x8000)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def easydel(student: Logits, teacher: Logits, labels: Logits, temperature: float, alpha: float) -> Any:
    """erfanzar/EasyDeL#267: the entropy and the cross entropy of the KL are each reduced in bfloat16."""
    log_student, log_teacher = (bfloat16(log_softmax(logits / temperature)) for logits in (student, teacher))
    probabilities = bfloat16(np.exp(log_teacher))
    of_teacher, of_student = (
        bfloat16(bfloat16(probabilities * logarithm).sum(axis=-1)) for logarithm in (log_teacher, log_student)
    )
    soft = float(bfloat16((of_teacher - of_student).mean()))
    return alpha * cross_entropy(student, labels) + (1 - alpha) * temperature**2 * soft


def dist(logits_student: Logits, logits_teacher: Logits, labels: Logits, tau: float, squared: bool = True) -> Any:
    """hunto/image_classification_sota#19: the code of DIST has tau^2, the appendix of the paper does not; CE + DIST."""

    def pearson(first: Logits, second: Logits, axis: int) -> Any:
        first, second = (side - side.mean(axis=axis, keepdims=True) for side in (first, second))
        lengths = np.sqrt((first**2).sum(axis=axis) * (second**2).sum(axis=axis))
        return (1 - (first * second).sum(axis=axis) / (lengths + 1e-8)).mean()

    student, teacher = softmax(logits_student / tau), softmax(logits_teacher / tau)
    relations = pearson(student, teacher, 1) + pearson(student, teacher, 0)
    return cross_entropy(logits_student, labels) + (tau**2 if squared else 1.0) * relations


def ld(pred: Logits, soft_label: Logits, T: float) -> Any:
    """HikariTJU/LD#74, from mmdetection: mean(1) where the divergence is a sum(1)."""
    return kl_div(log_softmax(pred / T), softmax(soft_label / T), "none").mean(1) * (T * T)


def deit(outputs: Logits, labels: Logits, teacher_outputs: Logits, tau: float, alpha: float) -> Any:
    """facebookresearch/deit#116: reduction sum, divided by numel."""
    soft = kl_div(log_softmax(outputs / tau), log_softmax(teacher_outputs / tau), "sum", log_target=True)
    return cross_entropy(outputs, labels) * (1 - alpha) + soft * (tau * tau) / outputs.size * alpha


def sparseml(student_val: Logits, teacher_val: Logits, temperature: float) -> Any:
    """neuralmagic/sparseml#592: reduction sum, divided by shape[0] * shape[1]."""
    soft = kl_div(log_softmax(student_val / temperature), softmax(teacher_val / temperature), "sum")
    return soft * temperature**2 / (student_val.shape[0] * student_val.shape[1])


def haitongli(outputs: Logits, labels: Logits, teacher_outputs: Logits, T: float, alpha: float) -> Any:
    """haitongli/knowledge-distillation-pytorch#48: KLDivLoss() with its default reduction."""
    soft = kl_div(log_softmax(outputs / T), softmax(teacher_outputs / T))
    return soft * (alpha * T * T) + cross_entropy(outputs, labels) * (1.0 - alpha)


def haitongli_params(outputs: Logits, labels: Logits, teacher_outputs: Logits, params: Any) -> Any:
    """The same function as it is called there, with the right reduction."""
    return right(outputs, labels, teacher_outputs, params.temperature, params.alpha)


def haitongli_misaligned(outputs: Logits, labels: Logits, teacher_outputs: Logits, T: float, alpha: float) -> Any:
    """haitongli/knowledge-distillation-pytorch, PR 16: stored teacher outputs of other images, as of another order."""
    return right(outputs, labels, np.roll(teacher_outputs, 1, axis=0), T, alpha)


def distiller(student: Logits, teacher: Logits, labels: Logits, temperature: float, alpha: float) -> Any:
    """IntelLabs/distiller#122: no T^2."""
    soft = kl_div(log_softmax(student / temperature), softmax(teacher / temperature), "batchmean")
    return alpha * cross_entropy(student, labels) + (1 - alpha) * soft


def labml(output: Logits, large_logits: Logits, labels: Logits, temperature: float) -> Any:
    """labmlai/annotated_deep_learning_paper_implementations#66: the teacher's logits twice."""
    soft = kl_div(log_softmax(large_logits / temperature), softmax(large_logits / temperature), "batchmean")
    return 0.5 * temperature**2 * soft + 0.5 * cross_entropy(output, labels)


def proda(student: Logits, teacher: Logits) -> Any:
    """microsoft/ProDA#20 and #43: kl_div of probabilities instead of their logarithms."""
    return kl_div(softmax(student), softmax(teacher), "batchmean")


def keras_io(y: Logits, student: Logits, teacher: Logits, temperature: float, alpha: float) -> Any:
    """keras-team/keras-io#870, the first version: teacher and student swapped, no T^2."""
    student, teacher = teacher, student
    soft = (
        softmax(teacher / temperature) * np.log(softmax(teacher / temperature) / softmax(student / temperature))
    ).sum(-1)
    return alpha * cross_entropy(student, y) + (1 - alpha) * soft.mean()


def attention_transfer(y: Logits, labels: Logits, teacher_scores: Logits, T: float, alpha: float) -> Any:
    """szagoruyko/attention-transfer#18: KLDivLoss averages over batch and classes."""
    soft = kl_div(log_softmax(y / T), softmax(teacher_scores / T))
    return soft * (T * T * 2.0 * alpha) + cross_entropy(y, labels) * (1.0 - alpha)
