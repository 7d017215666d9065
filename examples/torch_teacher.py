"""Use a PyTorch network as the teacher: write its logits to a file, from which Keras students learn.

Type: python examples/torch_teacher.py   (needs torch)
"""

from pathlib import Path

import numpy as np
import torch

import kd
from kd.teachers.logits_file import write
from sweeps import Sweep


def write_logits(path: Path, *, epochs: int = 40) -> float:
    """Train a network on the digits of scikit-learn, write its logits, and return its validation accuracy."""
    data = kd.load("digits")
    torch.manual_seed(0)
    pixels = data.train.images[0].size
    layers = torch.nn.Flatten(), torch.nn.Linear(pixels, 128), torch.nn.ReLU(), torch.nn.Linear(128, data.classes)
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images, labels = torch.from_numpy(data.train.images / np.float32(255)), torch.from_numpy(data.train.labels)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        logits = network(images).numpy()
        predicted = network(torch.from_numpy(data.validation.images / np.float32(255))).argmax(dim=1).numpy()
    accuracy = float(np.mean(predicted == data.validation.labels))
    origin = {"dataset": "digits", "provenance": "a network of PyTorch"}
    write(path, logits, data.train_indices, **origin, val_accuracy=accuracy)
    return accuracy


def main(storage: str | None = None, *, epochs: int = 40, **changes: object) -> Sweep:
    """Search T and alpha for that teacher on the digits, and print the best point and the headline."""
    file = Path("torch-logits.npz")
    print(f"teacher of PyTorch: validation {100 * write_logits(file, epochs=epochs):.1f} %")
    sweep = Sweep.create(
        "torch-teacher",
        dataset="digits",
        preset="tiny",
        teacher=f"logits:{file}",
        changes={"baselines.methods": [], **changes},
        storage=storage,
    )
    sweep.run()
    print(sweep.best)
    print(sweep.headline)
    return sweep


if __name__ == "__main__":
    main()
