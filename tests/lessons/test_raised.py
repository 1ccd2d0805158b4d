"""An error of Python, NumPy or torch in an answer is followed by advice; these provoke the real errors."""

import numpy as np
import pytest
import torch
from torch import nn

from adnlib.lessons.exercise import Mistake, check, expect
from adnlib.lessons.raised import described

x, layer = torch.ones(4, 3), nn.Linear(3, 2)


def in_place():
    y = x.clone().requires_grad_() * 1
    y *= y * y
    y.sum().backward()


ERRORS = [
    (lambda: layer(nn.ReLU(x)), "write torch.relu(v)"),
    (lambda: nn.Sigmoid(x), "write torch.relu(v)"),
    (lambda: nn.Softmax(x)(x), "write torch.relu(v)"),
    (lambda: torch.cat([x, x.max(1, keepdim=True)], 1), "take .values"),
    (lambda: x.max(1).mean(), "take .values"),
    (lambda: x.max(dim=(0, 1)), "amax takes several"),
    (lambda: x.mean("rows"), "see its help()"),
    (lambda: torch.log(2.0), "those of math"),
    (lambda: float(x), "work on single numbers"),
    (lambda: float(np.ones(3)), "work on single numbers"),
    (lambda: torch.relu(layer), "call it first"),
    (lambda: layer * x, "call it, or take its value"),
    (lambda: x / x.shape, "take one of them"),
    (lambda: np.mean(x, axis=1), "A NumPy function was given a tensor"),
    (lambda: layer(x, x), "compare the signatures"),
    (lambda: np.ones(3).unsqueeze(0), "one of tensors"),
    (lambda: x.long().mean(), "Keep floating-point numbers"),
    (lambda: torch.allclose(x > 0, x), "Keep floating-point numbers"),
    (in_place, "Write y = y * s"),
    (lambda: layer(x).numpy(), "NumPy knows no gradients"),
    (lambda: type("Bare", (nn.Module,), {})()(x), "a method forward(self, x)"),
    (lambda: torch.linalg.cholesky(torch.zeros(2, 2)), "shrink it"),
    (lambda: nn.BatchNorm1d(3)(x[:1]), "avoid statistics of the batch"),
    (lambda: torch.cat(x, x), "with square brackets"),
    (lambda: np.concatenate(np.ones(2), np.ones(2)), "with square brackets"),
    (lambda: None.mean(), "Something is None"),
    (lambda: (x, x).mean(), "unpack it first"),
    (lambda: x(1), "check the brackets"),
    (lambda: undefined, "Is the name misspelt"),  # noqa: F821
    (lambda: np.quantile(np.ones(3), 0.5, "higher"), "by its name"),
    (lambda: x @ x, "Two shapes do not fit"),
    (lambda: x + torch.ones(2), "Two shapes do not fit"),
    (lambda: x.view(5, 5), "Two shapes do not fit"),
    (lambda: torch.cat([x, x[0]]), "Two shapes do not fit"),
    (lambda: np.ones(3).sum(axis=1), "the last one is always -1"),
    (lambda: x.sum(dim=2), "the last one is always -1"),
    (lambda: x[:, :, 0], "print the shape, and count from 0"),
    (lambda: x[9], "print the shape, and count from 0"),
]


@pytest.mark.parametrize("provoke, words", ERRORS)
def test_an_error_is_followed_by_advice(provoke, words):
    with pytest.raises(Exception) as caught:
        provoke()
    text = described(caught.value)
    assert text.startswith(f"raises {caught.type.__name__}: ") and words in text and "\n" not in text


def test_an_error_without_advice_is_shown_as_it_is():
    assert described(ValueError("odd.")) == "raises ValueError: odd."
    assert described(ValueError("a" * 300)).endswith("aaa ….")


def double(v: torch.Tensor) -> torch.Tensor:
    """Twice v."""
    return 2 * v


@check(double, lambda: (torch.ones(1, 2),))
def check_double(answer):
    expect((answer(x) == 2).all(), "should be 2.")


def in_notebook(source, **variables):
    namespace = {"torch": torch, "nn": nn, **variables}
    exec(source, namespace)
    return namespace["double"]


@pytest.mark.parametrize(
    "body, words",
    [
        ("y + v", "reads the notebook's variable y: use its arguments"),
        ("v + factor", "should be 2. It also reads the notebook's variable factor: is an argument meant?"),
        ("v + FACTOR", "should be 2."),
        ("v + torch.rand(len(v), 1)", "Two calls of double give different results"),
        ("v + torch.ones(4, 3)", "Do not write the sizes of one example"),
    ],
)
def test_a_wrong_answer_is_told_of_variables_chance_and_sizes(body, words):
    answer = in_notebook(f"def double(v):\n    return {body}", y=x, factor=2, FACTOR=2)
    with pytest.raises(Mistake) as caught:
        check_double(answer)
    assert words in str(caught.value) and ("FACTOR" not in body or str(caught.value) == words)


def test_a_right_answer_may_use_functions_constants_and_modules_without_weights():
    source = "def double(v):\n    return keep(twice(v) / ONE)"
    check_double(in_notebook(source, keep=nn.Identity(), twice=double, ONE=1))


def test_a_list_and_the_mode_of_a_module_must_stay_as_they_are():
    def total(parts, layer):
        """The sum of the layer's outputs."""
        return sum(layer(part) for part in parts)

    @check(total, lambda: ([x, 2 * x], nn.Linear(3, 2)))
    def check_total(answer):
        answer([x, 2 * x], nn.Linear(3, 2))

    check_total(total)
    with pytest.raises(Mistake, match="changes the list"):
        check_total(lambda parts, layer: (parts.reverse(), total(parts, layer))[1])
    with pytest.raises(Mistake, match="changes the module"):
        check_total(lambda parts, layer: total(parts, layer.eval()))
