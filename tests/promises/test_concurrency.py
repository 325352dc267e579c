"""Threads, processes and forks: a fitted estimator is used and never written to."""

import copy
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone

from skae import AutoencoderTransformer

METHODS = ["transform", "inverse_transform", "score_samples"]
N_THREADS, N_CALLS = 16, 25
LIMIT = 60  # seconds that a process is waited for
SETTINGS = [
    {},
    {"whiten": True, "standardize": True, "dropout": 0.3},
    {"loss": "binary_cross_entropy", "early_stopping": False},
]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def fitted(request, curved):
    X = (curved - curved.min()) / (curved.max() - curved.min())
    params = {"max_epochs": 3, "random_state": 0, **request.param}
    return AutoencoderTransformer(2, **params).fit(X), X


def inputs(ae, X):
    """What each method is given, in both precisions and several sizes."""
    Z = ae.transform(X)
    arrays = {"transform": X, "inverse_transform": Z, "score_samples": X}
    return [
        (method, arrays[method][:n_rows].astype(dtype))
        for method in METHODS
        for dtype in (np.float32, np.float64)
        for n_rows in (1, 7, len(X))
    ]


def test_threads(fitted):
    """Every thread begins elsewhere in the list, so that unlike calls meet."""
    ae, X = fitted
    calls = inputs(ae, X)
    serial = [getattr(ae, method)(array) for method, array in calls]

    def work(thread):
        order = [(thread + i) % len(calls) for i in range(N_CALLS)]
        return [(i, getattr(ae, calls[i][0])(calls[i][1])) for i in order]

    with ThreadPoolExecutor(N_THREADS) as pool:
        outcomes = [pair for pairs in pool.map(work, range(N_THREADS)) for pair in pairs]
    assert len(outcomes) == N_THREADS * N_CALLS
    assert all(np.array_equal(result, serial[i]) for i, result in outcomes)


def insides(value):
    """A value and all that hangs on it, as something that can be compared."""
    if isinstance(value, torch.nn.Module):
        return insides([value.training, dict(value.state_dict()), vars(value).keys()])
    if isinstance(value, torch.Tensor):
        return value._version, value.requires_grad, value.detach().numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, joblib.hash(value)
    if isinstance(value, dict):
        return {str(key): insides(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [insides(item) for item in value]
    if type(value).__module__.startswith("skae"):
        return id(value), insides(vars(value))
    return repr(value)


def test_nothing_is_written_by_use(fitted):
    ae, X = fitted
    before = insides(vars(ae)), insides(vars(ae.net_.module_)), torch.get_rng_state()
    assert "encoder.linear.weight" in str(before[0])  # else it would not be deep
    threads = torch.get_num_threads()
    for method, array in inputs(ae, X):
        array.flags.writeable = False
        getattr(ae, method)(array)
    ae.score(X)
    ae.components_at(X[:2])
    ae.get_covariance()
    after = insides(vars(ae)), insides(vars(ae.net_.module_)), torch.get_rng_state()
    assert after[:2] == before[:2]
    assert torch.equal(after[2], before[2])
    assert torch.get_num_threads() == threads


def test_a_write_would_be_seen(fitted):
    ae = copy.deepcopy(fitted[0])
    before = insides(vars(ae))
    with torch.no_grad():
        next(ae.net_.module_.parameters())[0] += 1
    assert insides(vars(ae)) != before


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(fitted, backend):
    """Use and fits in workers give what they give alone."""
    ae, X = fitted
    refitted = [clone(ae).set_params(random_state=seed).fit(X) for seed in range(3)]
    expected = [ae.transform(X), *(other.transform(X) for other in refitted)]

    def fit_transform(seed):
        return clone(ae).set_params(random_state=seed).fit(X).transform(X)

    jobs = [delayed(ae.transform)(X), *(delayed(fit_transform)(seed) for seed in range(3))]
    results = Parallel(n_jobs=2, backend=backend)(jobs)
    assert all(map(np.array_equal, results, expected))


def fork(pipe):
    """In a process of its own, with torch's threads: whether its child answers alike."""
    X = np.random.default_rng(0).normal(size=(2000, 32))
    ae = AutoencoderTransformer(4, hidden_layer_sizes=(512,), max_epochs=1, random_state=0)
    ae.fit(X[:100])
    torch.set_num_threads(4)
    square = torch.ones(1000, 1000)
    square @ square, square.exp()  # starts torch's threads, which no child inherits
    Z = ae.transform(X)
    child = os.fork()
    if child == 0:
        again = ae.transform(X)
        ae.fit(X[:100])
        os._exit(0 if np.allclose(again, Z, rtol=1e-10, atol=1e-12) else 3)
    pipe.send(child)
    pipe.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_child(processes):
    """torch's threads are gone in a child, and torch alone waits for them forever."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=fork, args=(theirs,))
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    assert ours.poll(LIMIT)
    child = ours.recv()
    if not ours.poll(LIMIT):
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child hangs")
    assert ours.recv() == 0
    process.join(LIMIT)
