"""How many components: a share of the variance, and one ordered fit cut to any number.

Two tables, both of rows that no model has seen in `fit` (see README.md beside this file):

- components that 80, 90 and 95 % of the variance take, PCA's against skae's with a float
  `n_components`;
- the error of one fit with `ordered=True`, cut to k components, against PCA's with k and
  against a separate fit with k.

Sets and splits are those of `reconstruction.py`, but for the number of rows.

    python examples/benchmarks/components.py --json components.json --markdown
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from reconstruction import (
    available,
    check_sets,
    fit_timed,
    held_out_error,
    make_split,
    n_components,
)
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

SETS = (
    "digits",
    "breast_cancer",
    "cardio",
    "letter",
    "musk",
    "ames",
    "nir_tecator_meats",
    "frey_faces",
    "olivetti_faces_64",
    "mnist",
    "fsdd_logmel_frames",
    "pbmc68k_reduced",
)
MOST_ROWS = 2000
SHARES = 0.8, 0.9, 0.95
CUTS = 1, 2, 3, 4, 6, 8, 12, 16


@dataclass
class Share:
    """Components that a share of the variance takes; None: as many as there are fail."""

    share: float
    pca: int | None  # fewest that keep `share` of the held-out rows' variance
    skae: int
    skae_kept: float  # of the held-out rows' variance
    pca_for_kept: int | None  # fewest that keep as much as skae does
    seconds: float


@dataclass
class Cut:
    """Held-out errors with k components, means over rows and columns."""

    components: int
    pca: float
    ordered: float
    separate: float


@dataclass
class Result:
    """What was measured of a set. `rows` are those that were fitted to."""

    name: str
    rows: int
    columns: int
    shares: list
    cuts: list
    ordered_seconds: float
    separate_seconds: float  # of all separate fits together


def pca_shares(X_train, X_test):
    """Share of the held-out variance that PCA keeps with 1, 2, ... components.

    Variance is about the training rows' mean.
    """
    pca = PCA(svd_solver="full").fit(X_train)
    squares = np.square(pca.transform(X_test)).sum(axis=0, dtype=np.float64)
    return np.cumsum(squares) / np.square(X_test - pca.mean_).sum(dtype=np.float64)


def fewest(kept, share):
    """Number of components from which on `share` is kept, or None."""
    return int(np.argmax(kept >= share)) + 1 if (kept >= share).any() else None


def measure_shares(X_train, X_test, seed):
    """A Share for each of SHARES."""
    kept = pca_shares(X_train, X_test)
    total = np.square(X_test - X_train.mean(axis=0)).mean(dtype=np.float64)
    results = []
    for share in SHARES:
        model = AutoencoderTransformer(share, random_state=seed)
        seconds = fit_timed(model, X_train)
        skae_kept = 1 - held_out_error(model, X_test) / total
        results.append(
            Share(
                share=share,
                pca=fewest(kept, share),
                skae=model.n_components_,
                skae_kept=skae_kept,
                # Where skae is PCA both keep the same, up to rounding.
                pca_for_kept=fewest(kept, skae_kept - 1e-6),
                seconds=seconds,
            )
        )
    return results


def measure_cuts(X_train, X_test, most, seed):
    """A Cut for each of CUTS up to `most`; seconds of the ordered and separate fits."""
    ordered = AutoencoderTransformer(most, ordered=True, random_state=seed)
    ordered_seconds, separate_seconds, results = fit_timed(ordered, X_train), 0.0, []
    Z = ordered.transform(X_test)
    for k in [k for k in CUTS if k <= most]:
        separate = AutoencoderTransformer(k, random_state=seed)
        separate_seconds += fit_timed(separate, X_train)
        X_hat = ordered.inverse_transform(Z[:, :k])
        results.append(
            Cut(
                components=k,
                pca=held_out_error(PCA(k, svd_solver="full").fit(X_train), X_test),
                ordered=float(np.square(X_hat - X_test).mean(dtype=np.float64)),
                separate=held_out_error(separate, X_test),
            )
        )
    return results, ordered_seconds, separate_seconds


def measure(name, task, most_rows, seed):
    """Result of one set."""
    X_train, X_test = make_split(task.load(), task.kind, seed, most_rows)
    most = min(max(CUTS), n_components(task.kind, X_train.shape[1]))
    shares = measure_shares(X_train, X_test, seed)
    cuts, ordered_seconds, separate_seconds = measure_cuts(X_train, X_test, most, seed)
    return Result(
        name=name,
        rows=len(X_train),
        columns=X_train.shape[1],
        shares=shares,
        cuts=cuts,
        ordered_seconds=ordered_seconds,
        separate_seconds=separate_seconds,
    )


def geometric_mean(ratios):
    """Of all that are there; None of none."""
    ratios = [ratio for ratio in ratios if ratio is not None]
    return float(np.exp(np.log(ratios).mean())) if ratios else None


def of_share(results, share, rival):
    """Ratios, set by set, of skae's components to a rival count; None where it fails."""
    chosen = [s for r in results for s in r.shares if s.share == share]
    counts = [(s.skae, getattr(s, rival)) for s in chosen]
    return [ours / theirs if theirs else None for ours, theirs in counts]


def of_cut(results, k, rival):
    """Ratios, set by set, of the ordered fit's error at k components to a rival's."""
    return [
        cut.ordered / getattr(cut, rival)
        for r in results
        for cut in r.cuts
        if cut.components == k
    ]


def summary(results):
    """Geometric means over the sets, by share and by number of components."""
    ratios = {k: [of_cut(results, k, rival) for rival in ("pca", "separate")] for k in CUTS}
    return {
        "components": {
            share: {
                "to_pca": geometric_mean(of_share(results, share, "pca")),
                "to_pca_that_keeps_the_same": geometric_mean(
                    of_share(results, share, "pca_for_kept")
                ),
            }
            for share in SHARES
        },
        "errors": {
            k: {
                "sets": len(to_pca),
                "to_pca": geometric_mean(to_pca),
                "worst_to_pca": max(to_pca),
                "to_separate": geometric_mean(to_separate),
                "worst_to_separate": max(to_separate),
            }
            for k, (to_pca, to_separate) in ratios.items()
            if to_pca
        },
    }


def markdown(rows):
    """A table in Markdown, the first of the rows (lists of str) being its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def number(value, digits=2):
    """With so many digits, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def share_table(results):
    """Components by share: PCA's, skae's, and what skae keeps with these."""
    rows = [["set", "rows x columns", *(f"{100 * s:g} %" for s in SHARES)]]
    for r in results:
        cells = [f"{s.pca or '-'} / {s.skae} ({100 * s.skae_kept:.1f})" for s in r.shares]
        rows.append([r.name, f"{r.rows} x {r.columns}", *cells])
    labels = "skae / PCA", "skae / PCA that keeps the same"
    for label, rival in zip(labels, ("pca", "pca_for_kept"), strict=True):
        means = [geometric_mean(of_share(results, s, rival)) for s in SHARES]
        rows.append([label, "geometric mean", *map(number, means)])
    return markdown(rows)


def cut_table(results):
    """Error of the ordered fit over PCA's and over the separate fit's, by components."""
    rows = [["set", *(f"k={k}" for k in CUTS), "ordered s", "separate s"]]
    for r in results:
        cells = [f"{c.ordered / c.pca:.2f} / {c.ordered / c.separate:.2f}" for c in r.cuts]
        cells += [""] * (len(CUTS) - len(cells))
        seconds = [f"{r.ordered_seconds:.0f}", f"{r.separate_seconds:.0f}"]
        rows.append([r.name, *cells, *seconds])
    means = [
        " / ".join(
            number(geometric_mean(of_cut(results, k, rival)))
            for rival in ("pca", "separate")
        )
        for k in CUTS
    ]
    rows.append(["geometric mean", *means, "", ""])
    return markdown(rows)


def parse_arguments(tasks):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables of README.md at the end"
    )
    parser.add_argument("--sets", help="names, separated by commas, or 'all'")
    parser.add_argument(
        "--rows",
        type=int,
        default=MOST_ROWS,
        help="most rows of a set, drawn at random; 0 is all (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of split and networks")
    arguments = parser.parse_args()
    if arguments.sets == "all":
        arguments.sets = list(tasks)
    elif arguments.sets:
        arguments.sets = arguments.sets.split(",")
    else:
        arguments.sets = [name for name in SETS if name in tasks]
    check_sets(parser, arguments.sets, tasks)
    return arguments


def main():
    """Measure set after set; print and write."""
    tasks = available()
    arguments = parse_arguments(tasks)
    results = []
    for name in arguments.sets:
        r = measure(name, tasks[name], arguments.rows or None, arguments.seed)
        results.append(r)
        counts = [f"{s.share:g}: {s.pca or '-'}/{s.skae}" for s in r.shares]
        errors = [
            f"{c.components}: {c.ordered / c.pca:.2f}/{c.ordered / c.separate:.2f}"
            for c in r.cuts
        ]
        print(f"{r.name:20} components {', '.join(counts)}", flush=True)
        print(f"{'':20} errors     {', '.join(errors)}", flush=True)
        # After every set, so that an interrupted run leaves what it has.
        if arguments.json:
            content = {"summary": summary(results), "sets": [asdict(r) for r in results]}
            arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.markdown:
        print(share_table(results), cut_table(results), sep="\n\n")


if __name__ == "__main__":
    main()
