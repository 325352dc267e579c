"""How many threads a step is given."""

import numpy as np
import pytest
import torch

import skae._autoencoders.fitted_attributes
import skae._autoencoders.fitting
import skae._engine.threads
import skae._training.settings
from skae import AutoencoderTransformer
from skae._engine.threads import LONGEST, SHORTEST, TRIAL, Pace
from skae._torch import thread_limit


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told otherwise."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(skae._engine.threads, "time", clock)
    return clock


def take(pace, clock, n_steps, seconds):
    """Numbers of threads of steps that take `seconds` with one thread and with two."""
    numbers = []
    for _ in pace.of(range(n_steps)):
        numbers.append(torch.get_num_threads())
        clock.now += seconds[numbers[-1]]
    return np.array(numbers)


@pytest.mark.parametrize(("seconds", "best"), [((0.01, 0.006), 2), ((0.01, 0.03), 1)])
def test_pace_takes_the_faster_number(clock, seconds, best):
    seconds = dict(zip((1, 2), seconds, strict=True))
    numbers = take(Pace(), clock, 3000, seconds)
    first = int(np.ceil(SHORTEST / seconds[2])) + 1
    assert (numbers[: first - 1] == 2).all()
    assert (numbers[first + 10 :] == best).mean() > 0.97
    assert (numbers[1500:] != best).any(), "the other number is tried for ever"


def test_pace_follows_a_load_that_comes_and_goes(clock):
    pace, free, busy = Pace(), {1: 0.01, 2: 0.006}, {1: 0.015, 2: 0.06}
    for seconds, best in ((free, 2), (busy, 1), (free, 2)):
        start = clock.now
        while clock.now < start + LONGEST + 2 * TRIAL:
            take(pace, clock, 20, seconds)
        assert (take(pace, clock, 100, seconds) == best).mean() > 0.9


def test_what_lies_between_steps_is_not_timed(clock):
    def slow():
        for i in range(100):
            clock.now += 10.0
            yield i

    pace = Pace()
    for _ in pace.of(slow()):
        clock.now += 1e-3
    assert pace.n_threads == 2
    assert pace.left == pytest.approx(SHORTEST - 0.1)


@pytest.mark.parametrize("n_threads", [None, 1, 3])
def test_thread_limit_restores(n_threads):
    def run():
        with thread_limit(n_threads):
            assert torch.get_num_threads() == (1 if n_threads == 1 else 2)
            torch.set_num_threads(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("interrupted", [False, True])
def test_bits_do_not_depend_on_the_threads(monkeypatch, interrupted):
    """Where every step changes the number, and where none does."""
    X = np.random.default_rng(0).normal(size=(1100, 96)).astype(np.float32)
    X[:, 48:] = np.square(X[:, :48])
    params = {"hidden_layer_sizes": (64, 32), "max_epochs": 1}
    monkeypatch.setattr(skae._autoencoders.fitting, "draw_seed", lambda random_state: 0)
    seen = set()

    def note(pace, seconds):
        seen.add(torch.get_num_threads())
        pace._switch()
        if interrupted and pace.n_threads == 1:
            raise MemoryError

    ae = AutoencoderTransformer(8, batch_size=512, **params)
    monkeypatch.setattr(skae._training.settings, "WORTH_THREADS", 1e3)
    expected = ae.fit(X).transform(X)
    monkeypatch.setattr(Pace, "_note", note)
    if interrupted:
        with pytest.raises(MemoryError):
            ae.fit(X)
    else:
        np.testing.assert_array_equal(ae.fit(X).transform(X), expected)
        assert seen == {1, 2}
        seen.clear()
        ae.set_params(random_state=0).fit(X)
        assert not seen, "a seeded fit does not look at the clock"
    assert torch.get_num_threads() == 2


def test_small_steps_have_one_thread(monkeypatch):
    X = np.random.default_rng(0).normal(size=(1200, 5))
    seen = []

    def describe(*args, **kwargs):
        seen.append(torch.get_num_threads())
        return whole(*args, **kwargs)

    whole = skae._autoencoders.fitted_attributes.describe
    monkeypatch.setattr(skae._autoencoders.fitted_attributes, "describe", describe)
    AutoencoderTransformer(2, max_epochs=1, random_state=0).fit(X)
    assert seen == [1]
    assert torch.get_num_threads() == 2
