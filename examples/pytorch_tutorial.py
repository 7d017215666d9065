"""PyTorch's tutorial on distillation, on a tenth of its images. In a clone: pip install '.[train,report]' torch

Then, in this folder: kd-sweeps run tutorial --spec pytorch_tutorial.toml   (kd.load fetches CIFAR-10 once)
Networks, loss and rate are of https://github.com/pytorch/tutorials, beginner_source/knowledge_distillation_tutorial.py.
Its ce_loss_weight is alpha here, and its soft_target_loss_weight 1 - alpha: T = 2 with 0.25 is alpha = 0.75.
"""

from pathlib import Path

import torch
from filelock import FileLock
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

import kd

IMAGES, EPOCHS, TEACHER_EPOCHS = 5000, 4, 3  # the tutorial: 50,000, 10 and 10
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)  # the split of a sum among threads decides its last digits


def network(*blocks, hidden):
    layers, channels = [], 3
    for block in blocks:
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers += [nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(64 * channels, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, 10)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def light():
    return network([16], [16], hidden=256)


def tensors(split):
    mean, sd = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    return (torch.from_numpy(split.images).permute(0, 3, 1, 2) / 255 - mean) / sd, torch.from_numpy(split.labels)


def logits(model, images):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(batch) for batch in images.split(100)])


def accuracy(model, split):
    images, labels = tensors(split)
    return (logits(model, images).argmax(1) == labels).float().mean().item()


def save(value, file):
    torch.save(value, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)  # a kill leaves the old file or the new one, never half of one


def fit(model, loss, epochs, file, on_epoch):
    adam, done = torch.optim.Adam(model.parameters(), lr=1e-3), 0
    if file.exists():  # left by an attempt that was killed
        done, weights, moments, generator = torch.load(file)
        model.load_state_dict(weights)
        adam.load_state_dict(moments)
        torch.set_rng_state(generator)
    for epoch in range(done + 1, epochs + 1):
        model.train()
        for batch in torch.randperm(IMAGES).split(128):
            adam.zero_grad()
            loss(batch).backward()
            adam.step()
        save((epoch, model.state_dict(), adam.state_dict(), torch.get_rng_state()), file)
        on_epoch(epoch)


def teacher_logits(dataset, images, labels, report):
    """Return the teacher's logits of the training images; the first process trains it, the others wait."""
    file = Path(__file__).with_name(f"teacher-{Path(dataset).stem}.pt")
    with FileLock(f"{file}.lock"):
        if not file.exists():
            torch.manual_seed(0)
            deep = network([128, 64], [64, 32], hidden=512)

            def loss(batch):
                return cross_entropy(deep(images[batch]), labels[batch])

            fit(deep, loss, TEACHER_EPOCHS, file.with_suffix(".epochs"), lambda epoch: report(text=f"teacher {epoch}"))
            save(logits(deep, images), file)
    return torch.load(file)


def train(temperature, alpha, *, seed, dataset, folder, report):
    data = kd.load(dataset, train_images=IMAGES)
    images, labels = tensors(data.train)
    teacher = teacher_logits(dataset, images, labels, report)
    torch.manual_seed(seed)
    student = light()

    def loss(batch):
        out = student(images[batch])
        soft = softmax(teacher[batch] / temperature, dim=1)
        distillation = kl_div(log_softmax(out / temperature, dim=1), soft, reduction="batchmean") * temperature**2
        return alpha * cross_entropy(out, labels[batch]) + (1 - alpha) * distillation

    def on_epoch(epoch):
        report(epoch / EPOCHS, validation=accuracy(student, data.validation))

    fit(student, loss, EPOCHS, folder / "epochs.pt", on_epoch)
    size = sum(weights.nbytes for weights in student.parameters())
    return {"validation": accuracy(student, data.validation), "size": size}


def test(*, dataset, folder):
    student = light()
    student.load_state_dict(torch.load(folder / "epochs.pt")[1])
    return accuracy(student, kd.load_test(dataset))
