"""Seconds until the error of another package's autoencoder is reached.

Two parts, each with a table of ratios (see README.md beside this file):

- `peers`: every peer is fitted as its own documentation shows (`peers.py`), and skae, with
  its defaults, for as few epochs, of 1, 2, 4, ..., as bring its held-out error down to
  the peer's;
- `article`: the 784-64-32-64-784 network on MNIST, Keras's against skae's, per epoch and
  until the test loss that Keras has after 100 epochs.

Models take turns, each in a process of its own, which has imported what it needs and
fitted a few random rows before anything is timed. Sets and splits are those of
`reconstruction.py`, but for the number of rows.

    python examples/benchmarks/time_to_error.py --json time_to_error.json --markdown
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import peers
from components import geometric_mean, markdown
from reconstruction import available, check_sets, make_split, n_components

BUNDLED = "digits", "breast_cancer", "diabetes"  # those of more than 300 rows
IN_FOLDER = "cardio", "letter", "pendigits", "mnist", "frey_faces", "fsdd_logmel_frames"
SETS = *BUNDLED, *IN_FOLDER
MOST_ROWS = 10_000
PATIENCE = 60  # seconds of a fit from which on it is not repeated
OTHERS = [name for name in peers.FITS if name != "skae"]
# The network of the article, Keras's and skae's.
ARTICLE_K, ARTICLE_EPOCHS = 32, 100
KERAS = {"hidden": (64,)}
SKAE = {
    "hidden_layer_sizes": (64,),
    "activation": "relu",
    "loss": "binary_cross_entropy",
    "batch_size": 256,
}
SAME_SIZE = SKAE | {"early_stopping": False}
SAME = SAME_SIZE | {"init": "random", "code_activation": "relu"}
SLOPE_EPOCHS = 8


@dataclass
class Race:
    """A peer's fits, and as many of skae, of so many epochs as the peer's error takes.

    Where skae's default fit does not reach it, that fit counts, and `is_reached` is false.
    """

    peer: str
    error: float
    epochs: int | None  # None: the default's
    skae_error: float
    is_reached: bool
    peer_seconds: list = field(default_factory=list)
    skae_seconds: list = field(default_factory=list)

    @property
    def ratio(self):
        """skae's seconds over the peer's, medians."""
        return float(np.median(self.skae_seconds) / np.median(self.peer_seconds))


@dataclass
class Result:
    """What was measured of a set. `rows` are those that were fitted to."""

    name: str
    rows: int
    columns: int
    components: int
    skae_error: float  # with the default number of epochs
    skae_seconds: float
    skae_epochs: int
    races: list

    @property
    def fastest(self):
        """The race against the peer whose fit is the shortest."""
        return min(self.races, key=lambda race: np.median(race.peer_seconds))


def shortest(fit, default, errors, error, seed):
    """The shortest of skae's fits that reaches an error.

    Parameters
    ----------
    fit : callable
        Of skae's process.
    default : dict
        Outcome of the fit with the default number of epochs.
    errors : dict
        Of the fits with 1, 2, 4, ... epochs that were needed so far; is added to.
    error : float
    seed : int

    Returns
    -------
    epochs : int or None
        None is the default's number.
    skae_error : float
    is_reached : bool
    """
    epochs = 1
    while epochs < default["epochs"]:
        if epochs not in errors:
            errors[epochs] = fit(epochs=epochs, seed=seed)["error"]
        if errors[epochs] <= error:
            return epochs, errors[epochs], True
        epochs *= 2
    return None, default["error"], default["error"] <= error


def measure_set(name, task, processes, arguments):
    """Result of one set; `processes` are what `peers.process` yields, by model."""
    seed = arguments.seed
    X_train, X_test = make_split(task.load(), task.kind, seed, arguments.rows or None)
    k = n_components(task.kind, X_train.shape[1])
    fits = {model: on(X_train, X_test, k) for model, on in processes.items()}
    default = fits["skae"](epochs=arguments.epochs, seed=seed, clock=clock_of(arguments))
    races = run_races(fits, default, arguments)
    return Result(
        name=name,
        rows=len(X_train),
        columns=X_train.shape[1],
        components=k,
        skae_error=default["error"],
        skae_seconds=default["seconds"],
        skae_epochs=default["epochs"],
        races=races,
    )


def clock_of(arguments):
    """Name of the function of `time` that tells the seconds."""
    return "process_time" if arguments.cpu else "perf_counter"


def run_races(fits, default, arguments):
    """A Race against each peer, in turns."""
    of_fit = {"epochs": arguments.epochs, "seed": arguments.seed}
    of_fit["clock"] = clock_of(arguments)
    errors, races = {}, {}
    for _ in range(arguments.repeats):
        for peer in arguments.peers:
            if peer in races and races[peer].peer_seconds[0] > PATIENCE:
                continue
            outcome = fits[peer](**of_fit)
            if peer not in races:
                error = outcome["error"]
                found = shortest(fits["skae"], default, errors, error, arguments.seed)
                races[peer] = Race(peer, error, *found)
            race = races[peer]
            race.peer_seconds.append(outcome["seconds"])
            skae = fits["skae"](**of_fit | {"epochs": race.epochs or arguments.epochs})
            race.skae_seconds.append(skae["seconds"])
    return list(races.values())


def measure_article(X_train, X_test, arguments):
    """Ratios for the article's network, as a dict."""
    of_set = X_train, X_test, ARTICLE_K
    seed, error = arguments.seed, peers.binary_cross_entropy
    with peers.process("Keras") as on_keras, peers.process("skae") as on_skae:
        keras, skae = on_keras(*of_set), on_skae(*of_set)
        models = {"Keras": (keras, KERAS), "skae": (skae, SAME_SIZE), "same": (skae, SAME)}
        slopes = {name: [] for name in models}
        for _ in range(arguments.repeats):
            for name, (fit, params) in models.items():
                slopes[name].append(epoch_seconds(fit, params, seed))
        epochs = arguments.epochs or ARTICLE_EPOCHS
        of_keras = keras(epochs=epochs, seed=seed, error=error, **KERAS)
        of_keras["epochs"] = epochs
        epochs = 1
        while True:
            of_skae = skae(epochs=epochs, seed=seed, error=error, **SKAE)
            is_reached = of_skae["error"] <= of_keras["error"]
            if is_reached or of_skae["epochs"] < epochs:
                break
            epochs *= 2
    per_epoch = {name: float(np.median(of)) for name, of in slopes.items()}
    return {
        "seconds_per_epoch": per_epoch,
        "epoch_ratio": per_epoch["skae"] / per_epoch["Keras"],
        "same_network_epoch_ratio": per_epoch["same"] / per_epoch["Keras"],
        "keras": of_keras,
        "skae": of_skae,
        "is_reached": is_reached,
        "ratio": of_skae["seconds"] / of_keras["seconds"],
    }


def epoch_seconds(fit, params, seed):
    """Seconds per epoch: how much longer a fit is for some more epochs."""
    short, long = (
        fit(epochs=epochs, seed=seed, **params)["seconds"]
        for epochs in (1, 1 + SLOPE_EPOCHS)
    )
    return (long - short) / SLOPE_EPOCHS


def of_peer(results, peer):
    """Ratios to a peer, set by set."""
    return [race.ratio for r in results for race in r.races if race.peer == peer]


def summary(results):
    """Geometric means over the sets of the ratios to the fastest and to each peer."""
    fastest = geometric_mean([r.fastest.ratio for r in results])
    return {"fastest": fastest} | {
        peer: geometric_mean(of_peer(results, peer)) for peer in OTHERS
    }


def number(race):
    """A ratio for the table, marked where the error was not reached."""
    text = f"{race.ratio:.2f}" if race.ratio < 10 else f"{race.ratio:.0f}"
    return text if race.is_reached else f"{text} †"


def ratio_table(results, names):
    """Seconds of the fastest peer and of skae, and the ratios to all peers."""
    head = ["set", "rows x columns", "k", "fastest", "its s", "skae s", "epochs"]
    rows = [[*head, "ratio", *(f"/ {name}" for name in names)]]
    for r in results:
        fastest, races = r.fastest, {race.peer: race for race in r.races}
        seconds = fastest.peer_seconds, fastest.skae_seconds
        rows.append(
            [
                *(r.name, f"{r.rows} x {r.columns}", str(r.components), fastest.peer),
                *(f"{np.median(of):.2f}" for of in seconds),
                str(fastest.epochs or r.skae_epochs),
                f"**{number(fastest)}**",
                *(number(races[name]) for name in names),
            ]
        )
    means = [summary(results)[name] for name in ["fastest", *names]]
    rows.append(["geometric mean", *[""] * 6, *(f"{mean:.2f}" for mean in means)])
    return markdown(rows)


def error_table(results, names):
    """Held-out errors, with seconds in brackets, of the peers and of skae's default."""
    rows = [["set", *names, "skae, default"]]
    for r in results:
        races = {race.peer: race for race in r.races}
        of_peers = [(races[n].error, np.median(races[n].peer_seconds)) for n in names]
        pairs = [*of_peers, (r.skae_error, r.skae_seconds)]
        rows.append([r.name, *(f"{e:.4g} ({s:.1f})" for e, s in pairs)])
    return markdown(rows)


def article_table(r):
    """Seconds per epoch, and to Keras's final loss."""
    per_epoch, keras, skae = r["seconds_per_epoch"], r["keras"], r["skae"]
    seconds = [
        ("an epoch", per_epoch["Keras"], per_epoch["skae"]),
        ("an epoch of the very same network", per_epoch["Keras"], per_epoch["same"]),
        (
            f"{keras['epochs']} and {skae['epochs']} epochs",
            keras["seconds"],
            skae["seconds"],
        ),
    ]
    rows = [["", "Keras", "skae", "ratio"]]
    for label, theirs, ours in seconds:
        figures = theirs, ours, ours / theirs
        rows.append([f"seconds, {label}", *(f"{figure:.3g}" for figure in figures)])
    losses = (f"{of['error']:.4f}" for of in (keras, skae))
    rows.append(["their test loss", *losses, "" if r["is_reached"] else "†"])
    return markdown(rows)


def write(path, results, article):
    """All that is there so far."""
    sets = []
    for r in results:
        ratios = {race.peer: race.ratio for race in r.races}
        sets.append(asdict(r) | {"fastest": r.fastest.peer, "ratios": ratios})
    content = {"summary": summary(results) if results else None, "sets": sets}
    path.write_text(json.dumps(content | {"article": article}, indent=1) + "\n")


def installed(names):
    """Those of the peers whose packages are there."""
    return [name for name in names if find_spec(peers.PACKAGES.get(name, name))]


def parse_arguments(tasks):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables of README.md at the end"
    )
    parser.add_argument("--parts", default="peers,article", help="default: %(default)s")
    parser.add_argument("--sets", help="names, separated by commas")
    parser.add_argument("--peers", help=f"some of {','.join(OTHERS)}; default: those there")
    rows_help = "most rows of a set, drawn at random; 0 is all (default: %(default)s)"
    parser.add_argument("--rows", type=int, default=MOST_ROWS, help=rows_help)
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    cpu_help = "seconds of the processor, for a busy machine and one thread"
    parser.add_argument("--cpu", action="store_true", help=cpu_help)
    parser.add_argument("--epochs", type=int, help="of every model, to try the script out")
    parser.add_argument("--seed", type=int, default=0, help="of split and networks")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    arguments.sets = (
        arguments.sets.split(",") if arguments.sets else [n for n in SETS if n in tasks]
    )
    check_sets(parser, arguments.sets, tasks)
    asked = arguments.peers.split(",") if arguments.peers else OTHERS
    arguments.peers = installed(asked)
    if missing := sorted(set(asked) - set(arguments.peers)):
        print(f"not installed, and left out: {', '.join(missing)}")
    return arguments


def measure_sets(tasks, arguments):
    """Results of all sets; print and write each."""
    results = []
    with ExitStack() as stack:
        processes = {
            model: stack.enter_context(peers.process(model))
            for model in ["skae", *arguments.peers]
        }
        for name in arguments.sets:
            results.append(measure_set(name, tasks[name], processes, arguments))
            print(ratio_table(results[-1:], arguments.peers).splitlines()[2], flush=True)
            # After every set, so that an interrupted run leaves what it has.
            if arguments.json:
                write(arguments.json, results, None)
    return results


def main():
    """Measure set after set; print and write."""
    tasks = available()
    arguments = parse_arguments(tasks)
    results, article = [], None
    if "peers" in arguments.parts:
        results = measure_sets(tasks, arguments)
    is_possible = "mnist" in tasks and "Keras" in arguments.peers
    if "article" in arguments.parts and not is_possible:
        print("the article's network needs MNIST and Keras, and is left out")
    elif "article" in arguments.parts:
        article = measure_article(*tasks["mnist"].load(), arguments)
        print(json.dumps(article), flush=True)
        if arguments.json:
            write(arguments.json, results, article)
    if arguments.markdown and results:
        tables = ratio_table, error_table
        print(*(table(results, arguments.peers) for table in tables), sep="\n\n")
    if arguments.markdown and article:
        print("", article_table(article), sep="\n")


if __name__ == "__main__":
    main()
