"""Kernels of a stage against the same written in PyTorch: results, gradients, what is dropped, where sums are left."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")

from kaggle_kit.kernels import stages

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KINDS = {
    "bias": {"bias"},
    "nothing": set(),
    "norm": {"norm"},
    "bias and norm": {"bias", "norm"},
    "branch": {"bias", "other"},
    "all": {"bias", "norm", "other", "other_bias"},
    "branch without a bias": {"bias", "norm", "other"},
}


class Case:
    """A stage's numbers, in float32, so that nothing but the arithmetic differs."""

    def __init__(self, kind, rows=10, width=77):
        torch.manual_seed(0)
        parts = KINDS[kind]

        def drawn(*shape, when=True):
            return torch.randn(shape, device=DEVICE, requires_grad=True) if when else None

        self.product, self.gradient = drawn(rows, width), torch.randn(rows, width, device=DEVICE)
        self.other = drawn(rows, width, when="other" in parts)
        self.vectors = stages.StageVectors(
            drawn(width, when="bias" in parts),
            drawn(width, when="norm" in parts),
            drawn(width, when="norm" in parts),
            drawn(width, when="other_bias" in parts),
        )
        self.seed = torch.tensor([1234567890123456789], device=DEVICE)

    @property
    def given(self):
        vectors = self.vectors
        return (vectors.bias, vectors.weight, vectors.shift, vectors.other_bias)

    def expected(self, activation):
        x = self.product
        if self.vectors.bias is not None:
            x = x + self.vectors.bias
        if self.vectors.weight is not None:
            x = F.layer_norm(x, x.shape[1:], self.vectors.weight, self.vectors.shift)
        if self.other is not None:
            x = x + self.other
        if self.vectors.other_bias is not None:
            x = x + self.vectors.other_bias
        return x if activation == "none" else getattr(F, activation)(x)

    def places(self, fill=torch.nan):
        return stages.StageVectors(*(None if v is None else torch.full_like(v.detach(), fill) for v in self.given))

    def detached(self):
        vectors = stages.StageVectors(*(None if v is None else v.detach() for v in self.given))
        return self.product.detach(), None if self.other is None else self.other.detach(), vectors


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", stages.ACTIVATIONS)
def test_stage_and_all_its_gradients_are_those_of_pytorch(kind, activation):
    case = Case(kind)
    product, other, vectors = case.detached()
    form, places = stages.StageForm(activation), case.places()
    out, memory = stages.forward(product, other, vectors, form, case.seed)
    back = stages.backward(case.gradient, product, other, vectors, form, memory, places)

    expected = case.expected(activation)
    expected.backward(case.gradient)
    close(out, expected.detach())
    close(back[0], case.product.grad)
    assert (back[1] is None) == (case.other is None)
    if case.other is not None:
        close(back[1], case.other.grad)
    for place, vector in zip((places.bias, places.weight, places.shift, places.other_bias), case.given, strict=True):
        if vector is not None:
            close(place, vector.grad)


def test_gradients_of_a_second_use_are_added():
    case = Case("all")
    product, other, vectors = case.detached()
    form = stages.StageForm("gelu")
    _, memory = stages.forward(product, other, vectors, form, case.seed)
    once, added = case.places(), case.places(fill=1.0)
    for places, add in ((once, False), (added, True)):
        stages.backward(case.gradient, product, other, vectors, form, memory, places, add=add)
    for one, other_one in ((once.bias, added.bias), (once.weight, added.weight), (once.other_bias, added.other_bias)):
        close(other_one, one + 1)


def test_a_share_is_dropped_and_the_way_back_drops_the_same():
    case = Case("nothing", rows=40, width=100)
    product = torch.ones_like(case.product.detach())
    form, nothing = stages.StageForm("none", share=0.3), stages.StageVectors()
    out, memory = stages.forward(product, None, nothing, form, case.seed)
    back, _ = stages.backward(torch.ones_like(product), product, None, nothing, form, memory, nothing)
    torch.testing.assert_close(out.unique().cpu(), torch.tensor([0.0, 1 / 0.7]))
    assert torch.equal(out, back)
    assert abs((out == 0).float().mean().item() - 0.3) < 0.04
    assert (out == 0).float().mean(0).std() < 0.15  # no column or row of its own
    again = stages.forward(product, None, nothing, form, case.seed)[0]
    another = stages.forward(product, None, nothing, form, case.seed + (1 << 40))[0]
    assert torch.equal(out, again)
    assert (
        0.3 < ((out == 0) ^ (another == 0)).float().mean() < 0.55
    )  # 2 · 0.3 · 0.7 for seeds that know nothing of each other


def test_no_row_depends_on_its_neighbours():
    case = Case("all", rows=5)
    product, other, vectors = case.detached()
    form = stages.StageForm("gelu")
    whole, _ = stages.forward(product, other, vectors, form, case.seed)
    part, _ = stages.forward(product[3:], other[3:], vectors, form, case.seed)
    assert torch.equal(whole[3:], part)


def test_what_is_not_a_number_stays_one():
    """So that the step is skipped: no kernel may turn it into a number."""
    case = Case("nothing")
    product = case.product.detach().clone()
    product[2, 5] = torch.nan
    for activation in stages.ACTIVATIONS:
        form = stages.StageForm(activation)
        out, memory = stages.forward(product, None, stages.StageVectors(), form, case.seed)
        back, _ = stages.backward(
            case.gradient, product, None, stages.StageVectors(), form, memory, stages.StageVectors()
        )
        assert out[2, 5].isnan(), activation
        assert out.isnan().sum() == 1
        assert activation in ("none", "relu") or back[2, 5].isnan(), activation
