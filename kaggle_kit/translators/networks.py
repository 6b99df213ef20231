"""Networks trained by gradient: the original baseline MLP and the original final ResidualMLP."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from kaggle_kit.metrics import unit
from kaggle_kit.settings import FRACTION, Section, at_least, one_of, setting
from kaggle_kit.translators.base import Translator, translators
from kaggle_kit.translators.dropout import Dropout
from kaggle_kit.translators.stages import ACTIVATIONS, Stage


@dataclass(frozen=True)
class MlpOptions(Section):
    """Options of the baseline MLP."""

    hidden: int = setting(4096, "width of the hidden layer", at_least(1))
    dropout: float = setting(0.2, "share of hidden units dropped in training", FRACTION)
    activation: str = setting("relu", "non-linearity of the hidden layer", one_of(*ACTIVATIONS))
    normalize_inputs: bool = setting(True, "scale each text embedding to unit length")


@translators.register("mlp", recipe="baseline")
class Mlp(Translator):
    """The competition's baseline: Linear(d_text, hidden), ReLU, Dropout, Linear(hidden, d_image)."""

    recordable = takes_short_inputs = True
    Options = MlpOptions
    options: MlpOptions

    def __init__(self, d_text: int, d_image: int, options: MlpOptions) -> None:
        super().__init__(d_text, d_image, options)
        self.hidden = nn.Linear(d_text, options.hidden)
        self.dropout = Dropout(options.dropout)
        self.out = nn.Linear(options.hidden, d_image)

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) → (n, d_text), at unit length unless switched off."""
        return unit(text) if self.options.normalize_inputs else text.float()

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        enter = Stage(self.hidden, activation=self.options.activation, share=self.dropout.now)
        return self.out(enter(inputs))


@dataclass(frozen=True)
class ResidualMlpOptions(Section):
    """Options of the original final model; the defaults are the original, each detail can be switched."""

    hidden: int = setting(2048, "width of the hidden layer", at_least(1))
    dropout: float = setting(0.2, "share of hidden units dropped in training", FRACTION)
    activation: str = setting("gelu", "non-linearity", one_of(*ACTIVATIONS))
    hidden_norm: bool = setting(True, "LayerNorm after the hidden layer")
    output_norm: bool = setting(True, "LayerNorm after the second layer, before the identity is added")
    skip: bool = setting(True, "add the linear projection of the input")
    output_activation: bool = setting(True, "non-linearity after the sum, as in the original")
    normalize_inputs: bool = setting(True, "scale each text embedding to unit length")


@translators.register("residual_mlp", recipe="residual")
class ResidualMlp(Translator):
    """The original final model: act(LN(Linear(Dropout(act(LN(Linear(x)))))) + Projection(x))."""

    recordable = takes_short_inputs = True
    Options = ResidualMlpOptions
    options: ResidualMlpOptions

    def __init__(self, d_text: int, d_image: int, options: ResidualMlpOptions) -> None:
        super().__init__(d_text, d_image, options)
        self.fc1 = nn.Linear(d_text, options.hidden)
        self.norm1 = nn.LayerNorm(options.hidden) if options.hidden_norm else None
        self.dropout = Dropout(options.dropout)
        self.fc2 = nn.Linear(options.hidden, d_image)
        self.norm2 = nn.LayerNorm(d_image) if options.output_norm else None
        self.projection = nn.Linear(d_text, d_image) if options.skip else None

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) → (n, d_text), at unit length unless switched off."""
        return unit(text) if self.options.normalize_inputs else text.float()

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        activation = self.options.activation
        enter = Stage(self.fc1, self.norm1, activation=activation, share=self.dropout.now)
        leave = Stage(self.fc2, self.norm2, self.projection, activation if self.options.output_activation else None)
        return leave(enter(inputs), inputs)
