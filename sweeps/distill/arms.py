"""The arms: their names and fixed points. Small: the tables of a spec check them, and so they know no spec."""

from sweeps.trainers.protocol import Point

SOURCE_ARMS = ("best", "scratch", "default-keras-io", "default-keras")
TARGET_ARMS = (*SOURCE_ARMS, "native", "random")
# What else could explain a gain: other logits than the teacher's, smoothed labels, the same cost spent without it.
CONTROLS = ("class-mean", "shuffled-within-class", "label-smoothing", "scratch-same-cost")
UNTUNED = ("default-keras-io", "default-keras")  # instead of tuning: the better one of them, by validation
SCALED = "best-scaled"  # on a target: T of best times the ratio of the teachers' logit spreads, alpha of best
AUTOKERAS_ARM = "autokeras"  # the network that AutoKeras found, trained anew with every seed, on the labels alone
# The student of that arm; every other one has the student of the spec.
FOUND_NETWORK = "the network that AutoKeras found"
OUTER_ARMS = ("best", "scratch", "native")  # what is repeated for further teachers and searches, on the targets

SCRATCH_TUNED = "scratch-tuned"  # labels only, trained as best is: where a search varies the training, too
DEFAULT_PAPER = "default-paper"  # the point of the loss's paper, where the loss is not kd
WITH_KD = ("default-keras-io", "default-keras", "label-smoothing")  # arms that are trained with the loss kd in any case
PLAIN_KD = (*WITH_KD, AUTOKERAS_ARM)  # all that are: parameters of another loss are nothing to them
LABELS_ONLY = Point(1.0, 1.0)  # alpha = 1 switches the teacher off, whatever T

# (temperature, alpha) that people use without tuning, and where they come from.
DEFAULT_POINTS = {
    "default-keras-io": Point(10.0, 0.1),  # https://keras.io/examples/vision/knowledge_distillation/
    "default-keras": Point(3.0, 0.5),  # keras.distillation: LogitsDistillation(3.0), student_loss_weight=0.5
    "scratch": LABELS_ONLY,
    "scratch-same-cost": LABELS_ONLY,
    AUTOKERAS_ARM: LABELS_ONLY,
    "label-smoothing": Point(1.0, 0.9),  # with a teacher to which all classes are alike: labels smoothed by 0.1
}
