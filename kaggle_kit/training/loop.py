"""The gradient loop of one fold: exact to the bit when it is stopped and resumed."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kaggle_kit.errors import DataError, TrainingError
from kaggle_kit.progress import Task
from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.augment import draw_share
from kaggle_kit.training.average import MovingAverage, running_statistics
from kaggle_kit.training.batches import epoch_batches
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import EncodedFold, FoldData, encode_fold
from kaggle_kit.training.fusable import why_without_kernels
from kaggle_kit.training.losses import Loss, build_loss
from kaggle_kit.training.memory import keep_freed_memory
from kaggle_kit.training.objective import Objective
from kaggle_kit.training.recorded import RecordedSteps
from kaggle_kit.training.rounded import RoundedWeights
from kaggle_kit.training.schedule import learning_rate
from kaggle_kit.training.seeds import generator_for
from kaggle_kit.training.state import StateFiles
from kaggle_kit.translators import Translator

if TYPE_CHECKING:
    from kaggle_kit.training.fused import FusedWeights

EPOCH_DRAWS = 2
"""Gallery draws of the score after each epoch; the score of a finished fold takes ``validation.draws``."""


@dataclass(frozen=True)
class Epoch:
    """One line of the learning curve."""

    epoch: int
    train_loss: float
    validation_loss: float | None
    validation_mrr: float | None
    learning_rate: float
    seconds: float
    samples_per_s: float
    temperature: float | None = None
    """Of a loss that trains its own."""


@dataclass
class Position:
    """How far the loop is: everything about it that is no tensor."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_value: float | None = None
    best_epoch: int = 0
    epochs_since_best: int = 0
    epoch_seconds: float = 0.0
    spent_s: float = 0.0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class StepRecord:
    """What a step leaves on the device until somebody reads it.

    Attributes:
        loss: float32 scalar.
        samples: captions in the batch.
        skipped: float32 scalar, 1 when the weights were left alone; None where gradients are still being added up.
    """

    loss: Tensor
    samples: int
    skipped: Tensor | None


SHORT_SAVE_S, SAVING_SHARE = 0.05, 0.1
"""A state at a new best is left out where saving takes longer than the first and would cost more than the second of the time."""


def planned_epochs(data: FoldData, train: TrainSettings, seed: int) -> int:
    """How many epochs a fold is trained for where nothing ends it before: more than ``train.epochs`` where those are too few steps."""
    return _epochs(train, len(_batches(data, train, seed, 0))) if train.min_steps else train.epochs


def _epochs(train: TrainSettings, batches: int) -> int:
    return max(train.epochs, math.ceil(train.min_steps / batches))


def _batches(data: FoldData, train: TrainSettings, seed: int, epoch: int) -> list[Tensor]:
    generator = generator_for(seed, "batches", epoch)
    return epoch_batches(data.image_of_caption[data.train], train.batch_size, train.batches, generator, data.weight)


class GradientLoop:
    """Trains a prepared translator on one fold.

    ``seed`` decides batches and dropout; the state files make a stopped loop go on as if it had never stopped.

    On a GPU nothing in an epoch waits for the device: steps that are not finite are skipped there, and read about when the epoch ends.
    """

    def __init__(
        self, translator: Translator, data: FoldData, context: RunContext, *, seed: int, states: StateFiles, task: Task
    ) -> None:
        settings, hardware = context.settings, context.hardware
        self.translator, self.data, self.settings, self.hardware = translator, data, settings, hardware
        self.train = settings.train
        self.seed, self.states, self.stop, self.task = seed, states, context.stop, task
        self.collective = context.collective
        self.loss: Loss = build_loss(settings.loss.name, settings.loss.options).to(hardware.device)
        self.loss.rounded = hardware.score_format
        self.fold: EncodedFold = encode_fold(data, translator, hardware)
        self.parameters = [p for module in (translator, self.loss) for p in module.parameters() if p.requires_grad]
        self.statistics = running_statistics(translator)
        self.objective: nn.Module = Objective(translator, self.loss, self.fold, self.train, hardware, self.collective)
        self.rate = self._on_device(self.train.learning_rate)
        self.optimizer = self._build_optimizer()
        self.scaler = torch.amp.GradScaler(hardware.device, enabled=hardware.scales_gradients)
        self.position = Position()
        self.begun, self.earlier_s = time.perf_counter(), 0.0
        self.unread: list[StepRecord] = []
        self.former_statistics: list[Tensor] = []
        self.group_loss = torch.zeros((), device=hardware.device)
        self.best: dict[str, Tensor] = {}
        self.saved_at = time.monotonic()
        # with weights the batches of an epoch vary a little in number; the schedule goes by those of the first
        self.batches_in_epoch = len(self._batches(0))
        self.epochs = _epochs(self.train, self.batches_in_epoch)
        self.total_steps = self.batches_in_epoch * self.epochs
        self.average = MovingAverage(translator, self.train.ema_decay) if self.train.ema_decay else None
        self.rounded = RoundedWeights(self.optimizer) if self._rounds_weights() else None
        self.fused = self._fused_weights() if self.train.kernels else None
        self.loss.fused = self.fused is not None
        self.recorded = RecordedSteps(self._whole_step, self._changing, self.scaler) if self._records_steps() else None
        if self.train.compile and hardware.device == "cuda":
            self.objective.compile(dynamic=False)

    def _on_device(self, number: float) -> float | Tensor:
        """A number that changes from step to step, as steps take it: on a GPU from a place that a recorded step can read."""
        if self.hardware.device != "cuda":
            return number
        return torch.full((), number, dtype=torch.float32, device="cuda")  # torch.tensor would wait for the device

    def _rounds_weights(self) -> bool:
        """Whether weights are kept in bf16, too: where nothing but the optimiser asks for their gradients."""
        return (
            self.hardware.device == "cpu"
            and self.hardware.precision == "bf16"
            and not self.hardware.defers_checks
            and self.collective.size == 1
            and self.train.accumulate == 1
            and self.train.clip_norm is None
        )

    def _fused_weights(self) -> FusedWeights | None:
        """Where kernels compute what lies between the matrix products: what they work on."""
        modules = self.translator, self.loss
        if why_without_kernels(self.train, self.hardware, *modules, shared=self.collective.size > 1) is not None:
            return None
        from kaggle_kit.training.fused import FusedWeights  # needs Triton

        return FusedWeights(self.optimizer)

    def _records_steps(self) -> bool:
        """Whether steps are recorded and replayed: on one GPU, where every batch is a step and all parts bear it."""
        return (
            self.hardware.device == "cuda"
            and self.collective.size == 1
            and self.train.accumulate == 1
            and self.translator.bears_recording
            and self.loss.bears_recording
        )

    def _changing(self) -> list[Tensor]:
        """All tensors that a step changes."""
        modules = [self.translator, self.loss, *([] if self.average is None else [self.average.translator])]
        found = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        found += [tensor for state in self.optimizer.state.values() for tensor in state.values()]
        found += [] if self.fused is None else self.fused.kept
        return found if self.average is None else [*found, self.average.share]

    def _build_optimizer(self) -> torch.optim.Optimizer:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.train.optimizer]
        fused = self.hardware.device in ("cpu", "cuda")
        # vectors (biases, norms, a temperature) are not decayed: pulling them to zero regularises nothing
        groups = [
            {"params": [p for p in self.parameters if p.ndim >= 2], "weight_decay": self.train.weight_decay},
            {"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        return kind(
            [group for group in groups if group["params"]],
            lr=self.rate,
            fused=fused or None,
            capturable=self.hardware.device == "cuda",
        )

    @property
    def shown(self) -> Translator:
        """The translator that is validated and kept: the moving average where there is one."""
        return self.translator if self.average is None else self.average.translator

    def _batches(self, epoch: int) -> list[Tensor]:
        """The epoch's batches, a function of seed and epoch alone: a resumed epoch deals the same ones again."""
        return _batches(self.data, self.train, self.seed, epoch)

    def run(self) -> None:
        """Train to the last epoch or until early stopping, then put the best weights in place.

        Raises:
            TrainingError: the loss stayed non-finite.
            InterruptedWork, KeyboardInterrupt: asked to stop; the state is on disk.
        """
        if self.hardware.device == "cpu":
            keep_freed_memory()
        self._resume()
        while not self.position.finished:
            self._run_epoch()
        if self.train.restore_best and self.best:
            self.translator.load_state_dict(self.best)
        elif self.average is not None:
            self.translator.load_state_dict(self.shown.state_dict())

    def _run_epoch(self) -> None:
        position = self.position
        batches = self._batches(position.epoch)
        sizes = [len(batch) for batch in batches]
        self.batches_in_epoch = len(batches)
        on_device = torch.cat(batches).to(self.hardware.device).split(sizes)
        self.translator.train()
        self.optimizer.zero_grad(set_to_none=True)
        for kept in (self.rounded, self.fused):
            if kept is not None:
                kept.refresh()  # a state may have been loaded
        started = time.perf_counter()
        for number in range(position.step_in_epoch, len(batches)):
            with self.stop.timed("step"):
                self._step(number, on_device[number])
            if self._completes_group(number) and self._save_due(last=number + 1 == len(batches)):
                self._read_steps()
                position.epoch_seconds += time.perf_counter() - started
                self.save_state()
                if self.stop:
                    self.stop.raise_stop(f"epoch {position.epoch + 1}, step {position.step_in_epoch}")
                started = time.perf_counter()
        self._read_steps()
        position.epoch_seconds += time.perf_counter() - started
        self._finish_epoch(sum(sizes))

    def _completes_group(self, number: int) -> bool:
        """Whether the weights move after this batch: ``accumulate`` batches, or the epoch, are complete."""
        return (number + 1) % self.train.accumulate == 0 or number + 1 == self.batches_in_epoch

    def _save_due(self, *, last: bool) -> bool:
        """Between two steps: whether the state is to be written now, by the clock or because the training must stop."""
        coming = ("validation", "step", "save") if last else ("step", "save")
        return self.stop.before(*coming) or time.monotonic() - self.saved_at > 60 * self.train.checkpoint_minutes

    def _step(self, number: int, captions: Tensor) -> None:
        """One batch; the weights move when its group is complete. Gradients that are being added up are not part of the state."""
        position, accumulate = self.position, self.train.accumulate
        self._set_rate(learning_rate(position.step, self.total_steps, self.train))
        drawn = draw_share(self.train, position.epoch)
        share = None if drawn is None else self._on_device(drawn)
        skipped: Tensor | None
        if self.recorded is not None:
            loss, skipped = self.recorded(captions, share)
        else:
            group_size = min(accumulate, self.batches_in_epoch - number // accumulate * accumulate)
            loss = self._add_gradients(captions, share, group_size, first=number % accumulate == 0)
            skipped = self._descend() if self._completes_group(number) else None
        self.unread.append(StepRecord(loss, len(captions), skipped))
        position.step += 1
        position.step_in_epoch += 1
        if not self.hardware.defers_checks:
            self._read_steps()

    def _set_rate(self, rate: float) -> None:
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = rate
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate

    def _whole_step(self, captions: Tensor, share: float | Tensor | None) -> tuple[Tensor, Tensor]:
        """A step of one batch: its loss, and whether the weights were left alone."""
        loss = self._add_gradients(captions, share, 1, first=True)
        return loss, self._descend()

    def _add_gradients(self, captions: Tensor, share: float | Tensor | None, group_size: int, *, first: bool) -> Tensor:
        """Add a batch's part to the gradients of its group; its loss."""
        if first:
            self.former_statistics = [buffer.clone() for buffer in self.statistics]
            if self.fused is not None:
                self.fused.forget()  # of a step that broke off
        purpose = (self.seed, self.position.step) if self.collective.size > 1 else ()
        with self.rounded or self.fused or nullcontext():
            loss: Tensor = self.objective(captions, share, *purpose)
        self.scaler.scale(loss if group_size == 1 else loss / group_size).backward()
        self.group_loss = loss.detach() if first else self.group_loss + loss.detach()
        return loss.detach()

    def _descend(self) -> Tensor:
        """One optimiser step, unless a loss or gradient of its batches is not finite: then nothing changes.

        Returns:
            float32 scalar on the device: 1 when the step was skipped, else 0.
        """
        if self.fused is not None:
            skipped = self.fused.descend(self.group_loss)
            self._keep_up(skipped)
            return skipped
        self.collective.average_gradients(self.parameters)
        self.scaler.unscale_(self.optimizer)
        skipped = (self._checked_gradients() + self.group_loss).isfinite().logical_not().float()
        if self.hardware.defers_checks:
            # the fused optimiser looks at this on the device (torch.optim.Adam, fused=True)
            self.optimizer.grad_scale, self.optimizer.found_inf = None, skipped  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bool(skipped):
            self.optimizer.step()
            if self.rounded is not None:
                self.rounded.step()
        self.scaler.update()
        self._keep_up(skipped)
        self.optimizer.zero_grad(set_to_none=True)
        if self.rounded is not None:
            self.rounded.forget()
        return skipped

    def _keep_up(self, skipped: Tensor) -> None:
        """What goes with the weights: running statistics, which a skipped step leaves as they were, and the moving average."""
        for buffer, former in zip(self.statistics, self.former_statistics, strict=True):
            buffer.copy_(torch.where(skipped > 0, former, buffer))
        if self.average is not None:
            self.average.update(self.translator, skipped)

    def _checked_gradients(self) -> Tensor:
        """A number that is finite if all gradients are, which are scaled down where their norm is too large."""
        if self.train.clip_norm is not None:
            return nn.utils.clip_grad_norm_(self.parameters, self.train.clip_norm)
        waiting = [] if self.rounded is None else self.rounded.collect()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.hardware.device == "cuda":
            return torch.stack(torch._foreach_norm(gradients)).sum()  # one kernel for all of them
        return torch.stack([gradient.sum().float() for gradient in (*gradients, *waiting)]).sum()

    def _read_steps(self) -> None:
        """Take over what the steps since the last reading left on the device: the one place where a step is waited for."""
        records, self.unread = self.unread, []
        if not records:
            return
        decided = [record.skipped for record in records if record.skipped is not None]
        values = torch.stack([record.loss for record in records] + decided).tolist()
        losses, skips = values[: len(records)], iter(values[len(records) :])
        position = self.position
        for step, (record, loss) in enumerate(zip(records, losses, strict=True), position.step - len(records) + 1):
            if math.isfinite(loss):
                position.loss_sum += loss * record.samples
                position.loss_count += record.samples
            if record.skipped is not None:
                self._count_skipped(step, skipped=next(skips) > 0)

    def _count_skipped(self, step: int, *, skipped: bool) -> None:
        position = self.position
        position.skipped += skipped
        position.skipped_in_a_row = position.skipped_in_a_row + 1 if skipped else 0
        if position.skipped_in_a_row >= self.train.max_skipped_steps:
            self._diverged(
                f"{position.skipped_in_a_row} steps in a row had a loss or gradient that is not finite", step
            )

    def _diverged(self, what: str, step: int | None = None) -> None:
        raise TrainingError(
            f"training diverged at epoch {self.position.epoch + 1}, step {step or self.position.step}: {what}",
            f"lower train.learning_rate (now {self.train.learning_rate:g}), set train.clip_norm, or try --precision fp32",
        )

    def _finish_epoch(self, samples: int) -> None:
        position = self.position
        if not position.loss_count:
            self._diverged("no step of the epoch had a finite loss")
        temperature = self.loss.learnt_temperature
        if temperature is not None and not math.isfinite(temperature):
            self._diverged(f"the trained temperature is {temperature}")
        position.epoch += 1
        seconds, last = position.epoch_seconds, position.epoch >= self.epochs
        line = Epoch(
            epoch=position.epoch,
            train_loss=position.loss_sum / position.loss_count,
            validation_loss=None,
            validation_mrr=None,
            learning_rate=float(self.rate),
            seconds=seconds,
            samples_per_s=samples / seconds if seconds else 0.0,
            temperature=temperature,
        )
        better = False
        position.finished = last
        if len(self.fold.validation_inputs) and (last or position.epoch % self.train.validate_every == 0):
            with self.stop.timed("validation"):
                loss, mrr = self._checked_validation()
            line = replace(line, validation_loss=loss, validation_mrr=mrr)
            better = self._keep_best(loss if self.train.monitor == "loss" else -mrr)
        position.history.append(asdict(line))
        position.step_in_epoch, position.loss_sum, position.loss_count, position.epoch_seconds = 0, 0.0, 0, 0.0
        if better and not position.finished and self._affords_save():
            self.save_state()
        scored = {} if line.validation_mrr is None else {"val_loss": line.validation_loss, "mrr": line.validation_mrr}
        self.task.update(position.epoch, loss=line.train_loss, **scored, samples_per_s=line.samples_per_s)

    def _checked_validation(self) -> tuple[float, float]:
        loss, mrr = self._validate()
        if not (math.isfinite(loss) and math.isfinite(mrr)):
            self._diverged(f"validation loss {loss}, MRR {mrr}")
        return loss, mrr

    def _keep_best(self, value: float) -> bool:
        """Compare with the best validation so far, and decide whether training ends; True when this one is better."""
        position = self.position
        better = position.best_value is None or value < position.best_value - self.train.min_delta
        if better:
            position.best_value, position.best_epoch, position.epochs_since_best = value, position.epoch, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.shown.state_dict().items()}
        else:
            position.epochs_since_best += self.train.validate_every
        patience = self.train.patience
        position.finished |= patience is not None and position.epochs_since_best >= patience
        return better

    def _affords_save(self) -> bool:
        """Whether a state more than the clock asks for costs little: on a fast device writing may take longer than an epoch."""
        takes = self.stop.longest.get("save", 0.0)
        return takes <= SHORT_SAVE_S or takes <= SAVING_SHARE * (time.monotonic() - self.saved_at)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Loss over the held-out captions in batches of the training size and fixed order, and MRR in galleries."""
        translator = self.shown.eval()
        inputs, image = self.fold.validation_inputs, self.fold.validation_image
        order = self._validation_order()
        outputs = torch.empty(len(inputs), self.fold.targets.shape[1], device=inputs.device)
        losses, counts = [], []
        for rows in order.split(self.train.batch_size):
            with self.hardware.autocast():
                out = self.collective.forward(translator, inputs[rows])
            outputs[rows] = out.float()
            if len(rows) > 1:
                losses.append(self.loss(out, self.fold.targets[image[rows]], image[rows]))
                counts.append(len(rows))
        vectors = translator.decode(outputs, inputs)
        score = self.data.score(vectors, draws=EPOCH_DRAWS, seed=self.settings.validation.seed)
        total = (
            sum(loss * count for loss, count in zip(torch.stack(losses).tolist(), counts, strict=True))
            if losses
            else 0.0
        )
        return total / max(1, sum(counts)), score.mrr

    def _validation_order(self) -> Tensor:
        """The fixed random order in which held-out captions meet in batches."""
        inputs = self.fold.validation_inputs
        return torch.randperm(len(inputs), generator=generator_for(self.seed, "validation")).to(inputs.device)

    def save_state(self) -> None:
        """Write everything that a later process needs to go on to the bit; of several that train together, the first does."""
        self.saved_at = time.monotonic()
        if not self.collective.leads:
            return
        tensors = {f"model/{name}": tensor for name, tensor in self.translator.state_dict().items()}
        tensors |= {f"loss/{name}": tensor for name, tensor in self.loss.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in state.items()}
        tensors["rng/cpu"] = torch.get_rng_state()
        if self.hardware.device == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state()
        self.position.spent_s = self.earlier_s + time.perf_counter() - self.begun
        header = {
            "position": asdict(self.position),
            "scaler": self.scaler.state_dict(),
            "config": self.settings.digest(),
        }
        with self.stop.timed("save"):
            self.states.save({name: tensor.clone() for name, tensor in tensors.items()}, header)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        """Take up the newest state on disk, if there is one."""
        found = self.states.load()
        if found is None:
            return
        tensors, header = found
        if header["config"] != self.settings.digest():
            raise DataError(f"{self.states.newest} is the state of other settings", "delete it and resume again")
        self.translator.load_state_dict(_below(tensors, "model/"))
        self.loss.load_state_dict(_below(tensors, "loss/"))
        if self.average is not None:
            self.average.load_state_dict(_below(tensors, "average/"))
        self.best = {name: tensor.to(self.hardware.device) for name, tensor in _below(tensors, "best/").items()}
        optimizer: dict[int, dict[str, Any]] = {}
        for name, tensor in _below(tensors, "optimizer/").items():
            number, _, key = name.partition("/")
            optimizer.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict(
            {"state": optimizer, "param_groups": self.optimizer.state_dict()["param_groups"]}
        )
        if header["scaler"]:
            self.scaler.load_state_dict(header["scaler"])
        self.position = Position(**header["position"])
        self.earlier_s = self.position.spent_s
        torch.set_rng_state(tensors["rng/cpu"])
        if self.hardware.device == "cuda":
            torch.cuda.set_rng_state(tensors["rng/cuda"])
        self.task.update(self.position.epoch)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix``, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
