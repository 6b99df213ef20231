"""Losses of one's own: a function of outputs and targets, or a ``torch.nn.Module``, made a loss by a decorator."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from kaggle_kit.errors import UsageError
from kaggle_kit.plugins import Plugin, own_errors, running
from kaggle_kit.settings import Section
from kaggle_kit.training.losses import Loss, losses
from kaggle_kit.translators.own import options_of

Kind = TypeVar("Kind", bound=Callable[..., Any])
GIVEN = ("outputs", "targets", "images")


def loss(name: str) -> Callable[[Kind], Kind]:
    """File a function or class as the loss ``name``.

    A function takes ``outputs`` (batch, d), ``targets`` (batch, d) and, if it asks for them, ``images`` (batch,) int64, where equal numbers
    mean one image; it gives a scalar. Further parameters with defaults are options (``loss.<name>``). A ``torch.nn.Module`` has these in
    ``__init__``, and its parameters are trained with the network's. Outputs come in float32, as the network made them.

    Raises:
        UsageError: it is neither, or an option has no default.
    """

    def file(kind: Kind) -> Kind:
        losses.register(name)(_as_loss(kind, name))
        return kind

    return file


def _as_loss(kind: Callable[..., Any], name: str) -> type[Loss]:
    if isinstance(kind, type) and issubclass(kind, Loss):
        return kind
    if isinstance(kind, type) and not issubclass(kind, nn.Module):
        raise UsageError(f"loss {name!r} is neither a function of outputs and targets nor a torch.nn.Module")
    called = kind.forward if isinstance(kind, type) else kind  # type: ignore[attr-defined]
    attributes = {
        "Options": options_of(kind, but=() if isinstance(kind, type) else GIVEN),
        "kind": staticmethod(kind),
        "is_module": isinstance(kind, type),
        "takes_images": "images" in inspect.signature(called).parameters,
        "plugin": running(),
        "__doc__": inspect.getdoc(kind) or name,
        "__module__": kind.__module__,
    }
    return type(kind.__name__, (_OwnLoss,), attributes)


class _OwnLoss(Loss):
    kind: ClassVar[Callable[..., Any]]
    is_module: ClassVar[bool]
    takes_images: ClassVar[bool]
    plugin: ClassVar[Plugin | None]

    def __init__(self, options: Section) -> None:
        super().__init__(options)
        given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}  # type: ignore[arg-type]
        self.given = {} if self.is_module else given
        self.module = self.kind(**given) if self.is_module else None

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The user's loss of a batch, a float32 scalar."""
        call = self.module if self.module is not None else self.kind
        arguments = (outputs.float(), targets, *([images] if self.takes_images else []))
        if self.plugin is None:
            value = call(*arguments, **self.given)
        else:
            with own_errors(self.plugin):
                value = call(*arguments, **self.given)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f"a loss must be one number, not {shape}", f"see {self.plugin.path}" if self.plugin else ""
            )
        return value.reshape(())
