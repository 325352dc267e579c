"""What it takes to answer one row: pickle, skops, skae.load, skae.runtime and ONNX.

A network for the digits of scikit-learn, with 8 components and default layers, is saved in
every way. Each file is then opened in processes of its own, which are this script again:

    python examples/benchmarks/serving.py --json serving.json --markdown

start: seconds from the first import until the first row is answered, and the CPU seconds of
it, because other processes may slow the clock. memory: largest resident memory of the
process (`VmHWM`, on Linux alone). row: `transform` of one row of float64, in CPU
microseconds, the fastest mean of 20 times 200 calls. PCA, opened by pickle, is what the
ways are compared with. Those whose packages are not installed are left out.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEEDS = {
    "PCA, pickle": ("scikit-learn", ["sklearn"]),
    "pickle": ("skae, torch, scikit-learn", ["torch"]),
    "skops": ("skops, skae, torch, scikit-learn", ["skops"]),
    "skae.load": ("safetensors, skae, torch, scikit-learn", ["safetensors"]),
    "skae.runtime": ("safetensors, skae, NumPy", ["safetensors"]),
    "ONNX": ("onnxruntime, NumPy", ["skl2onnx", "onnxruntime"]),
}


# -- what is measured, in a process of its own -----------------------------------------


def opened(way, path):
    """Open a file, and return a function that answers rows."""
    if way in ("PCA, pickle", "pickle"):
        import pickle

        return pickle.loads(path.read_bytes()).transform
    if way == "skops":
        import skops.io

        trusted = skops.io.get_untrusted_types(file=path)
        return skops.io.load(path, trusted=trusted).transform
    if way == "skae.load":
        from skae import load

        return load(path).transform
    if way == "skae.runtime":
        from skae.runtime import load

        return load(path).transform
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return lambda X: session.run(None, {"X": X})[0]


def measure(way, path):
    """Return the figures of one process."""
    start, cpu = time.perf_counter(), time.process_time()
    answer = opened(way, path)
    import numpy as np

    X = np.full((1, 64), 8.0)
    answer(X)
    start, cpu = time.perf_counter() - start, time.process_time() - cpu
    found = {"start": start, "cpu": cpu, "memory": peak_memory()}
    return found | {"row": fastest(answer, X)}


def peak_memory():
    """Return the largest resident memory of this process so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1000


def fastest(answer, X, n_rounds=20, n_calls=200):
    """Return the CPU microseconds of a call, in the fastest of some rounds."""
    seconds = []
    for _ in range(n_rounds):
        start = time.process_time()
        for _ in range(n_calls):
            answer(X)
        seconds.append(time.process_time() - start)
    return min(seconds) / n_calls * 1e6


# -- the files, and the table ----------------------------------------------------------


def save_all(folder, ways):
    """Fit PCA and the autoencoder to the digits, and save them in every way."""
    import pickle

    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    from skae import AutoencoderTransformer

    X, _ = load_digits(return_X_y=True)
    ae = AutoencoderTransformer(8, early_stopping=False, max_epochs=10).fit(X)
    paths = {way: folder / f"model_{i}" for i, way in enumerate(ways)}
    paths["PCA, pickle"].write_bytes(pickle.dumps(PCA(8).fit(X)))
    paths["pickle"].write_bytes(pickle.dumps(ae))
    if "skops" in ways:
        import skops.io

        skops.io.dump(ae, paths["skops"])
    if "skae.load" in ways:
        ae.save(paths["skae.load"])
        ae.save(paths["skae.runtime"])
    if "ONNX" in ways:
        import skae.onnx

        paths["ONNX"].write_bytes(skae.onnx.to_onnx(ae, X).SerializeToString())
    return paths


def run(way, path):
    """Return the figures of a new process."""
    command = [sys.executable, __file__, "--way", way, "--file", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes; medians")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--markdown", action="store_true", help="print a table")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.way, args.file)))
        return
    ways = [
        way
        for way, (_, packages) in NEEDS.items()
        if all(importlib.util.find_spec(package) for package in packages)
    ]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = save_all(Path(folder), ways)
        rounds = [{way: run(way, paths[way]) for way in ways} for _ in range(args.repeats)]
        for way in ways:
            names = rounds[0][way]
            found = {n: statistics.median(r[way][n] for r in rounds) for n in names}
            results[way] = found | {"size": paths[way].stat().st_size / 1000}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    print_table(results, args.markdown)


def print_table(results, is_markdown):
    head = ["way", "needs", "start, s", "CPU, s", "memory, MB", "file, kB", "row, µs"]
    rows = [head, ["---"] * len(head)] if is_markdown else [head]
    rows += [
        [
            way,
            NEEDS[way][0],
            f"{found['start']:.2f}",
            f"{found['cpu']:.2f}",
            f"{found['memory']:.0f}",
            f"{found['size']:.0f}",
            f"{found['row']:.0f}",
        ]
        for way, found in results.items()
    ]
    for row in rows:
        print(f"| {' | '.join(row)} |" if is_markdown else "\t".join(row))


if __name__ == "__main__":
    main()
