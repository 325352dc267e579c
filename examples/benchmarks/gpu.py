"""What a CUDA device brings: its tests, a training step, and whole fits, in seconds.

    python examples/benchmarks/gpu.py --json gpu.json

The script takes at most six minutes. It runs

- the tests whose names speak of CUDA, which are skipped on machines without a device;
- the table of training steps of `engine.py`, on the CPU and on the device;
- whole fits with default parameters, on both: MNIST, the network of 784-1000-500-250-30 of
  Hinton and Salakhutdinov (2006), and a small table. MNIST is read from `mnist.npz` in the
  folder that the environment variable SKAE_DATA names; without it a table of the same
  shape takes its place.

Every fit on the device is made twice, and the second is reported, because the first one in
a process loads CUDA. A fit that would take longer than its share of the six minutes is
ended by `time_limit`; its epochs are printed beside the seconds. Without a CUDA device the
script says so and ends with exit code 0.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skae import AutoencoderTransformer

ROOT = Path(__file__).parents[2]
SECONDS = {"tests": 90, "steps": 90, "fit": 20}  # longest time of each part, and of a fit
FITS = {
    "MNIST, 32 components": ("mnist", {"n_components": 32}),
    "784-1000-500-250-30, 3 epochs": (
        "mnist",
        {"n_components": 30, "hidden_layer_sizes": (1000, 500, 250), "max_epochs": 3},
    ),
    "digits, 8 components": ("digits", {"n_components": 8}),
}
STEPS_ONLY = """
import json, sys
import torch
from engine import NETS, BATCHES, step_times
torch.set_num_threads(1)
for device in map(torch.device, ("cpu", "cuda")):
    for net in NETS:
        for batch_size in BATCHES:
            times = step_times(net, batch_size, device, 3)
            row = {"net": net, "batch": batch_size, "device": str(device), "times": times}
            print(json.dumps(row), flush=True)
"""


def load(name):
    """Return a table of float32 by name: "mnist" (60 000, 784) or "digits" (1797, 64)."""
    if name == "digits":
        return (load_digits().data / 16).astype(np.float32)
    path = Path(os.environ.get("SKAE_DATA", "")) / "mnist.npz"
    if path.exists():
        with np.load(path) as file:
            return file["x_train"].reshape(60_000, -1).astype(np.float32) / 255
    print(f"no {path.name} in SKAE_DATA: random curves of the same shape")
    rng = np.random.default_rng(0)
    angles = rng.normal(size=(60_000, 8)) @ rng.normal(size=(8, 784))
    return np.sin(angles).astype(np.float32)


def run_tests():
    """Run the tests that need a CUDA device, and return pytest's last line."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-k", "cuda", "tests"]
    return last_line(command, SECONDS["tests"])


def last_line(command, seconds):
    """Return the last line that a command prints, or that it took too long."""
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"not finished after {seconds} s"
    return (ended.stdout.strip() or ended.stderr.strip()).splitlines()[-1]


def step_rows():
    """Return the rows of the table of steps that there was time for, as dicts."""
    command = [sys.executable, "-c", STEPS_ONLY]
    folder = Path(__file__).parent
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=SECONDS["steps"], check=True
        )
        printed = ended.stdout
    except subprocess.TimeoutExpired as late:
        printed = late.stdout or b""
    return [json.loads(line) for line in printed.decode().splitlines()]


def time_fit(X, device, params):
    """Fit once, and return seconds, epochs, and the squared error per feature."""
    ae = AutoencoderTransformer(
        **params, device=device, random_state=0, time_limit=SECONDS["fit"]
    )
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ae.fit(X)
    seconds = time.perf_counter() - begin  # fit ends by reading from the device
    return {"seconds": seconds, "epochs": ae.n_iter_, "error": -ae.score(X[:10_000])}


def fit_rows():
    """Time each fit of FITS on both devices; return rows as dicts."""
    rows = []
    for name, (table, params) in FITS.items():
        X = load(table)
        time_fit(X[:2000], "cuda", params | {"max_epochs": 1})
        for device in ("cpu", "cuda"):
            rows.append({"fit": name, "device": device} | time_fit(X, device, params))
            print(fits_markdown(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def fits_markdown(rows):
    """Return the table of fits in Markdown."""
    lines = ["| fit | device | seconds | epochs | error |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['fit']} | {r['device']} | {r['seconds']:.1f} | {r['epochs']} | "
        f"{r['error']:.5f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", help="file for the results")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("This machine has no CUDA device that torch can use: nothing is measured.")
        return
    results = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(f"{results['device']}, torch {results['torch']}")
    results["tests"] = run_tests()
    print(f"tests: {results['tests']}", flush=True)
    results["fits"] = fit_rows()
    results["steps"] = step_rows()
    for row in results["steps"]:
        times = ", ".join(f"{name} {us:.0f}" for name, us in row["times"].items())
        print(f"{row['net']}, batch {row['batch']}, {row['device']}: {times} µs a step")
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
