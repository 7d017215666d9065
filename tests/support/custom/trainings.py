"""What functions of users do, wrong and right: each a file with a `train`, by name. Imports no pytest."""

_HEAD = """
import math, os, random, signal, sys, time
from pathlib import Path

"""

GOOD = {
    "a number": "def train(alpha, *, seed):\n    return 0.5 + alpha / 10\n",
    "a table": "def train(*, alpha, seed):\n    return {'validation': 0.5, 'size': 7, 'agreement': alpha}\n",
    "any name": "def train(**given):\n    return 0.25 if sorted(given) == "
    "['alpha', 'dataset', 'folder', 'report', 'seed'] else 0.0\n",
    "what it prints is binary": "def train(alpha, seed):\n"
    "    sys.stdout.buffer.write(bytes(range(256)))\n    print('\\ud800')\n    return 0.5\n",
    "it forks, and both come back": "def train(alpha, seed):\n    os.fork()\n    return 0.5\n",
    "it leaves the folder": "def train(alpha, seed):\n    os.chdir('/')\n    return 0.5\n",
    "it seeds the random state": "def train(alpha, seed):\n    random.seed(1)\n    return 0.5\n",
    "it closes what it prints to": "def train(alpha, seed):\n"
    "    os.close(1)\n    os.close(2)\n    print('a')\n    return 0.5\n",
}

# (its file, the class of the error, what its one line says)
BAD = {
    "it raises": (
        "class Mine(Exception):\n    pass\n\ndef train(alpha, seed):\n    raise Mine('no\\nsecond line')\n",
        "TrainingFailed",
        "train.py:train raised Mine: no second line",
    ),
    "nothing": ("def train(alpha, seed):\n    pass\n", "TrainingFailed", "train.py:train gave None of type NoneType"),
    "NaN": ("def train(alpha, seed):\n    return math.nan\n", "Diverged", "train.py:train gave the score nan"),
    "a test score": (
        "def train(alpha, seed):\n    return {'validation': 0.5, 'test': 0.5}\n",
        "TrainingFailed",
        "train.py:train gave 'test', but test data are for the comparison only",
    ),
    "it exits": ("def train(alpha, seed):\n    sys.exit(3)\n", "SubprocessFailed", "sys.exit(3) was called"),
    "it ends its process": ("def train(alpha, seed):\n    os._exit(3)\n", "SubprocessFailed", "died with exit code 3"),
    "it is killed": (
        "def train(alpha, seed):\n    os.kill(os.getpid(), 9)\n",
        "SubprocessKilled",
        "the child process was killed",
    ),
    "no memory": ("def train(alpha, seed):\n    raise MemoryError('all of it')\n", "MemoryError", "all of it"),
    "a package is missing": ("def train(alpha, seed):\n    import torch_not_here\n", "NotHere", "torch_not_here"),
    "its result cannot be read": (
        "def train(alpha, seed):\n    return {'validation': 0.5, 'model': print}\n",
        "TrainingFailed",
        "gave values besides its score that are not JSON",
    ),
}

HANGS = """
def train(alpha, seed, folder):
    pid = os.fork()
    if pid:
        (folder / "pid").write_text(str(pid))
    time.sleep(600)
"""

# Refused before anything runs: (its file, the key of the spec, what its one line says).
WRONG = {
    "no file": ("", "trainer.train", "there is no file"),
    "no function": ("train = 3\n", "trainer.train", "must be a function, got int"),
    "no attribute": ("def trian(alpha, seed):\n    pass\n", "trainer.train", "has no attribute 'train'"),
    "no seed": ("def train(alpha):\n    pass\n", "trainer.train", "needs an argument 'seed'"),
    "another name": ("def train(aplha, seed):\n    pass\n", "trainer.train", "needs the argument 'aplha'"),
    "one is missing": ("def train(seed):\n    pass\n", "trainer.train", "has no argument 'alpha', which trainer.space"),
    "positions only": ("def train(alpha, /, seed):\n    pass\n", "trainer.train", "takes 'alpha' by position only"),
    "async": ("async def train(alpha, seed):\n    return 0.5\n", "trainer.train", "is async, or has a yield"),
    "a generator": ("def train(alpha, seed):\n    yield 0.5\n", "trainer.train", "is async, or has a yield"),
    "its import fails": ("1 / 0\n", "trainer.train", "ZeroDivisionError: division by zero"),
    "its import exits": ("import sys\nsys.exit(1)\n", "trainer.train", "SystemExit: 1"),
    "its import ends the process": (
        "import os\nos._exit(1)\n",
        "trainer.train",
        "cannot be imported: the child process",
    ),
    "a function of C": ("train = type\n", "trainer.train", "has no signature"),
    "its syntax": ("def train(alpha, seed:\n", "trainer.train", "SyntaxError"),
    "a package is missing": ("import torch_not_here\n", "trainer.train", "No module named 'torch_not_here'"),
    "a test that wants more": (
        "def train(alpha, seed):\n    pass\n\ndef test(model):\n    pass\n",
        "trainer.test",
        "needs the argument 'model', but is called with alpha, seed, dataset, folder",
    ),
}


def file_of(body: str) -> str:
    """The text of the file."""
    return _HEAD + body
