"""Intervals: what a few images can say about an AUROC, a difference of two, and a rate of false alarms.

Every interval is over images: it does not include other seeds, splits or training runs. benchmarks/intervals.py
measures how often each contains the true value.
"""

import numpy as np
from numpy.polynomial import Polynomial
from scipy.special import expit, logit
from scipy.stats import beta, norm, rankdata

LEVEL = 0.95  # confidence level of every interval
Z = float(norm.ppf((1 + LEVEL) / 2))


def auroc_interval(normal: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of an AUROC, from the scores (N,) of normal and (M,) of anomalous images.

    The lowest and the highest end of three intervals, each of which is valid where another is too narrow:
    - `newcombe` is valid near an AUROC of 1, but too narrow if the scores of one kind vary more than the others.
    - DeLong's on the logit scale adapts to that, but is too narrow for few images and does not exist at 0 and 1.
    - Wilson's for k successes among k = min(N, M) images: even without a mistake, k images do not rule out that the
      share z^2 / (k + z^2) of all such images (16 % for k = 20) is scored wrongly. (E. B. Wilson, "Probable Inference,
      the Law of Succession, and Statistical Inference", Journal of the American Statistical Association 22, 1927.)
    """
    (value,), covariance = _delong(normal[None], anomalous[None])
    return interval_from_counts(value, len(normal), len(anomalous), covariance[0, 0])


def auroc_difference(normal: np.ndarray, anomalous: np.ndarray) -> tuple[float, float, float]:
    """The first model's AUROC minus the second's, with its 95 % interval: scores (2, N), (2, M) of the same images.

    The "square and add" of the two intervals a_low to a_high and b_low to b_high, with the correlation r of the AUROCs
    (DeLong's, 0 if it is undefined):
        low  = a - b - sqrt(x^2 - 2 r x y + y^2),  x = a - a_low,  y = b_high - b
        high = a - b + sqrt(x^2 - 2 r x y + y^2),  x = a_high - a, y = b - b_low
    G. Y. Zou, "Toward Using Confidence Intervals to Compare Correlations", Psychological Methods 12, 2007. Near an
    AUROC of 1, the interval is wider than necessary if the two models resemble each other. If both models
    give every image the same score, they are taken to be one model, with a difference of 0.
    """
    if np.array_equal(*normal) and np.array_equal(*anomalous):
        return 0.0, 0.0, 0.0
    (a, b), covariance = _delong(normal, anomalous)
    sizes = normal.shape[1], anomalous.shape[1]
    a_low, a_high = interval_from_counts(a, *sizes, covariance[0, 0])
    b_low, b_high = interval_from_counts(b, *sizes, covariance[1, 1])
    product = np.sqrt(covariance[0, 0] * covariance[1, 1])
    r = covariance[0, 1] / product if product > 0 else 0.0

    def combined(x: float, y: float) -> float:
        return np.sqrt(max(x * x - 2 * r * x * y + y * y, 0))

    return float(a - b), float(a - b - combined(a - a_low, b_high - b)), float(a - b + combined(a_high - a, b - b_low))


def interval_from_counts(auroc: float, n: int, m: int, variance: float = 0.0) -> tuple[float, float]:
    """`auroc_interval` from the AUROC, the numbers of images and DeLong's variance of the AUROC.

    Without the variance, it is too narrow if the scores of one kind vary more than the others.
    """
    k = min(n, m)
    (low, high), wilson = newcombe(auroc, n, m), k / (k + Z**2)
    low, high = min(low, wilson), max(high, 1 - wilson)
    if variance > 0 and 0 < auroc < 1:
        half = Z * np.sqrt(variance) / (auroc * (1 - auroc))
        low, high = min(low, expit(logit(auroc) - half)), max(high, expit(logit(auroc) + half))
    return float(low), float(high)


def newcombe(auroc: float, n: int, m: int) -> tuple[float, float]:
    """The 95 % interval of an AUROC from the numbers of normal and anomalous images alone: Newcombe's method 5.

    R. G. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2:
    asymptotic methods and evaluation", Statistics in Medicine 25, 2006. The ends are the roots t in [0, 1] of
        (auroc - t)^2 = z^2 t (1 - t) (1 + (N - 1) ((1 - t) / (2 - t) + t / (1 + t))) / (n m),  N = (n + m) / 2
    Multiplied by (2 - t) (1 + t), this is of degree 4. The other two roots are in [-1, 0) and in (1, 2].
    """
    t = Polynomial([0, 1])
    spread = (2 - t) * (1 + t) + ((n + m) / 2 - 1) * ((1 - t) * (1 + t) + t * (2 - t))
    equation = (auroc - t) ** 2 * (2 - t) * (1 + t) - Z**2 / (n * m) * t * (1 - t) * spread
    _, low, high, _ = np.sort(equation.roots().real)
    return min(max(float(low), 0.0), auroc), max(min(float(high), 1.0), auroc)


def alarm_rate(above: int, count: int) -> tuple[float, float, float]:
    """The share of new normal images above a threshold that `above` of `count` validation scores exceed.

    Returns its expected value and its 95 % interval. Assumes that the validation images and the new ones are
    independent draws from one distribution, and that no two scores are equal. The threshold is itself one of the
    validation scores. The share then has the distribution Beta(above + 1, count - above), whatever the distribution of
    the scores: S. S. Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals of Mathematical
    Statistics 12, 1941. Equal scores make the share smaller; selecting the epoch on the same validation images can make
    it larger.
    """
    share = beta(above + 1, count - above)
    low, high = share.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(share.mean()), float(low), float(high)


def _delong(normal: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The AUROCs (K,) of K models and their covariance (K, K), from scores (K, N) and (K, M) of the same images.

    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves", Biometrics 44, 1988. The AUROC is the mean of `below`, the share of normal images
    below each anomalous image, and of `above`, the share of anomalous images above each normal image.
    """
    n, m = normal.shape[1], anomalous.shape[1]
    ranks = rankdata(np.concatenate([normal, anomalous], axis=1), axis=1)
    below = (ranks[:, n:] - rankdata(anomalous, axis=1)) / n  # (K, M)
    above = 1 - (ranks[:, :n] - rankdata(normal, axis=1)) / m  # (K, N)
    return below.mean(axis=1), _covariance_of_means(below) + _covariance_of_means(above)


def _covariance_of_means(x: np.ndarray) -> np.ndarray:
    """(K, N) -> (K, K); zero for a single image, whose variance is not known."""
    x = x - x.mean(axis=1, keepdims=True)
    n = x.shape[1]
    return x @ x.T / (n * max(n - 1, 1))
