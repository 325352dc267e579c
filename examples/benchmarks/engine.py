"""Time of a training step and of transform, against a hand-written loop and peers.

Every figure is a ratio of two medians from interleaved runs in one process on one thread:

    python examples/benchmarks/engine.py --json engine.json

Steps: skae's epoch, a hand-written PyTorch loop with a fused AdamW around a deep copy of
the very same module, skorch's net as it comes around another, and scikit-learn's
`MLPRegressor(X, X)` with hidden layers of the same widths; where the hardware multiplies
bfloat16, skae's epoch with that too. With a CUDA device the skae and
hand-written loops also run there.

transform: `AutoencoderTransformer.transform` against the bare encoder on the same batches,
and one row against `PCA.transform`.
"""

import argparse
import copy
import json
import time
import warnings

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNet
from threadpoolctl import threadpool_limits
from torch import nn

from skae import AutoencoderTransformer
from skae._engine.batches import Rows
from skae._engine.objective import Objective
from skae._engine.skorch_net import build_net
from skae._torch import has_fast_bfloat16
from skae.losses import LOSSES
from skae.modules import DenseAutoencoder

NETS = {
    "64-32-8": (64, (32,), 8),
    "784-128-32": (784, (128,), 32),
    "784-1000-500-250-30": (784, (1000, 500, 250), 30),
}
BATCHES = 128, 1024
PEERS = "hand-written", "skorch", "MLPRegressor"
ROUNDED = "skae, bfloat16"


def autoencoder(net):
    """The module of a plain autoencoder, as skae builds it."""
    n_features, hidden, k = NETS[net]
    generator = torch.Generator().manual_seed(0)
    module = DenseAutoencoder(
        *(n_features, k, n_features, hidden),
        activation="relu",
        linear_path=False,
        generator=generator,
    )
    return module


def skae_epoch(module, X, batch_size, device, bfloat16=False):
    """A function that trains one epoch by skae's engine."""
    net = build_net(
        module,
        Objective(LOSSES["squared_error"]),
        seed=0,
        device=device,
        callbacks=None,
        weight_decay=0.01,
        lr=1e-3,
        max_epochs=1,
        batch_size=batch_size,
        bfloat16=bfloat16,
    ).initialize()
    rows = Rows(X, X, [np.arange(len(X))])
    net.notify("on_train_begin", X=rows, y=None)

    def epoch():
        net.history.new_epoch()
        batches = net.get_iterator(rows, training=True)
        net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step)

    return epoch


def hand_written_epoch(module, X, batch_size, device):
    """The same by hand."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)
    module.train()

    def epoch():
        total = 0.0
        for rows in torch.randperm(len(X)).to(device).split(batch_size):
            batch = X[rows]
            loss = torch.square(module(batch) - batch).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total = total + loss.detach()
        return float(total)

    return epoch


def skorch_epoch(module, X, batch_size, device):
    """skorch's net as it comes."""
    net = NeuralNet(
        module,
        criterion=nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=batch_size,
        train_split=None,
        verbose=0,
        device=device,
    ).initialize()
    X = X.cpu()
    return lambda: net.partial_fit(X, X, epochs=1)


def mlp_epoch(net, X, batch_size):
    """scikit-learn's perceptron."""
    _, hidden, k = NETS[net]
    X = X.cpu().numpy()
    sizes = (*hidden, k, *hidden[::-1])
    model = MLPRegressor(hidden_layer_sizes=sizes, batch_size=batch_size, warm_start=True)
    model.set_params(max_iter=1, n_iter_no_change=10_000, tol=0.0)

    def epoch():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, X)

    return epoch


def seconds(functions, repeats, clock=time.perf_counter):
    """Median seconds of each function, which take turns; the first turn is not counted."""
    times = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                times[name].append(clock() - start)
    return {name: float(np.median(of)) for name, of in times.items()}


def step_times(net, batch_size, device, repeats):
    """Microseconds per step of skae and its peers."""
    n_features = NETS[net][0]
    n_batches = 20 if n_features == 784 else 200
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n_batches * batch_size, n_features, generator=generator).to(device)
    modules = [autoencoder(net).to(device) for _ in range(4)]
    of_data = X, batch_size, device
    functions = {
        "skae": skae_epoch(modules[0], *of_data),
        "hand-written": hand_written_epoch(copy.deepcopy(modules[0]), *of_data),
    }
    if has_fast_bfloat16(device):
        functions[ROUNDED] = skae_epoch(modules[3], *of_data, bfloat16=True)
    if device.type == "cpu":
        functions["skorch"] = skorch_epoch(modules[2], *of_data)
        functions["MLPRegressor"] = mlp_epoch(net, X, batch_size)
    times = seconds(functions, repeats)
    return {name: 1e6 * value / n_batches for name, value in times.items()}


def transform_times(hidden, repeats):
    """Seconds of transform, of the bare encoder, and of one row by skae and PCA."""
    X = np.random.default_rng(0).normal(size=(60_000, 784)).astype(np.float32)
    params = {"early_stopping": False, "max_epochs": 1, "random_state": 0}
    model = AutoencoderTransformer(30, hidden_layer_sizes=hidden, device="cpu", **params)
    model.fit(X[:2000])
    pca = PCA(30).fit(X[:2000])
    module = model.net_.module_
    tensor = torch.from_numpy(X)
    n_rows = 2**21 // 784

    @torch.inference_mode()
    def bare():
        return torch.cat([module.encode(part) for part in tensor.split(n_rows)]).numpy()

    row = X[:1]
    whole = seconds({"skae": lambda: model.transform(X), "bare": bare}, repeats)
    many = range(200)
    one = seconds(
        {
            "skae": lambda: [model.transform(row) for _ in many],
            "PCA": lambda: [pca.transform(row) for _ in many],
        },
        repeats,
    )
    return {
        "transform / bare forward": whole["skae"] / whole["bare"],
        "one row / PCA": one["skae"] / one["PCA"],
        "transform, seconds": whole["skae"],
        "one row, microseconds": 1e6 * one["skae"] / len(many),
    }


def steps_markdown(results):
    """The table of steps."""
    lines = [
        "| net | batch | device | skae, µs | "
        + " | ".join(f"/ {p}" for p in PEERS)
        + " | bfloat16 / MLPRegressor |",
        "|---|---|---|---|---|" + "---|" * len(PEERS),
    ]
    for r in results:
        times = r["times"]
        pairs = [*(("skae", peer) for peer in PEERS), (ROUNDED, "MLPRegressor")]
        ratios = (
            f"{times[a] / times[b]:.2f}" if {a, b} <= set(times) else "" for a, b in pairs
        )
        lines.append(
            f"| {r['net']} | {r['batch']} | {r['device']} | {times['skae']:.0f} | "
            + " | ".join(ratios)
            + " |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    steps, transforms = [], {}
    with threadpool_limits(1):
        for device in devices:
            for net in NETS:
                for batch_size in BATCHES:
                    times = step_times(net, batch_size, device, args.repeats)
                    result = {"net": net, "batch": batch_size, "device": str(device)}
                    steps.append(result | {"times": times})
                    print(steps_markdown(steps[-1:]).splitlines()[-1], flush=True)
        for hidden in ("auto", (1000, 500, 250)):
            transforms[str(hidden)] = transform_times(hidden, args.repeats)
            print(hidden, transforms[str(hidden)], flush=True)
    print(steps_markdown(steps))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"steps": steps, "transform": transforms}, file, indent=1)


if __name__ == "__main__":
    main()
