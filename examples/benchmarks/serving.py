"""What it takes to answer one row: pickle, skops, skae.load, skae.runtime and ONNX.

A network for the digits of scikit-learn, with 8 components and default layers, is saved in
every way. Each file is then opened in a process of its own, which is this script again and
has one thread:

    python examples/benchmarks/serving.py --json serving.json --markdown

start: seconds from the first import until the first row is answered, and the CPU seconds of
it, because other processes may slow the clock. memory: largest resident memory of the
process by then (`VmHWM`, on Linux alone). row: `transform` of one row of float64, in CPU
microseconds. All processes are open at the same time and take turns of 200 calls, so that
what else the machine does slows all of them alike; shown are medians of the turns, and of
the ratios to PCA in the same turn. PCA, opened by pickle, is what the ways are compared
with. Those whose packages are not installed are left out.
"""

import argparse
import contextlib
import importlib.util
import json
import os
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

ONE_THREAD = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
N_CALLS = 200  # of a turn


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


def serve(way, path):
    """Print the figures of the start, and for each line of input those of a turn."""
    start, cpu = time.perf_counter(), time.process_time()
    answer = opened(way, path)
    import numpy as np

    X = np.full((1, 64), 8.0)
    answer(X)
    start, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"start": start, "cpu": cpu, "memory": peak_memory()}), flush=True)
    for line in sys.stdin:
        print(turn(answer, X, int(line)), flush=True)


def peak_memory():
    """Return the largest resident memory of this process so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1000


def turn(answer, X, n_calls):
    """Return the CPU microseconds of a call, in the mean of some calls."""
    start = time.process_time()
    for _ in range(n_calls):
        answer(X)
    return (time.process_time() - start) / n_calls * 1e6


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


def run(paths, n_turns, n_calls):
    """Return the figures of one process for each way: those of the start, and turns."""
    alone = dict.fromkeys(ONE_THREAD, "1")
    with contextlib.ExitStack() as stack:
        processes, found = {}, {}
        for way, path in paths.items():
            command = [sys.executable, __file__, "--way", way, "--file", str(path)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            process = subprocess.Popen(command, env=os.environ | alone, **pipes)
            processes[way] = stack.enter_context(process)
            found[way] = json.loads(process.stdout.readline()) | {"turns": []}
        for _ in range(n_turns):
            for way, process in processes.items():
                process.stdin.write(f"{n_calls}\n")
                process.stdin.flush()
                found[way]["turns"].append(float(process.stdout.readline()))
        for process in processes.values():
            process.stdin.close()
    return found


def summary(rounds, way):
    """Return medians over rounds, and over the turns of all rounds."""
    names = "start", "cpu", "memory"
    found = {n: statistics.median(r[way][n] for r in rounds) for n in names}
    turns, of_pca = (
        [turn for r in rounds for turn in r[w]["turns"]] for w in (way, "PCA, pickle")
    )
    ratios = [own / other for own, other in zip(turns, of_pca, strict=True)]
    return found | {"row": statistics.median(turns), "ratio": statistics.median(ratios)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes of each way")
    parser.add_argument("--turns", type=int, default=20, help="of each process")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--markdown", action="store_true", help="print a table")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        serve(args.way, args.file)
        return
    ways = [
        way
        for way, (_, packages) in NEEDS.items()
        if all(importlib.util.find_spec(package) for package in packages)
    ]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = save_all(Path(folder), ways)
        rounds = [run(paths, args.turns, N_CALLS) for _ in range(args.repeats)]
        for way in ways:
            size = paths[way].stat().st_size / 1000
            results[way] = summary(rounds, way) | {"size": size}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    print_table(results, args.markdown)


def print_table(results, is_markdown):
    head = ["way", "needs", "start, s", "CPU, s", "memory, MB", "file, kB"]
    head += ["row, µs", "row / PCA"]
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
            f"{found['ratio']:.2f}",
        ]
        for way, found in results.items()
    ]
    for row in rows:
        print(f"| {' | '.join(row)} |" if is_markdown else "\t".join(row))


if __name__ == "__main__":
    main()
