"""Regularizers: penalties that are added to the loss.

A regularizer holds its hyper-parameters and is called with a network and a batch. Letters
in shapes: n samples, p features, k components. "..." stands for nothing, or for one
leading axis over the members of a stack of networks, over which the penalty is summed.
"""

from numbers import Real

import torch
from sklearn.base import BaseEstimator
from torch.nn import functional as F

from skae._compat import Interval, validate_parameter_constraints

__all__ = [
    "REGULARIZERS",
    "Contractive",
    "KLSparsity",
    "L1Code",
    "OrthogonalDecoder",
    "resolve_regularizers",
]

SATURATED = 1e-6  # mean activations are kept this far from 0 and 1
NOT_NEGATIVE = [Interval(Real, 0, None, closed="left")]


class _Regularizer(BaseEstimator):
    """Base class of regularizers: `__call__(module, inputs, codes)` returns a penalty.

    The penalty is a scalar Tensor. `module` is the network, which has a method `encode`.
    It has encoded `inputs` (..., n, p), rows in the scaled units in which the network
    works, to `codes` (..., n, k).
    """

    def check(self, code_activation="identity"):
        """Raise a ValueError if a parameter is out of range or does not suit the codes."""
        validate_parameter_constraints(
            self._parameter_constraints,
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )


class L1Code(_Regularizer):
    """Make codes sparse: alpha * mean over the rows of sum_j |z_j|.

    A decoder can make up for small codes by large weights, which `weight_decay` prevents.
    With `code_activation="relu"` codes become exactly zero.

    Parameters
    ----------
    alpha : float >= 0, default=1e-3
        Weight of the penalty.

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
    """Make every code active in a share of the rows: beta * sum_j KL(rho || mean of z_j).

    Here KL(r || q) = r log(r / q) + (1 - r) log((1 - r) / (1 - q)), and the mean is over
    the batch. Codes must be in (0, 1), which needs `code_activation="logistic"`.

    Parameters
    ----------
    rho : float in (0, 1), default=0.05
        Share of the rows in which a code is to be active.
    beta : float >= 0, default=1.0
        Weight of the penalty.

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
                "The regularizer KLSparsity needs codes in (0, 1), got "
                f"code_activation={code_activation!r}. Set code_activation='logistic' "
                "and init='random', or use L1Code."
            )

    def __call__(self, module, inputs, codes):
        # Clamping instead would leave a saturated code without a gradient.
        mean = codes.mean(-2) * (1 - 2 * SATURATED) + SATURATED
        cross = -self.rho * mean.log() - (1 - self.rho) * torch.log1p(-mean)
        rho = torch.as_tensor(self.rho, dtype=mean.dtype, device=mean.device)
        negative_entropy = rho * rho.log() + (1 - rho) * torch.log1p(-rho)
        return self.beta * (cross + negative_entropy).sum()


class Contractive(_Regularizer):
    """Make codes insensitive to the data: alpha * mean over the rows of ||dz/dx||_F².

    The Frobenius norm of the Jacobian is computed exactly, in scaled units, by one
    backward pass through the encoder for each code; the passes run at the same time. A
    row must not influence the codes of another row, as it does in batch normalization.

    Parameters
    ----------
    alpha : float >= 0, default=0.1
        Weight of the penalty.

    References
    ----------
    .. [1] Rifai, Vincent, Muller, Glorot and Bengio (2011), "Contractive auto-encoders:
       explicit invariance during feature extraction", ICML.
    """

    _parameter_constraints: dict = {"alpha": NOT_NEGATIVE}

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def __call__(self, module, inputs, codes):
        if not inputs.requires_grad:  # otherwise the graph of the codes includes them
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
    """Keep components at right angles: alpha * sum over i != j of cos(w_i, w_j)².

    w_j is column j of the decoder's linear path, which is what code j adds to the output.
    With `init="random"` there is no linear path, and w_j is column j of the decoder's
    first layer. The sum is || C - I ||_F², where C holds the cosines of the columns.
    Their lengths do not matter, because the scale of a code is arbitrary. The penalty of
    PCA is zero.

    Parameters
    ----------
    alpha : float >= 0, default=1.0
        Weight of the penalty.

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
        """Return the weight (..., q, k) of the decoder's layer that takes the codes."""
        try:
            decoder = module.decoder
            layer = decoder.hidden[0] if decoder.linear is None else decoder.linear
        except AttributeError:
            raise ValueError(
                "The regularizer OrthogonalDecoder needs the layers of skae.modules, got "
                f"a module of type {type(module).__name__}. Set init='pca', or leave out "
                "`module`."
            ) from None
        return layer.weight


# By name, as model files know them.
REGULARIZERS = {
    kind.__name__: kind for kind in (Contractive, KLSparsity, L1Code, OrthogonalDecoder)
}


def resolve_regularizers(regularizer, code_activation="identity", owner="the estimator"):
    """Return the regularizers that the parameter `regularizer` stands for, checked.

    Parameters
    ----------
    regularizer : None, regularizer, or list or tuple of regularizers
        Instances of the classes of this module.
    code_activation : str
        Activation of the network's codes.
    owner : str
        Name of the estimator's class, for messages.

    Returns
    -------
    list of regularizers

    Raises
    ------
    TypeError
        If `regularizer` is none of these.
    ValueError
        If a parameter is out of its range, or a regularizer does not suit the codes.
    """
    if regularizer is None:
        return []
    is_many = isinstance(regularizer, (list, tuple))
    regularizers = list(regularizer) if is_many else [regularizer]
    for each in regularizers:
        if not isinstance(each, _Regularizer):
            raise TypeError(
                f"regularizer of {owner} must be None, an instance of a class of "
                "skae.regularizers, such as Contractive(0.1), or a list of them, got "
                f"{each!r}."
            )
        each.check(code_activation)
    return regularizers
