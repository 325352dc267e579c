"""one_standard_error: the rule by which a search takes the fewest components."""

import re
from numbers import Integral

import numpy as np

__all__ = ["numbers_of_components", "one_standard_error", "scores_of_splits"]


def one_standard_error(cv_results, *, score="score"):
    """Choose the fewest components whose score is within one standard error of the best.

    It is meant for the parameter `refit` of `GridSearchCV` and other searches over
    `n_components`. The standard error is that of the mean score of the best candidate over
    the splits, see Breiman, Friedman, Olshen and Stone (1984), "Classification and
    Regression Trees", section 3.4.3.

    A score of reconstructions alone is not enough, because it improves with every
    component by more than its standard error. Use `make_hidden_cell_scorer`.

    Parameters
    ----------
    cv_results : dict of arrays
        The attribute `cv_results_` of a search.
    score : str, default="score"
        Name of the score. In a search with several scores it is a key of `scoring`, see
        `functools.partial`.

    Returns
    -------
    best_index : int
        Number of the candidate. Among candidates with equally few components it is the one
        with the best score.

    Raises
    ------
    ValueError
        If there is no such score, if no candidate has a finite one, or if the search is
        not over numbers of components.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skae.metrics import make_hidden_cell_scorer, one_standard_error
    >>> X, _ = load_iris(return_X_y=True)
    >>> search = GridSearchCV(
    ...     PCA(),
    ...     {"n_components": [1, 2, 3]},
    ...     scoring=make_hidden_cell_scorer(),
    ...     refit=one_standard_error,
    ... )
    >>> search.fit(X).best_params_
    {'n_components': 2}
    """
    if f"mean_test_{score}" not in cv_results:
        raise ValueError(
            f"score of one_standard_error must be the name of a score of the search, got "
            f"{score!r}. In a search with several scores, pass "
            "functools.partial(one_standard_error, score=...) as refit."
        )
    n_components = numbers_of_components(cv_results)
    means = np.asarray(cv_results[f"mean_test_{score}"], dtype=float)
    if not np.isfinite(means).any():
        raise ValueError(
            f"one_standard_error found no candidate with a finite mean_test_{score}. Set "
            "error_score='raise' to see why the fits failed."
        )
    means = np.where(np.isfinite(means), means, -np.inf)
    best = int(np.argmax(means))
    by_split = scores_of_splits(cv_results, score)[:, best]
    standard_error = by_split.std(ddof=1) / np.sqrt(len(by_split))
    is_close = means >= means[best] - standard_error
    fewest = n_components[is_close].min()
    is_candidate = is_close & (n_components == fewest)
    return int(np.argmax(np.where(is_candidate, means, -np.inf)))


def scores_of_splits(cv_results, score):
    """Return the scores (n_splits, n_candidates) of the held-out rows of each split."""
    pattern = re.compile(rf"split\d+_test_{re.escape(score)}")
    return np.array([cv_results[key] for key in cv_results if pattern.fullmatch(key)])


def numbers_of_components(cv_results):
    """Return the number of components of each candidate, (n_candidates,) of int."""
    names = [key for key in cv_results if re.fullmatch(r"param_(.*__)?n_components", key)]
    if len(names) != 1:
        raise ValueError(
            "one_standard_error is for a search over one parameter n_components, but this "
            f"search has {names or 'none'}. Write your own function for refit."
        )
    values = list(np.ma.filled(cv_results[names[0]], None))
    others = [value for value in values if not isinstance(value, Integral)]
    if others:
        raise ValueError(
            "one_standard_error compares numbers of components, but a candidate has "
            f"n_components={others[0]!r}. Give every candidate an int."
        )
    return np.array(values, dtype=int)
