"""Regularizers: recipes of what is added to the loss.

A recipe holds its hyper-parameters; it is called with a network and a batch. Letters in
shapes: n samples, p features, k components; "..." is nothing, or one leading axis over
the members of a stack of networks, of which the sum is taken.
"""

from numbers import Real

import torch
from sklearn.base import BaseEstimator
from torch.nn import functional as F

from skae._compat import Interval, validate_parameter_constraints

__all__ = [
    "Contractive",
    "KLSparsity",
    "L1Code",
    "OrthogonalDecoder",
    "resolve_regularizers",
]

SATURATED = 1e-6  # a mean activation nearer to 0 or 1 is moved away from it
NOT_NEGATIVE = [Interval(Real, 0, None, closed="left")]


class _Regularizer(BaseEstimator):
    """A recipe: `__call__(module, inputs, codes)` returns a scalar Tensor.

    `module` has `encode`, `inputs` (..., n, p) are what it encoded to `codes`
    (..., n, k), in scaled units, those the network works in.
    """

    def check(self, code_activation="identity"):
        """Raise a ValueError for a parameter, or codes, that it does not go with."""
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )


class L1Code(_Regularizer):
    """alpha * mean over the rows of sum_j |z_j|: sparse codes.

    It goes with a decoder that cannot make up for small codes by large weights, by
    `weight_decay`, or with `code_activation="relu"`, where codes become exactly zero.

    Parameters
    ----------
    alpha : float >= 0, default=1e-3

    References
    ----------
    .. [1] Olshausen and Field (1996), "Emergence of simple-cell receptive field
       properties by learning a sparse code for natural images", Nature 381.
    """

    _parameter_constraints: dict = {"alpha": NOT_NEGATIVE}

    def __init__(self, alpha=1e-3):
        self.alpha = alpha

    def __call__(self, module, inputs, codes):
        return self.alpha * codes.abs().sum(-1).mean(-1).sum()


class KLSparsity(_Regularizer):
    """beta * sum over the codes of KL(rho || mean of the code over the batch).

    KL(r || q) = r log(r / q) + (1 - r) log((1 - r) / (1 - q)): every code is to be active
    in a share `rho` of the rows. Codes are in (0, 1), by `code_activation="logistic"`.

    Parameters
    ----------
    rho : float in (0, 1), default=0.05
    beta : float >= 0, default=1.0

    References
    ----------
    .. [1] Ng (2011), "Sparse autoencoder", CS294A lecture notes, Stanford.
    """

    _parameter_constraints: dict = {
        "rho": [Interval(Real, 0, 1, closed="neither")],
        "beta": NOT_NEGATIVE,
    }

    def __init__(self, rho=0.05, beta=1.0):
        self.rho = rho
        self.beta = beta

    def check(self, code_activation="identity"):
        super().check(code_activation)
        if code_activation != "logistic":
            raise ValueError(
                "The regularizer KLSparsity takes codes in (0, 1), got "
                f"code_activation={code_activation!r}. Set code_activation='logistic' "
                "(with init='random'), or take L1Code."
            )

    def __call__(self, module, inputs, codes):
        # Not clamped, for that would leave a saturated code without a gradient.
        mean = codes.mean(-2) * (1 - 2 * SATURATED) + SATURATED
        cross = -self.rho * mean.log() - (1 - self.rho) * torch.log1p(-mean)
        rho = torch.as_tensor(self.rho, dtype=mean.dtype, device=mean.device)
        negative_entropy = rho * rho.log() + (1 - rho) * torch.log1p(-rho)
        return self.beta * (cross + negative_entropy).sum()


class Contractive(_Regularizer):
    """alpha * mean over the rows of the squared Frobenius norm of dz/dx.

    It is exact, with as many passes backward through the encoder as there are codes,
    run at once. In scaled units. Rows must not act on each other's codes, as
    they do in batch normalization.

    Parameters
    ----------
    alpha : float >= 0, default=0.1

    References
    ----------
    .. [1] Rifai, Vincent, Muller, Glorot and Bengio (2011), "Contractive auto-encoders:
       explicit invariance during feature extraction", ICML.
    """

    _parameter_constraints: dict = {"alpha": NOT_NEGATIVE}

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def __call__(self, module, inputs, codes):
        if not inputs.requires_grad:  # else the codes' own graph leads to them
            inputs = inputs.detach().requires_grad_()
            codes = module.encode(inputs)
        k = codes.shape[-1]
        # Row j of every Jacobian at once: the rows of a batch are independent.
        chosen = torch.eye(k, dtype=codes.dtype, device=codes.device)
        chosen = chosen.reshape(k, *[1] * (codes.ndim - 1), k).expand(k, *codes.shape)
        (jacobian,) = torch.autograd.grad(
            codes, inputs, chosen, create_graph=True, is_grads_batched=True
        )
        return self.alpha * torch.square(jacobian).sum() / codes.shape[-2]


class OrthogonalDecoder(_Regularizer):
    """alpha * sum over pairs i != j of cos(w_i, w_j)²: components at right angles.

    w_j is column j of the decoder's linear path, what code j adds to the output; with
    `init="random"`, where there is no such path, of the decoder's first layer. It is
    || C - I ||_F² of the matrix C of the columns' cosines: lengths are left alone, since
    a code's scale is free. At PCA it is zero.

    Parameters
    ----------
    alpha : float >= 0, default=1.0

    References
    ----------
    .. [1] Bansal, Chen and Wang (2018), "Can we gain more from orthogonality
       regularizations in training deep CNNs?", NeurIPS: soft orthogonality.
    """

    _parameter_constraints: dict = {"alpha": NOT_NEGATIVE}

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def __call__(self, module, inputs, codes):
        columns = F.normalize(self._weight(module), dim=-2)
        cosines = columns.mT @ columns
        diagonal = cosines.diagonal(dim1=-2, dim2=-1)
        return self.alpha * (torch.square(cosines).sum() - torch.square(diagonal).sum())

    def _weight(self, module):
        """Weight (..., q, k) of the decoder's layer that the codes enter."""
        try:
            decoder = module.decoder
            layer = decoder.hidden[0] if decoder.linear is None else decoder.linear
        except AttributeError:
            raise ValueError(
                "The regularizer OrthogonalDecoder needs the package's own layers, got "
                f"a module of type {type(module).__name__}. Leave out `module`."
            ) from None
        return layer.weight


def resolve_regularizers(regularizer, code_activation="identity", owner="the estimator"):
    """The recipes that the parameter `regularizer` stands for, checked.

    Parameters
    ----------
    regularizer : None, recipe, or list or tuple of recipes
    code_activation : str
        Of the network.
    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    list of recipes

    Raises
    ------
    TypeError
        If anything else is given.
    ValueError
        If a parameter is out of its range, or a recipe does not go with the codes.
    """
    if regularizer is None:
        return []
    is_many = isinstance(regularizer, (list, tuple))
    recipes = list(regularizer) if is_many else [regularizer]
    for recipe in recipes:
        if not isinstance(recipe, _Regularizer):
            raise TypeError(
                f"regularizer of {owner} must be None, an instance of a recipe of "
                "skae.regularizers, such as Contractive(0.1), or a list of them, got "
                f"{recipe!r}."
            )
        recipe.check(code_activation)
    return recipes
