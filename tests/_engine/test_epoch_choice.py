"""Choice: the epoch that held-out rows are sure of."""

import numpy as np
import pytest
import torch
from scipy import stats

from skae._engine.epoch_choice import Choice, certainty

# -- rates ----------------------------------------------------------------------------


def errors(mean, spread=0.0, n=100):
    """Errors (1, n) of n rows with a given mean; half `spread` above, half below."""
    return np.full((1, n), mean) + spread * np.tile([1.0, -1.0], n // 2)


def watched(choice, sequence):
    for number, now in enumerate(sequence, start=1):
        choice.see(now, [torch.tensor(float(number))])
        if choice.is_over:
            break
    return choice


def choose(sequence, margin=2.0, allow_start=True, patience=100, tol=0.0):
    return watched(Choice(errors(1.0), margin, allow_start, patience, tol), sequence)


def test_choice_keeps_the_best_epoch():
    choice = choose([errors(e) for e in (0.9, 0.5, 0.7)])
    assert choice.best_epoch == 2
    assert choice.best_weights == [torch.tensor(2.0)]


@pytest.mark.parametrize(
    ("gain", "spread", "kept"),
    # One standard error is spread / 10.
    [(0.3, 1.0, 1), (0.1, 1.0, 0), (0.1, 0.1, 1), (0.0, 0.0, 0), (-0.1, 0.0, 0)],
)
def test_a_gain_must_exceed_two_standard_errors(gain, spread, kept):
    choice = choose([errors(1 - gain, spread)])
    assert choice.best_epoch == kept
    assert (choice.best_weights is None) == (kept == 0)


def test_an_uncertain_gain_loses_to_a_certain_one():
    assert choose([errors(0.8), errors(0.7, spread=2.0)]).best_epoch == 1


def test_one_row_is_no_evidence():
    choice = Choice(np.ones((1, 1)), 2.0, True, 100, 0.0)
    assert watched(choice, [np.full((1, 1), 0.1)]).best_epoch == 0


@pytest.mark.parametrize(("n", "kept"), [(10, 0), (1000, 1)])
def test_few_rows_must_be_more_certain(n, kept):
    gain = 2.5 / np.sqrt(n)  # 2.5 standard errors
    choice = Choice(errors(1.0, n=n), 2.25, True, 100, 0.0)
    assert watched(choice, [errors(1 - gain, 1.0, n)]).best_epoch == kept


def test_an_epoch_must_be_ahead_even_if_one_more_row_lost_much():
    """A hundred rows that gain a fifth of a deviation make good one that loses twenty."""
    for n, kept in ((80, 1), (120, 2)):
        sequence = [errors(0.5, n=n), errors(0.3, 1.0, n)]
        # The gain of 0.7 is 6.3 or 7.7 standard errors: certain, but not beyond doubt.
        choice = Choice(errors(1.0, n=n), 5.0, True, 100, 0.0)
        assert watched(choice, sequence).best_epoch == kept
        for margin, allow_start in ((2.0, True), (0.0, False)):
            choice = Choice(errors(1.0, n=n), margin, allow_start, 100, 0.0)
            assert watched(choice, sequence).best_epoch == 2


def test_rows_that_were_trained_on_count_among_those_seen():
    start = errors(1.0, n=40)
    few, many = (Choice(start, 3.5, True, 100, 0.0, n_seen=n) for n in (80, 120))
    sequence = [errors(0.5, n=40), errors(0.3, 1.0, 40)]
    assert watched(few, sequence).best_epoch == 1
    assert watched(many, sequence).best_epoch == 2


def test_copies_of_rows_make_nothing_more_certain():
    few = [errors(0.2, 1.0, 20), errors(0.1, 1.3, 20)]
    many = [np.tile(now, 5) for now in few]
    alone = watched(Choice(errors(1.0, n=20), 2.0, True, 100, 0.0), few)
    groups = np.tile(np.arange(20), 5)
    choice = Choice(errors(1.0, n=100), 2.0, True, 100, 0.0, groups=groups)
    assert watched(choice, many).best_epoch == alone.best_epoch == 1
    assert choice.n_independent == pytest.approx(20)
    blind = Choice(errors(1.0, n=100), 2.0, True, 100, 0.0)
    assert watched(blind, many).best_epoch == 2


def test_a_start_that_may_not_be_kept():
    choice = choose([errors(3.0), errors(2.0)], margin=0.0, allow_start=False)
    assert choice.best_epoch == 2


def test_nan_is_never_kept():
    choice = choose([errors(0.9), errors(np.nan)])
    assert choice.best_epoch == 1


@pytest.mark.parametrize(("tol", "last"), [(0.0, 9), (0.03, 4)])
def test_patience(tol, last):
    falling = [0.9, 0.89, 0.88, 0.879, 0.878, 0.877, 0.877, 0.877, 0.877, 0.877]
    assert choose([errors(e) for e in falling], patience=3, tol=tol).epoch == last


@pytest.mark.parametrize(("first", "last"), [(None, 4), (6, 9)])
def test_patience_before_anything_is_gained(first, last):
    """The error rises for five epochs, falls below that of the start, and rises again."""
    sequence = [errors(e) for e in (1.01, 1.1, 1.2, 1.1, 1.02, 0.9, 1.3, 1.3, 1.3, 1.3)]
    choice = Choice(errors(1.0), 2.0, True, 3, 0.0, first_patience=first)
    assert watched(choice, sequence).epoch == last


@pytest.mark.parametrize(
    ("sequence", "spread", "last"),
    [
        ((1.1, 1.2, 1.3, 1.4, 1.5, 1.6), 0.0, 5),  # two epochs after the third
        ((1.1, 1.2, 1.3, 1.304, 1.304, 1.305, 1.31, 1.31), 0.0, 7),  # risen by 0.005
        ((1.1, 1.2, 1.3, 1.2, 1.1, 1.15, 1.12, 1.1), 0.0, 7),
        ((1.1, 1.2, 1.3, 1.4, 1.29, 1.2, 1.1, 1.05, 1.0), 0.0, 9),
        ((1.1, 1.2, 1.3, 1.4, 1.5, 1.6), 5.0, 6),  # the loss is not certain
        ((0.9, 1.2, 1.3, 1.4, 1.5, 1.6), 0.0, 6),  # an epoch has gained
    ],
)
def test_training_ends_if_there_is_no_hope(sequence, spread, last):
    sequence = [errors(e, spread) for e in sequence]
    rules = {"hopes_until": 3, "hopeless": 0.005}
    choice = Choice(errors(1.0), 2.0, True, 10, 1e-3, **rules)
    assert watched(choice, sequence).epoch == last
    patient = watched(Choice(errors(1.0), 2.0, True, 10, 1e-3), sequence)
    assert patient.epoch == len(sequence)


@pytest.mark.parametrize(("counts_typical", "last"), [(False, 4), (True, 12)])
def test_far_rows_do_not_end_training_while_a_typical_row_gains(counts_typical, last):
    """The mean goes up with one row, while the error of the others falls by a tenth."""
    sequence = [errors(0.9**epoch, n=100) for epoch in range(1, 13)]
    for epoch, now in enumerate(sequence):
        now[0, 0] = 30.0 + 10 * epoch
    rules = {"patience": 3, "tol": 1e-3, "counts_typical": counts_typical}
    choice = Choice(errors(1.0, n=100), 2.0, True, **rules)
    assert watched(choice, sequence).epoch == last


def test_a_typical_row_that_gains_little_does_not_count():
    sequence = [errors(0.9 - 1e-4 * epoch, n=100) for epoch in range(12)]
    rules = {"patience": 3, "tol": 1e-3, "counts_typical": True}
    assert watched(Choice(errors(1.0, n=100), 2.0, True, **rules), sequence).epoch == 4


@pytest.mark.parametrize(("clips_gains", "kept"), [(False, 0), (True, 1)])
def test_a_few_rows_that_gain_most_do_not_make_a_gain_uncertain(clips_gains, kept):
    """One row gains ten times as much as all others together."""
    n = 100
    reference, now = errors(1.0, n=n), errors(0.8, 0.1, n=n)
    reference[0, 0] += 10 * (n - 1) * 0.2
    choice = Choice(reference, 2.0, True, 3, 0.0, clips_gains=clips_gains)
    assert watched(choice, [now]).best_epoch == kept


@pytest.mark.parametrize("clips_gains", [False, True])
def test_a_few_rows_that_lose_most_make_a_gain_uncertain(clips_gains):
    """One row loses half of what all others gain."""
    n = 100
    now = errors(0.8, 0.1, n=n)
    now[0, 0] += 10.0
    choice = Choice(errors(1.0, n=n), 2.0, True, 3, 0.0, clips_gains=clips_gains)
    assert choice.mean(now[0]) < 1
    assert watched(choice, [now]).best_epoch == 0


# -- ordered codes: errors at several numbers of codes ---------------------------------


def stacked(*means, spread=0.0):
    """Errors (n_cuts, n) with given means."""
    return np.concatenate([errors(mean, spread) for mean in means])


def choose_of_cuts(reference, sequence, margin=2.0):
    return watched(Choice(reference, margin, True, 100, 0.0), sequence)


def test_an_epoch_with_one_worse_cut_is_not_kept():
    reference = stacked(4.0, 1.0)
    better, one_worse = stacked(3.9, 0.9), stacked(1.0, 1.001)
    choice = choose_of_cuts(reference, [better, one_worse])
    assert choice.best_epoch == 1
    assert choice.best_weights == [torch.tensor(1.0)]
    choice = choose_of_cuts(reference, [one_worse])
    assert (choice.best_epoch, choice.best_weights) == (0, None)
    assert choose_of_cuts(reference, [stacked(1.0, 1.0)]).best_epoch == 1


def test_cuts_count_as_shares_of_pcas_errors():
    """A tenth of a large error weighs less than a fifth of a small one."""
    reference = stacked(100.0, 1.0)
    assert choose_of_cuts(reference, [stacked(90, 1), stacked(100, 0.8)]).best_epoch == 2
    assert choose_of_cuts(reference, [stacked(70, 1), stacked(100, 0.8)]).best_epoch == 1


def test_a_gain_at_several_cuts_must_be_certain():
    reference = stacked(4.0, 1.0)
    # Both cuts err in the same rows, so that their mean is as uncertain as each.
    now = stacked(3.6, 0.9) + reference * errors(0.0, spread=0.6)
    assert choose_of_cuts(reference, [now], margin=2.0).best_epoch == 0
    assert choose_of_cuts(reference, [now], margin=1.5).best_epoch == 1


def test_errors_next_to_zero_have_no_share():
    """With all components PCA is exact, and rounding is no loss, nor zero a divisor."""
    reference = stacked(1.0, 0.0)
    assert choose_of_cuts(reference, [stacked(0.5, 0.0)]).best_epoch == 1
    choice = Choice(stacked(0.0, 0.0), 2.0, True, 100, 0.0)
    assert np.isfinite(watched(choice, [stacked(0.0, 0.0)]).reference).all()


def former(reference, sequence, margin, allow_start, tol, patience):
    """The rule for one number of codes, in plain words: epoch kept, last epoch."""
    n = len(reference)
    level = stats.t.ppf(stats.norm.cdf(margin), n - 1)
    best, kept, mark, mark_epoch = np.zeros(n), 0, np.inf, 0
    for epoch, now in enumerate(sequence, start=1):
        gains = reference - now
        is_sure = gains.mean() > level * gains.std(ddof=1) / np.sqrt(n) or not margin
        ahead = gains - best
        is_beyond_doubt = gains.mean() > 1.75 * level * gains.std(ddof=1) / np.sqrt(n)
        loss_of_one = 0 if is_beyond_doubt or not margin else 10 * ahead.std()
        is_ahead = n * ahead.mean() > loss_of_one
        if not kept:
            is_ahead = gains.mean() > 0 or not allow_start
        if is_sure and is_ahead:
            best, kept = gains, epoch
        if now.mean() < mark - tol * reference.mean():
            mark, mark_epoch = now.mean(), epoch
        if epoch - mark_epoch >= patience:
            break
    return kept, epoch


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("margin", "allow_start"), [(2.5, True), (0.0, False)])
def test_one_cut_is_the_rule_for_one_number_of_codes(seed, margin, allow_start):
    rng = np.random.default_rng(seed)
    reference = rng.gamma(2.0, 3.0, size=60)
    levels = np.r_[np.linspace(1.1, 0.8, 20), np.linspace(0.8, 0.9, 30)]
    sequence = [reference * level + rng.normal(size=60) for level in levels]
    choice = Choice(reference[None], margin, allow_start, 8, 0.01)
    watched(choice, [now[None] for now in sequence])
    expected = former(reference, sequence, margin, allow_start, 0.01, 8)
    assert (choice.best_epoch, choice.epoch) == expected
    assert choice.best_epoch > 0


@pytest.mark.parametrize(
    ("level", "n_independent", "expected"),
    # Tables of Student's t: 2.132 for 95 % and 4 degrees of freedom, 2.539 for 99 % and 19.
    [(1.6449, 5, 2.132 * 1.25**0.5), (2.3263, 20, 2.539 * (20 / 19) ** 0.5)],
)
def test_certainty_is_students_quantile(level, n_independent, expected):
    assert certainty(level, n_independent) == pytest.approx(expected, abs=1e-3)


def test_certainty_of_very_few_and_very_many():
    assert certainty(2.25, 1) == np.inf
    assert certainty(2.25, 10**7) == pytest.approx(2.25, abs=1e-5)


def test_gains_in_proportion_to_sizes_are_certain():
    """One large row has most of the gain, and each row has its part of it."""
    sizes = np.r_[np.ones(40), 1000.0]
    noise = 1 + 0.1 * np.random.default_rng(0).normal(size=41)
    reference = np.tile(10 * sizes, (1, 1))
    gained = reference - sizes * noise

    def kept(gained, **how):
        choice = Choice(reference, 2.0, True, 100, 0.0, **how)
        choice.see(gained, [])
        return choice.best_epoch

    assert kept(gained) == 0
    assert kept(gained, sizes=sizes) == 1
    gained = reference - sizes * np.where(sizes > 1, -1.0, 1.0)  # the large row loses
    assert kept(gained, sizes=sizes) == 0


def test_one_choice_is_certainly_ahead_of_another():
    rng = np.random.default_rng(0)
    reference, noise = np.ones((1, 100)), rng.normal(size=(1, 100))
    noise = (noise - noise.mean()) / noise.std()

    def after(errors):
        choice = Choice(reference, 2.0, True, patience=3, tol=1e-3)
        choice.see(errors, [])
        return choice

    other = after(np.full((1, 100), 0.5))
    least = certainty(2.0, 100) * 0.01
    assert after(0.5 + 0.1 * noise - 1.1 * least).is_ahead_of(other)
    assert not after(0.5 + 0.1 * noise - 0.9 * least).is_ahead_of(other)
    untrained = Choice(reference, 2.0, True, patience=3, tol=1e-3)
    assert not untrained.is_ahead_of(other)
    assert other.is_ahead_of(untrained)
