"""Frames with categories: gaps that are filled, and codes in front of a classifier.

Cells are hidden at random. Each method is fitted to some of the rows, and fills these and
the others; counted is the share of hidden categories that are filled right, by column.
Then codes are computed in front of a logistic regression, with as many components as PCA
has on the one-hot table (see README.md beside this file). It needs SKAE_DATA.

    python examples/benchmarks/categories.py --json categories.json --markdown
"""

import argparse
import json
import os
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skae import AutoencoderImputer, AutoencoderTransformer

FRAMES = "adult", "ames", "drug", "mice_boys"
HIDDEN = 0.2  # share of the cells
N_COMPONENTS = 5
FOREST_ROWS = 4000  # most rows that a forest is fitted to, drawn at random
FEW = 12  # a column of drug.csv with so few values holds categories


@dataclass
class Result:
    """What one task gave on one frame: means over the seeds, by method.

    `right` are shares of hidden categories filled right, in rows of the fit and in others,
    or accuracies; `errors` root mean squared errors of hidden numbers in standard
    deviations; `seconds` those of the processor for fitting and filling.
    """

    task: str
    frame: str
    rows: int
    columns: int
    right: dict
    new: dict
    errors: dict
    seconds: dict


# -- frames ----------------------------------------------------------------------------


def read(name):
    """A frame of floats and categories, and labels for its rows."""
    frame, labels = _read(name)
    numbers = frame.select_dtypes("number").columns
    return frame.astype(dict.fromkeys(numbers, float)), labels


def _read(name):
    folder = Path(os.environ["SKAE_DATA"])
    if name == "drug":
        frame = pd.read_csv(folder / "uci" / "drug.csv", index_col=0)
        is_used = frame.pop("18") >= 3  # cannabis, in the year before
        few = frame.columns[frame.nunique() <= FEW]
        return frame.astype(dict.fromkeys(few, "category")), is_used.to_numpy()
    frame = pd.read_csv(folder / "tabular" / f"{name}.csv.gz", na_values="?")
    words = frame.columns[[kind.kind not in "iuf" for kind in frame.dtypes]]
    frame = frame.astype(dict.fromkeys(words, "category"))
    if name == "adult":
        return frame, (frame.pop("income") == ">50K").to_numpy()
    if name == "ames":
        price = frame.pop("Sale_Price")
        return frame, (price > price.median()).to_numpy()
    known = frame["reg"].notna()
    labels = frame.pop("reg")[known]
    return frame[known].reset_index(drop=True), labels.to_numpy()


def categories_of(frame):
    """The names of the columns of categories."""
    return [*frame.select_dtypes("category")]


# -- filling ---------------------------------------------------------------------------


def with_most_frequent(fit, frame, seed):
    """Each gap filled with the mode, or the mean, of its column."""
    values = {
        name: column.mode()[0] if column.dtype == "category" else column.mean()
        for name, column in fit.items()
    }
    return frame.fillna(values)


def by_forest(fit, frame, seed):
    """Regressions on each other's numbers and codes by trees, in turns.

    They are fitted to at most `FOREST_ROWS` rows, because the time of all would be hours.
    """
    names = categories_of(frame)
    some = np.random.default_rng(seed).permutation(len(fit))[:FOREST_ROWS]
    fit = fit.iloc[np.sort(some)]

    def with_codes(table):
        codes = {c: table[c].cat.codes.where(table[c].notna()).astype(float) for c in names}
        return table.assign(**codes)

    trees = ExtraTreesRegressor(50, random_state=seed, n_jobs=1)
    model = IterativeImputer(trees, max_iter=3, random_state=seed)
    model.set_output(transform="pandas").fit(with_codes(fit))
    filled = model.transform(with_codes(frame))
    for name in names:
        dtype = frame[name].dtype
        codes = filled[name].round().clip(0, len(dtype.categories) - 1).astype(int)
        filled[name] = pd.Categorical.from_codes(codes, dtype=dtype)
    return filled


def by_imputer(fit, frame, seed):
    """By `AutoencoderImputer`."""
    model = AutoencoderImputer(random_state=seed).set_output(transform="pandas")
    return model.fit(fit).transform(frame)


FILLS = {"imputer": by_imputer, "mode": with_most_frequent, "forest": by_forest}


def hide(frame, seed):
    """The frame with cells hidden, and where they are, of columns that still vary."""
    rng = np.random.default_rng(seed)
    hidden = (rng.random(frame.shape) < HIDDEN) & frame.notna().to_numpy()
    visible = frame.mask(hidden)
    varies = visible.nunique().to_numpy() > 1
    return frame.loc[:, varies], visible.loc[:, varies], hidden[:, varies]


def rate(filled, frame, visible, hidden, rows):
    """Share of categories right, and error of the numbers, in some rows."""
    right, errors = [], []
    for j, name in enumerate(frame):
        there = hidden[rows, j]
        if not there.any():
            continue
        found, true = filled[name][rows][there], frame[name][rows][there]
        if frame[name].dtype == "category":
            right.append((found.astype(object) == true.astype(object)).mean())
        else:
            deviation = (found - true) / visible[name].std()
            errors.append(np.sqrt(np.square(deviation).mean()))
    return np.mean(right), np.mean(errors)


def fill(name, frame, labels, seed, methods):
    """Shares, errors and seconds of all methods."""
    frame, visible, hidden = hide(frame, seed)
    n = len(frame) * 2 // 3
    found = {}
    for method in methods:
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            known = visible[:n].apply(_without_unseen)
            filled = FILLS[method](known, _as_in(known, visible), seed)
        seconds = time.process_time() - start
        right, error = rate(filled, frame, visible, hidden, np.arange(n))
        new, _ = rate(filled, frame, visible, hidden, np.arange(n, len(frame)))
        found[method] = right, new, error, seconds
    return found


def _without_unseen(column):
    return column.cat.remove_unused_categories() if column.dtype == "category" else column


def _as_in(known, frame):
    """The frame with the categories of `known`: others are missing."""
    names = categories_of(frame)
    return frame.assign(
        **{c: frame[c].cat.set_categories(known[c].cat.categories) for c in names}
    )


# -- codes -----------------------------------------------------------------------------


def pca(seed):
    """PCA of standardized numbers and one-hot categories."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (encoder, make_column_selector(dtype_include="category")),
    )
    return make_pipeline(columns, PCA(N_COMPONENTS, random_state=seed))


def autoencoder(seed):
    """The autoencoder of the same number of components."""
    return AutoencoderTransformer(
        N_COMPONENTS, allow_nan=True, handle_unknown="ignore", random_state=seed
    )


CODES = {"autoencoder": autoencoder, "PCA": pca}


def classify(name, frame, labels, seed, methods):
    """Accuracies in front of a logistic regression, and seconds."""
    train, test = train_test_split(
        np.arange(len(frame)), test_size=1 / 3, random_state=seed, stratify=labels
    )
    found = {}
    for method in methods:
        start = time.process_time()
        classifier = LogisticRegression(max_iter=1000)
        model = make_pipeline(CODES[method](seed), StandardScaler(), classifier)
        model.fit(frame.iloc[train], labels[train])
        accuracies = (model.score(frame.iloc[rows], labels[rows]) for rows in (train, test))
        found[method] = *accuracies, np.nan, time.process_time() - start
    return found


# -- command ---------------------------------------------------------------------------

TASKS = {"fill": (fill, FILLS), "codes": (classify, CODES)}


def measure(task, name, arguments):
    """The Result of a task on a frame."""
    function, methods = TASKS[task]
    methods = [m for m in methods if m not in arguments.without]
    frame, labels = read(name)
    # In random order, because some frames are sorted.
    rows = np.random.default_rng(0).permutation(len(frame))[: arguments.rows or None]
    frame, labels = frame.iloc[rows].reset_index(drop=True), labels[rows]
    found = [function(name, frame, labels, s, methods) for s in range(arguments.seeds)]
    means = {m: np.mean([each[m] for each in found], axis=0).tolist() for m in methods}
    parts = ({m: values[i] for m, values in means.items()} for i in range(4))
    return Result(task, name, *frame.shape, *parts)


def markdown(results):
    """The tables of README.md."""
    lines = []
    for task in dict.fromkeys(r.task for r in results):
        chosen = [r for r in results if r.task == task]
        methods = [*chosen[0].right]
        what = {"fill": ("right, ", "new rows, "), "codes": ("train, ", "test, ")}[task]
        columns = [f"{w}{m}" for w in what for m in methods]
        columns += [f"error, {m}" for m in methods] if task == "fill" else []
        columns += [f"s, {m}" for m in methods]
        lines += [f"| frame | rows x columns | {' | '.join(columns)} |"]
        lines += ["|---" * (len(columns) + 2) + "|"]
        for r in chosen:
            values = [*r.right.values(), *r.new.values()]
            values += [*r.errors.values()] if task == "fill" else []
            texts = [f"{v:.3f}" for v in values]
            texts += [f"{s:.1f}" for s in r.seconds.values()]
            lines += [f"| {r.frame} | {r.rows} x {r.columns} | {' | '.join(texts)} |"]
        lines.append("")
    return "\n".join(lines)


def main():
    """Measure task after task; print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--markdown", action="store_true", help="print tables at the end")
    parser.add_argument("--frames", default=",".join(FRAMES), help="some of them")
    parser.add_argument("--tasks", default=",".join(TASKS), help="some of them")
    parser.add_argument("--without", default="", help="methods to leave out")
    parser.add_argument("--rows", type=int, default=4000, help="most rows; 0 is all")
    parser.add_argument("--seeds", type=int, default=1, help="of gaps and networks")
    arguments = parser.parse_args()
    results = []
    for task in arguments.tasks.split(","):
        for name in arguments.frames.split(","):
            r = measure(task, name, arguments)
            results.append(r)
            print(task, name, r.right, r.new, r.errors, r.seconds, flush=True)
            if arguments.json:
                content = json.dumps([asdict(r) for r in results], indent=1)
                arguments.json.write_text(content + "\n")
    if arguments.markdown:
        print(markdown(results))


if __name__ == "__main__":
    main()
