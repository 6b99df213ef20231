"""Translators of one's own: any ``torch.nn.Module``, or any object with ``fit`` and ``predict``, made one by a decorator.

The options are the parameters of ``__init__`` with their defaults; what they mean is read from its docstring's ``Args``.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from kaggle_kit.errors import UsageError
from kaggle_kit.plugins import Plugin, own_errors, running
from kaggle_kit.settings import Section, setting
from kaggle_kit.translators.base import FitData, Translator, translators

Kind = TypeVar("Kind", bound=type)
DIMENSIONS = ("d_text", "d_image")
"""Parameters of ``__init__`` that are no options: widths of text embeddings and of image vectors."""


def translator(name: str) -> Callable[[Kind], Kind]:
    """File a class as the translator ``name``; it is then trained, ensembled, predicted and submitted with like any other.

    One of three forms:

    - a ``torch.nn.Module`` whose ``forward(text)`` makes (n, d_image) image vectors of (n, d_text) text embeddings as the file holds
      them; the loss and the training loop are those that the settings choose;
    - a class with ``fit(text, images)`` and ``predict(text)`` over NumPy arrays of float32, (n, d_text) and (n, d_image): row i of
      ``images`` belongs to row i of ``text``. What ``fit`` leaves in attributes is kept: numbers, arrays and tensors;
    - a subclass of :class:`kaggle_kit.translators.Translator`, for all that those can do.

    ``__init__`` may take ``d_text`` and ``d_image``; every other parameter needs a default and is an option (``translator.<name>``).

    Raises:
        UsageError: the class is none of the three, or an option has no default.
    """

    def file(kind: Kind) -> Kind:
        translators.register(name)(_as_translator(kind, name))
        return kind

    return file


def _as_translator(kind: type, name: str) -> type[Translator]:
    if isinstance(kind, type) and issubclass(kind, Translator):
        return kind
    is_module = isinstance(kind, type) and issubclass(kind, nn.Module)
    if is_module and "forward" not in dir(kind):
        raise UsageError(f"translator {name!r} defines no forward(text)")
    fits = all(callable(getattr(kind, method, None)) for method in ("fit", "predict"))
    if not is_module and not fits:
        raise UsageError(
            f"translator {name!r} is neither a torch.nn.Module nor a class with fit(text, images) and predict(text)"
        )
    attributes = {
        "Options": options_of(kind),
        "kind": kind,
        "plugin": running(),
        "__doc__": inspect.getdoc(kind) or name,
    }
    base = _OwnModule if is_module else _OwnFit
    return type(kind.__name__, (base,), {**attributes, "__module__": kind.__module__})


def options_of(kind: Callable[..., Any], *, but: tuple[str, ...] = DIMENSIONS) -> type[Section]:
    """A settings section of the parameters of a class's ``__init__``, or of a function, that are options.

    Raises:
        UsageError: one has no default, or a default that no setting can have.
    """
    initial = kind.__init__ if isinstance(kind, type) else kind  # type: ignore[misc]
    hints = _hints(initial)
    meanings = _meanings(f"{inspect.getdoc(kind) or ''}\n\n{inspect.getdoc(initial) or ''}")
    fields = []
    for parameter in list(inspect.signature(kind).parameters.values()):
        if parameter.name in but or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            raise UsageError(
                f"{kind.__name__}: {parameter.name} needs a default; it is an option, and only {' and '.join(but)} are given"
            )
        default = parameter.default
        hint = hints.get(parameter.name, type(default) if default is not None else str | None)
        if not isinstance(default, bool | int | float | str | list | None):
            raise UsageError(f"{kind.__name__}: the default of {parameter.name} must be a number, text, list or None")
        fields.append((parameter.name, hint, setting(default, meanings.get(parameter.name, ""))))
    return dataclasses.make_dataclass(f"{kind.__name__}Options", fields, bases=(Section,), frozen=True)


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # annotations for readers only
        return {}


def _meanings(text: str) -> dict[str, str]:
    """``name: meaning`` lines below ``Args:``."""
    part = text.partition("Args:")[2]
    return {
        name: " ".join(meaning.split()) for name, meaning in re.findall(r"^\s+(\w+)(?: \([^)]*\))?: (.+)$", part, re.M)
    }


class _Own(Translator):
    """What the two forms share."""

    kind: typing.ClassVar[type]
    plugin: typing.ClassVar[Plugin | None]

    def _made(self) -> Any:
        """A new object of the user's class."""
        taken = inspect.signature(self.kind).parameters
        given = {name: getattr(self, name) for name in DIMENSIONS if name in taken}
        options = {field.name: getattr(self.options, field.name) for field in dataclasses.fields(self.options)}  # type: ignore[arg-type]
        return self._guarded(self.kind, **given, **options)

    def _guarded(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """A call of the user's code, whose errors name their file and line."""
        if self.plugin is None:
            return call(*arguments, **named)
        with own_errors(self.plugin):
            return call(*arguments, **named)

    def _checked(self, vectors: Any, rows: int, method: str) -> Any:
        """What the user's method gave, if it is (rows, d_image).

        Raises:
            UsageError: it is not.
        """
        shape = tuple(getattr(vectors, "shape", ()))
        if shape != (rows, self.d_image):
            what = f"shape {shape}" if shape else type(vectors).__name__
            raise UsageError(
                f"{self.kind.__name__}.{method} must give image vectors of shape ({rows}, {self.d_image}), not {what}",
                f"see {self.plugin.path}" if self.plugin else "",
            )
        return vectors


class _OwnModule(_Own):
    """A network of the user's: text embeddings in, image vectors out."""

    def __init__(self, d_text: int, d_image: int, options: Section) -> None:
        super().__init__(d_text, d_image, options)
        self.module = self._made()

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) as the file holds them."""
        return text.float()

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        return self._checked(self._guarded(self.module, inputs), len(inputs), "forward")  # type: ignore[no-any-return]


class _OwnFit(_Own):
    """A closed form of the user's; its fitted attributes are buffers, so that a checkpoint holds them."""

    closed_form = True
    fitted: Tensor

    def __init__(self, d_text: int, d_image: int, options: Section) -> None:
        super().__init__(d_text, d_image, options)
        self.register_buffer("fitted", torch.zeros(1))
        self._object = self._made()

    def prepare(self, data: FitData) -> None:
        """Fit on NumPy arrays, and keep what that left in the object's attributes."""
        before = dict(vars(self._object))
        text, images = data.text.float().cpu().numpy(), data.images.float().cpu().numpy()
        with _numpy_seed(data.seed):
            self._guarded(self._object.fit, text, images[data.image_of_caption.cpu().numpy()], **self._extras(data))
        for name, value in vars(self._object).items():
            if name not in before or value is not before[name]:
                self._keep(name, value)
        self.fitted.fill_(1)

    def _extras(self, data: FitData) -> dict[str, Any]:
        """``weight`` and ``seed`` for a ``fit`` that asks for them."""
        weight = None if data.weight is None else data.weight.cpu().numpy()
        offered = {"weight": weight, "seed": data.seed}
        return {name: offered[name] for name in inspect.signature(self._object.fit).parameters if name in offered}

    def _keep(self, name: str, value: Any) -> None:
        form = next((form for form, (kind, _) in _FORMS.items() if isinstance(value, kind)), None)
        if form is None or (form == "array" and value.dtype.kind not in "fiub"):
            raise UsageError(
                f"{self.kind.__name__}.fit left {name}, {type(value).__name__}: a checkpoint keeps numbers, arrays and tensors",
                f"keep what predict needs as arrays (for a regression its coefficients); {self.plugin.path if self.plugin else ''}",
            )
        tensor = value.detach().clone() if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
        self.register_buffer(f"{form}__{name}", tensor)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: FBT001, FBT002
        """As torch's; the attributes of the fitted object are restored as they were."""
        for name, tensor in state_dict.items():
            if name != "fitted" and name.partition("__")[0] in _FORMS:
                self.register_buffer(name, torch.empty_like(tensor))
        loaded = super().load_state_dict(state_dict, strict, assign)
        for name, tensor in state_dict.items():
            form, _, attribute = name.partition("__")
            if form in _FORMS and attribute:
                setattr(self._object, attribute, _FORMS[form][1](tensor))
        return loaded

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) as the file holds them."""
        return text.float()

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        found = self._guarded(self._object.predict, inputs.float().cpu().numpy())
        vectors = np.asarray(self._checked(found, len(inputs), "predict"), dtype=np.float32)
        return torch.from_numpy(np.array(vectors)).to(inputs.device)


_FORMS: dict[str, tuple[Any, Callable[[Tensor], Any]]] = {
    "tensor": (Tensor, lambda tensor: tensor.clone()),
    "array": (np.ndarray, lambda tensor: tensor.numpy().copy()),
    "bool": (bool | np.bool_, bool),
    "int": (int | np.integer, int),
    "float": (float | np.floating, float),
}
"""How an attribute is kept, the first that fits: its type, and the way back from the tensor."""


class _numpy_seed:  # noqa: N801  (used as a function)
    """NumPy's global generator starts from the seed, and is as before afterwards."""

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**32

    def __enter__(self) -> None:
        self._before = np.random.get_state()
        np.random.seed(self._seed)

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self._before)
