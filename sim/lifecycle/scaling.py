r"""Scaling laws: what loss parameters and tokens buy, and which of each to buy.

.. math:: L(N, D) = E + A / N^\alpha + B / D^\beta \qquad C = 6 N D

(Hoffmann et al., arXiv:2203.15556; 6 N D: Kaplan et al., arXiv:2001.08361). The loss is that of the fitted data and
tokenizer [nat a token]: a proxy of quality, not quality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

CENTRE_PARAMETERS: Final = math.sqrt(70e6 * 16e9)
"""Geometric middle of the models that were fitted: 70M to 16B parameters (arXiv:2203.15556, abstract)."""
CENTRE_TOKENS: Final = math.sqrt(5e9 * 500e9)
"""Geometric middle of their tokens: 5B to 500B (arXiv:2203.15556, abstract)."""


def training_flops(parameters: float, tokens: float) -> float:
    """Compute of training, attention over the context left out [FLOP]: 6 N D (arXiv:2001.08361, section 2.1)."""
    return 6.0 * parameters * tokens


def inference_flops_per_token(parameters: float) -> float:
    """Compute of one token served, attention over the context left out [FLOP]: 2 N (arXiv:2001.08361)."""
    return 2.0 * parameters


@dataclass(frozen=True)
class LossLaw:
    """One fit of L(N, D), with the letters of its publication."""

    name: str
    E: float
    """Loss that no model gets below [nat a token]."""
    A: float
    B: float
    alpha: float
    beta: float
    source: str
    E_error: float = 0.0
    """Standard error of E; 0: not used."""
    alpha_error: float = 0.0
    beta_error: float = 0.0

    def loss(self, parameters: float, tokens: float) -> float:
        """Return the predicted loss [nat a token]."""
        return float(self.E + self.A * parameters**-self.alpha + self.B * tokens**-self.beta)

    def optimum(self, flops: float) -> tuple[float, float]:
        r"""Return parameters and tokens of least loss for a training budget [FLOP].

        .. math:: N = G (C/6)^{\beta/(\alpha+\beta)},\ D = C / 6N,\ G = (\alpha A / \beta B)^{1/(\alpha+\beta)}
        """
        both = self.alpha + self.beta
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1.0 / both)
        parameters = scale * (flops / 6.0) ** (self.beta / both)
        return parameters, flops / 6.0 / parameters

    def isoflop(self, flops: float, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the loss of models of several sizes that all take the same training compute [nat a token]."""
        tokens = flops / 6.0 / parameters
        return np.asarray(self.E + self.A * parameters**-self.alpha + self.B * tokens**-self.beta)

    def optimal_tokens(self, parameters: float) -> float:
        r"""Return the tokens for which a model of so many parameters is the best use of its compute.

        .. math:: \alpha A / N^\alpha = \beta B / D^\beta
        """
        return float((self.beta * self.B * parameters**self.alpha / (self.alpha * self.A)) ** (1.0 / self.beta))

    def optimum_of_loss(self, loss: float) -> tuple[float, float]:
        r"""Return parameters and tokens that reach a loss with the least training compute.

        .. math:: N = (A (1 + \alpha/\beta) / (L - E))^{1/\alpha}
        """
        parameters = (self.A * (1.0 + self.alpha / self.beta) / (loss - self.E)) ** (1.0 / self.alpha)
        return parameters, self.optimal_tokens(parameters)

    def tokens_to_reach(self, loss: float, parameters: float) -> float:
        """Return the tokens with which so many parameters reach a loss; infinite where they never do."""
        left = loss - self.E - self.A * parameters**-self.alpha
        return float((self.B / left) ** (1.0 / self.beta)) if left > 0.0 else math.inf

    def least_parameters(self, loss: float) -> float:
        """Return the parameters below which no number of tokens reaches a loss."""
        return float((self.A / (loss - self.E)) ** (1.0 / self.alpha))

    def alternatives(self) -> Iterator[tuple[LossLaw, LossLaw]]:
        """Yield the law with one coefficient a standard error lower and higher, one coefficient after the other.

        A moves with alpha, and B with beta, so that the law stays where it was in the middle of the fitted data: the
        fit knows it best there, and the errors of A and alpha (of B and beta) are nearly one.
        """
        if self.E_error:
            yield replace(self, E=self.E - self.E_error), replace(self, E=self.E + self.E_error)
        if self.alpha_error:
            low, high = (
                replace(self, alpha=self.alpha + d, A=self.A * CENTRE_PARAMETERS**d)
                for d in (-self.alpha_error, self.alpha_error)
            )
            yield low, high
        if self.beta_error:
            low, high = (
                replace(self, beta=self.beta + d, B=self.B * CENTRE_TOKENS**d)
                for d in (-self.beta_error, self.beta_error)
            )
            yield low, high


EPOCH: Final = LossLaw(
    "epoch",
    E=1.8172,
    A=482.01,
    B=2085.43,
    alpha=0.3478,
    beta=0.3658,
    source="Besiroglu et al., arXiv:2404.10102 (refit of the data of arXiv:2203.15556)",
    E_error=0.03,
    alpha_error=0.02,
    beta_error=0.02,
)
HOFFMANN: Final = LossLaw(
    "hoffmann",
    E=1.69,
    A=406.4,
    B=410.7,
    alpha=0.34,
    beta=0.28,
    source="Hoffmann et al., arXiv:2203.15556, approach 3, exponents rounded to two digits as printed",
)
SARDANA: Final = LossLaw(
    "sardana",
    E=1.69,
    A=406.4,
    B=410.7,
    alpha=0.336,
    beta=0.283,
    source=(
        "Hoffmann's approach 3 with exponents to three digits; found by what it reproduces, the -17 % and 1.7e22 FLOP "
        "of figure 1 of arXiv:2401.00448"
    ),
)
LAWS: Final = {law.name: law for law in (EPOCH, HOFFMANN, SARDANA)}


@dataclass(frozen=True)
class Lifetime:
    """A model that reaches a loss, and what its life takes, in the unit of the two cost functions."""

    parameters: float
    tokens: float
    """Tokens it was trained on."""
    training: float
    serving: float

    @property
    def total(self) -> float:
        """Training and serving together."""
        return self.training + self.serving


def lifetime(
    law: LossLaw,
    loss: float,
    parameters: float,
    demand_tokens: float,
    serve: Callable[[float], float] = inference_flops_per_token,
    train: Callable[[float, float], float] = training_flops,
) -> Lifetime:
    """Return what a model of so many parameters takes over its life, trained until it reaches a loss.

    Parameters
    ----------
    law
        Loss by parameters and tokens.
    loss
        Target [nat a token].
    parameters
        Size of the model.
    demand_tokens
        Tokens that it will read and write for its users.
    serve
        Cost of one such token by parameters; by default 2 N [FLOP].
    train
        Cost of training by parameters and tokens, in the same unit; by default 6 N D [FLOP].
    """
    tokens = law.tokens_to_reach(loss, parameters)
    training = train(parameters, tokens) if math.isfinite(tokens) else math.inf
    return Lifetime(parameters, tokens, training, serve(parameters) * demand_tokens)


def lifetime_optimum(
    law: LossLaw,
    loss: float,
    demand_tokens: float,
    serve: Callable[[float], float] = inference_flops_per_token,
    train: Callable[[float, float], float] = training_flops,
    points: int = 400,
) -> Lifetime:
    """Return the model that reaches a loss at the least cost of its life (Sardana et al., arXiv:2401.00448).

    Parameters
    ----------
    law, loss, demand_tokens, serve, train
        As in `lifetime`. `serve` may have steps (GPUs come in whole numbers): the least of a scan is refined, so what
        is found is the optimum up to one step of the scan.
    points
        Sizes that are tried, evenly in ln N, between the least that reaches the loss and four times the best for
        training alone.
    """
    from scipy.optimize import minimize_scalar

    def total(log_parameters: float) -> float:
        return lifetime(law, loss, math.exp(log_parameters), demand_tokens, serve, train).total

    low, high = math.log(law.least_parameters(loss)), math.log(4.0 * law.optimum_of_loss(loss)[0])
    grid = np.linspace(low, high, points + 1)[1:]
    costs = [total(x) for x in grid]
    best = int(np.argmin(costs))
    found = minimize_scalar(
        total,
        bounds=(grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    x = float(found.x) if found.fun <= costs[best] else float(grid[best])
    return lifetime(law, loss, math.exp(x), demand_tokens, serve, train)
