"""Define the built-in losses: formula, paper, parameters and term of each.

A term takes labels, integers of shape (batch,) or (batch, 1), and the logits of teacher and student before softmax,
float, shape (batch, classes); temperature is a scalar > 0. It returns a scalar, averaged over the batch, and raises
ValueError if the numbers of classes differ. `kd.losses.loss` says how a paper's weights become alpha, and why nothing
here imports Keras or TensorFlow.
"""

from collections.abc import Mapping
from types import MappingProxyType

from kd.config import LOSS_FORMULA
from kd.losses.loss import Loss, Parameter, Tensor, check_classes, kd_term, mean_over_images, ops, soft_target_loss

_NEVER = -1e9  # a logit whose probability is 0; -inf would give 0 * inf


def dkd_term(
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    *,
    temperature: Tensor,
    target_weight: Tensor,
    nontarget_weight: Tensor,
) -> Tensor:
    """Return T^2*(target_weight*TCKD + nontarget_weight*NCKD), in nats, for weights >= 0.

    TCKD is the KL divergence of the two probabilities (label, any other class). NCKD is the KL divergence of the other
    classes' probabilities, normalised without the label's; with two classes it is 0. With target_weight = 1 and
    nontarget_weight = 1 - the teacher's probability of the label, the sum is the term of "kd", image by image.

    The paper's CE + a*TCKD + b*NCKD is this loss with alpha = 0.5, target_weight = a and nontarget_weight = b, times 2.
    The paper's warm-up of the weights over 20 of 240 epochs is left out.

    Source: Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679, equations 5 to 7.
    """
    check_classes(teacher_logits, student_logits)
    is_label = label_mask(labels, student_logits)
    teacher_label, teacher_other, teacher_among = decoupled(is_label, teacher_logits / temperature)
    student_label, student_other, student_among = decoupled(is_label, student_logits / temperature)
    target = ops.exp(teacher_label) * (teacher_label - student_label)
    target = target + ops.exp(teacher_other) * (teacher_other - student_other)  # (batch, 1)
    nontarget = ops.sum(ops.exp(teacher_among) * (teacher_among - student_among), axis=-1)  # (batch,)
    return temperature**2 * (target_weight * mean_over_images(target) + nontarget_weight * mean_over_images(nontarget))


def label_mask(labels: Tensor, logits: Tensor) -> Tensor:
    """Return whether a class is the label of an image, bool, shape (batch, classes)."""
    return ops.one_hot(ops.reshape(labels, (-1,)), logits.shape[-1], dtype="bool")


def decoupled(is_label: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log probabilities: of the label, of all other classes together, and of each class among these.

    The logits are already divided by T. Shapes (batch, 1), (batch, 1) and (batch, classes); at the label the last is
    about -1e9, and its exp exactly 0.
    """
    among = ops.where(is_label, _NEVER, logits)
    every = ops.logsumexp(logits, axis=-1, keepdims=True)
    label = ops.sum(ops.where(is_label, logits, 0.0), axis=-1, keepdims=True) - every
    other = ops.logsumexp(among, axis=-1, keepdims=True) - every
    return label, other, ops.log_softmax(among, axis=-1)


def nkd_term(
    labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor, gamma: Tensor
) -> Tensor:
    """Return -t[label]*log(s[label]) - gamma*T^2 * sum over the other classes of N(t)_T * log(N(s)_T), in nats.

    N normalises the probabilities of the other classes to the sum 1, softened by T, the paper's lambda; t and s are not
    softened. Both parts are cross entropies. The second is smallest at N(s) = N(t), gamma*T^2 times the entropy of
    N(t), and 0 with two classes; the first falls to 0 as s[label] goes to 1. So a student that equals its teacher is
    not at the minimum: the gradient there is t[label]*(s - one-hot label), divided by the number of images.

    The paper's CE plus this term is this loss with alpha = 0.5, times 2. The authors' code sums over all classes,
    because its mask is all ones; this is the paper's sum.

    Source: Yang et al. 2023, "From Knowledge Distillation to Self-Knowledge Distillation", arXiv:2303.13005.
    """
    check_classes(teacher_logits, student_logits)
    is_label = label_mask(labels, student_logits)
    teacher_label = decoupled(is_label, teacher_logits)[0]
    student_label = decoupled(is_label, student_logits)[0]
    teacher_among = decoupled(is_label, teacher_logits / temperature)[2]
    student_among = ops.where(is_label, 0.0, decoupled(is_label, student_logits / temperature)[2])
    target = -ops.exp(teacher_label) * student_label  # (batch, 1)
    nontarget = -ops.sum(ops.exp(teacher_among) * student_among, axis=-1)  # (batch,)
    return mean_over_images(target) + gamma * temperature**2 * mean_over_images(nontarget)


# Least variance of numbers whose largest is 1: with an sd below 1e-6 they count as constant. float32 rounds at 6e-8.
_SMALLEST_CORRELATED = 1e-12


def dist_term(
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    *,
    temperature: Tensor,
    inter_weight: Tensor,
    intra_weight: Tensor,
) -> Tensor:
    """Return T^2*(inter_weight*(1 - r over classes) + intra_weight*(1 - r over the batch)), for weights >= 0.

    r is Pearson's correlation of the student's and the teacher's softened probabilities: over the classes of each
    image, averaged over the images, and over the images of a batch, averaged over the classes. So the term depends on
    which images share a batch. The factor T^2, as in "kd", keeps the gradients' size where T grows.

    If the teacher's probabilities do not vary, r is undefined, and 1 - r counts as 0, without a gradient: for a class
    that is equally likely on every image of the batch, every class in a batch of one image, and a teacher without
    preference. If only the student's do not vary, r counts as 0.

    The paper's CE + b*inter + c*intra is this loss with alpha = 0.5, inter_weight = b and intra_weight = c, times 2.

    Source: Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", NeurIPS, arXiv:2205.10536, section 4.
    """
    check_classes(teacher_logits, student_logits)
    log_teacher = ops.log_softmax(teacher_logits / temperature, axis=-1)
    log_student = ops.log_softmax(student_logits / temperature, axis=-1)
    inter = unrelated(log_teacher, log_student, axis=1)
    intra = mean_over_images(unrelated(log_teacher, log_student, axis=0))  # one number: raises for weighted images
    return temperature**2 * (inter_weight * inter + intra_weight * intra)


def unrelated(log_teacher: Tensor, log_student: Tensor, axis: int) -> Tensor:
    """Return the mean of 1 - r, in [0, 2]: r correlates two arrays of log probabilities along an axis."""
    teacher, student = _centred(log_teacher, axis), _centred(log_student, axis)
    teacher_variance = ops.mean(ops.square(teacher), axis=axis)
    student_variance = ops.mean(ops.square(student), axis=axis)
    varies = teacher_variance > _SMALLEST_CORRELATED
    size = ops.sqrt(ops.where(varies, teacher_variance, 1.0) * (student_variance + _SMALLEST_CORRELATED))
    correlation = ops.mean(teacher * student, axis=axis) / size
    return ops.mean(ops.where(varies, 1.0 - correlation, 0.0))


def _centred(log_probabilities: Tensor, axis: int) -> Tensor:
    """Return the probabilities minus their mean, scaled to a largest of 1, which changes no correlation.

    The logarithms are scaled, so that a class with probabilities below float32's smallest number keeps its r.
    """
    largest = ops.stop_gradient(ops.max(log_probabilities, axis=axis, keepdims=True))
    probabilities = ops.exp(log_probabilities - largest)
    return probabilities - ops.mean(probabilities, axis=axis, keepdims=True)


def mse_term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return the mean of (student - teacher)^2 over classes and images, in squared logits.

    As T -> infinity, the term of "kd" is half of this for logits minus their mean over the classes (Hinton et al. 2015,
    section 2.1). A paper's a*CE + b*MSE is this loss with alpha = a/(a+b); Kim et al. train with a = 0. The temperature
    is unused, so a spec cannot search it.

    Source: Kim et al. 2021, "Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge
    Distillation", arXiv:2105.08919, section 3.
    """
    check_classes(teacher_logits, student_logits)
    return mean_over_images(ops.square(student_logits - teacher_logits))


EPSILON = 1e-7  # of the authors' code
_SMALLEST_STANDARDIZED = 1e-20  # the root has no gradient at 0: TensorFlow returns 0 there, other backends NaN


def standardized_term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return T^2*KL(teacher'_T || student'_T) with z' = (z - mean)/(sd + 1e-7) over the classes of each image, in nats.

    The student need not match the size of the teacher's logits, so T, the paper's base temperature, means the same for
    every teacher: scaling either side's logits by a positive number, or adding a constant, changes nothing. The
    variance is divided by the number of classes; the authors' code divides by one less, so their T is
    T*sqrt(classes/(classes - 1)) here: 5 % more for ten classes. If all logits of an image are equal, so are the
    probabilities.

    With two classes only their order remains, without a gradient: choose another loss.

    The paper's 0.1*CE + 9*KD is this loss with alpha = 0.1/9.1, times 9.1.

    Source: Sun et al. 2024, "Logit Standardization in Knowledge Distillation", arXiv:2403.01427, section 4.2.
    """
    return soft_target_loss(standardized(teacher_logits), standardized(student_logits), temperature)


def standardized(logits: Tensor) -> Tensor:
    centred = logits - ops.mean(logits, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return centred / (ops.sqrt(ops.maximum(variance, _SMALLEST_STANDARDIZED)) + EPSILON)


_LABELS = "alpha*CE(labels) + (1-alpha)*"

_BUILTIN = (
    Loss(name="kd", formula=LOSS_FORMULA, source="Hinton et al. 2015, arXiv:1503.02531", term=kd_term),
    Loss(
        name="mse",
        formula=f"{_LABELS}mean((student - teacher)^2)",
        source="Kim et al. 2021, arXiv:2105.08919",
        term=mse_term,
        default_temperature=1.0,
        default_alpha=0.0,
        uses_temperature=False,
    ),
    Loss(
        name="logit-standardization",
        formula=f"{_LABELS}T^2*KL(teacher'_T || student'_T), z' = (z - mean(z))/sd(z)",
        source="Sun et al. 2024, arXiv:2403.01427",
        term=standardized_term,
        default_temperature=2.0,
        default_alpha=0.1 / 9.1,
    ),
    Loss(
        name="dkd",
        formula=f"{_LABELS}T^2*(target_weight*TCKD + nontarget_weight*NCKD)",
        source="Zhao et al. 2022, arXiv:2203.08679",
        term=dkd_term,
        # The paper's alpha and beta: of the KL of the label against all other classes, and of the KL among those.
        parameters=(Parameter("target_weight", 1.0), Parameter("nontarget_weight", 8.0)),
        default_alpha=0.5,
    ),
    Loss(
        name="nkd",
        formula=f"{_LABELS}(-teacher[label]*log(student[label]) + gamma*T^2*CE(N(teacher)_T, N(student)_T))",
        source="Yang et al. 2023, arXiv:2303.13005",
        term=nkd_term,
        parameters=(Parameter("gamma", 1.5),),  # weight of the other classes, normalised without the label
        default_temperature=1.0,
        default_alpha=0.5,
    ),
    Loss(
        name="dist",
        formula=f"{_LABELS}T^2*(inter_weight*(1 - r over classes) + intra_weight*(1 - r over the batch))",
        source="Huang et al. 2022, arXiv:2205.10536",
        term=dist_term,
        # The paper's beta and gamma: of the correlation over an image's classes, and over the batch for each class.
        parameters=(Parameter("inter_weight", 1.0), Parameter("intra_weight", 1.0)),
        default_temperature=1.0,
        default_alpha=0.5,
    ),
)

LOSSES: Mapping[str, Loss] = MappingProxyType({loss.name: loss for loss in _BUILTIN})
