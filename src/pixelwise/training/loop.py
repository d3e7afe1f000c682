"""The training loop: steps and epochs, with validation, curves and checkpoints."""

from __future__ import annotations

import copy
import math
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.config import Recipe
from pixelwise.data.batches import Batch, Chance, random_for
from pixelwise.errors import TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.losses.base import LIKELIHOOD
from pixelwise.losses.mean_loss import MeanLoss
from pixelwise.metrics.extra import create_metrics
from pixelwise.metrics.metrics import Metrics
from pixelwise.models.base import SegmentationModel
from pixelwise.models.blocks import batch_normalizations
from pixelwise.models.model_file import MODEL_NAME, save_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.plots import draw_curves
from pixelwise.training.averaging import average_of
from pixelwise.training.checkpoint import Progress, Stateful, load_checkpoint, save_checkpoint
from pixelwise.training.diagnostics.observer import Observer
from pixelwise.training.events import EpochEnded, Listener, Message, StepEnded
from pixelwise.training.interruption import interrupted_when_asked, keep_going
from pixelwise.training.optimizers import (
    build_optimizer,
    encoder_of,
    freeze_encoder,
    set_learning_rate,
)
from pixelwise.training.plan import Plan
from pixelwise.training.run_folder import CURVES_NAME, other_data, write_history
from pixelwise.training.schedules import share_of_peak

CHECKPOINT_EVERY_S = 60.0
"""Seconds between checkpoints within an epoch; a killed run loses at most this much."""

CHECKPOINT_SHARE = 0.02
"""Maximum fraction of the time spent on checkpoints after epochs."""

CURVES_SHARE = 0.02
"""Maximum fraction of the time spent on drawing curves after epochs."""

CURVES_S = 1.0
"""Expected seconds of the first drawing, which imports matplotlib."""

COLLECT_EVERY = 16
"""Steps between reads of the loss from an accelerator, because each read synchronizes."""


class Trainer:
    """Trains one run.

    Args:
        plan: Data, model and recipe.
        folder: The run's folder.
        listener: Called after every step and epoch.
    """

    def __init__(self, plan: Plan, folder: Path, listener: Listener) -> None:
        self.recipe: Recipe = plan.recipe
        self.plan = plan
        self.budget = copy.copy(plan.budget)  # its reserves change during the training
        self.folder = folder
        self.listener = listener
        self.model = plan.model
        self.device = plan.device
        self.batch_normalizations = batch_normalizations(self.model)
        if self.recipe.training.freeze == "encoder":
            freeze_encoder(self.model)
        self.optimizer = build_optimizer(self.model, self.recipe.training)
        self.average = average_of(self.model, self.recipe.training.ema)
        self.progress = Progress(data=plan.dataset.state)
        self.kept_metrics: Metrics | None = None
        self.observer = Observer(plan, folder, listener)
        self._check_stop: Callable[[], None] = keep_going
        self._is_consistent = True
        self._losses: list[tuple[int, Tensor, int]] = []  # step, loss, number of images
        self._collect_every = 1 if self.device.type == "cpu" else COLLECT_EVERY
        self._started = 0.0
        self._saved = 0.0
        self._saved_at = (0, 0)
        self._save_s = 0.0
        self._num_drawn = 0
        self._drawn = 0.0
        self._draw_s = CURVES_S

    @property
    def evaluated(self) -> SegmentationModel:
        """The network to evaluate and save: the average of the weights, if there is one."""
        return self.model if self.average is None else self.average.module

    def _saved_parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {"model": self.model, "optimizer": self.optimizer}
        if self.average is not None:
            parts["average"] = self.average.module
        return parts

    def resume(self) -> None:
        """Restore the state from the run's checkpoint.

        Raises:
            ModelFileError: The checkpoint is missing or unusable.
        """
        data = self.progress.data
        self.progress = load_checkpoint(self.folder, self._saved_parts())
        if self.progress.data != data:
            # Different images or classes were already detected from the run's card.
            raise other_data(self.plan.dataset, self.folder, "files, masks or splits differ")
        if self.budget is not None:
            self.budget.seconds -= self.progress.elapsed_s
            self.budget.validation_s = self.progress.validation_s or self.budget.validation_s
        # A kill between two writes may have left more history rows than the checkpoint covers.
        if self.progress.history and not self.progress.is_done:
            write_history(self.folder, self.progress.history)

    def run(self) -> None:
        """Train to the end; after Ctrl-C, finish the current step and save everything.

        Raises:
            TrainingError: The loss is not finite.
            KeyboardInterrupt: Ctrl-C was pressed; raised after saving.
        """
        self._started = time.perf_counter() - self.progress.elapsed_s
        self._saved = self._drawn = time.perf_counter()
        self._num_drawn = len(self.progress.history)
        self._saved_at = (self.progress.epoch, self.progress.step)
        try:
            if self.progress.step == self.progress.epoch == 0:
                self._save_checkpoint()  # from here on, the run can always be resumed
                self.observer.before_training(self._num_steps())
            with interrupted_when_asked() as self._check_stop:
                while not self.progress.is_done:
                    self._train_epoch()
        except TrainingError:
            with suppress(Exception):  # the error is more important than the curves
                self._draw_curves(is_last=True)
            raise
        except KeyboardInterrupt:
            with interrupted_when_asked():  # an impatient second Ctrl-C waits for the files, too
                self._save_stopped()
            raise

    def _save_stopped(self) -> None:
        """Save a training that Ctrl-C stopped, and say up to where; then draw its curves."""
        if self._is_consistent:  # an unfinished step cannot be saved
            self._save_checkpoint()
        if self.progress.best_epoch is None:
            self._save_model(None)
        epoch, step = self._saved_at
        if not self._is_consistent:
            reached = f"stopped inside a step; saved up to epoch {epoch + 1}, step {step}"
        elif epoch or step:
            reached = "stopped; all progress is saved"
        else:
            reached = "stopped; nothing was trained yet"
        again = f"continue with: pixelwise train --resume --out {shlex.quote(str(self.folder))}"
        self.listener(Message(reached, (again,)))
        with suppress(Exception):  # they are drawn again when the run is resumed
            self._draw_curves(is_last=True)

    def _train_epoch(self) -> None:
        progress, training = self.progress, self.recipe.training
        self.model.train()
        if training.freeze == "encoder":
            encoder_of(self.model).eval()  # its BatchNorm statistics are frozen too
        began, num_images = time.perf_counter(), 0
        for batch in self.plan.batches.epoch(progress.epoch, progress.step):
            self._is_consistent = False
            if progress.epoch == 0:
                self.observer.saw(batch)
            loss = self._train_step(batch)
            progress.step += 1
            self._losses.append((progress.step, loss, len(batch.image)))
            self._is_consistent = True
            num_images += len(batch.image)
            now = time.perf_counter()
            progress.elapsed_s = now - self._started
            # The first loss of an epoch is read at once, so that there is one to show.
            if len(self._losses) >= self._collect_every or not progress.loss_images:
                self._collect_losses()
            self._report_step(num_images / max(now - began, 1e-9))
            self._check_stop()
            if now - self._saved > CHECKPOINT_EVERY_S and not self._is_over():
                self._save_checkpoint()
            if training.minutes is not None and self._is_over():
                break
        self._collect_losses()
        # An epoch that was stopped in its validation is resumed there, without a step.
        seconds = max(time.perf_counter() - began, 1e-9)
        self._end_epoch(num_images / seconds if num_images else math.nan)

    def _train_step(self, batch: Batch) -> Tensor:
        """Do one step and return the mean loss of the batch, on the device."""
        training = self.recipe.training
        set_learning_rate(self.optimizer, self._learning_rate())
        assert training.freeze_batchnorm_from is not None
        if self._fraction() >= training.freeze_batchnorm_from < 1:
            for layer in self.batch_normalizations:
                layer.eval()  # until the next epoch begins; a resumed run does the same
        rng = random_for(Chance.STEP, training.seed, self.progress.epoch, self.progress.step)
        # Dropout uses torch's generator; it is seeded at every step and need not be saved.
        torch.manual_seed(int(rng.integers(2**63)))
        loss = self.plan.step.loss(batch, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, self._num_steps_done() + 1)
        return loss.detach()

    def _collect_losses(self) -> None:
        """Sum the losses; reading them synchronizes with the device, so not at every step."""
        for step, loss, num_images in self._losses:
            self.progress.loss_sum += loss.item() * num_images
            self.progress.loss_images += num_images
            if not math.isfinite(self.progress.loss_sum):
                raise TrainingError(
                    f"the loss {self.recipe.training.loss!r} must be finite. It is not at epoch "
                    f"{self.progress.epoch + 1}, step {step}. Lower the learning rate: "
                    f"`training.learning_rate="
                    f"{(self.recipe.training.learning_rate or 0) / 3:.1g}`"
                )
        self._losses.clear()

    def _fraction(self) -> float:
        """Return the finished fraction of the training, 0 to 1, by time or by steps."""
        training, progress = self.recipe.training, self.progress
        if self.budget is not None:
            return self.budget.fraction(time.perf_counter() - self._started)
        assert training.epochs is not None
        steps = self.plan.batches.steps_per_epoch
        return min(1.0, (progress.epoch * steps + progress.step) / (training.epochs * steps))

    def _num_steps_done(self) -> int:
        return self.progress.epoch * self.plan.batches.steps_per_epoch + self.progress.step

    def _num_steps(self) -> int | None:
        """Return the total number of steps; ``None`` for a budget in minutes."""
        epochs = self.recipe.training.epochs
        return None if epochs is None else epochs * self.plan.batches.steps_per_epoch

    def _is_over(self) -> bool:
        return self._fraction() >= 1.0

    def _learning_rate(self) -> float:
        training = self.recipe.training
        assert training.learning_rate is not None
        share = share_of_peak(training.schedule, self._fraction(), training.warmup)
        return training.learning_rate * share

    def _eta_s(self) -> float | None:
        fraction = self._fraction()
        return self.progress.elapsed_s * (1 / fraction - 1) if fraction > 0 else None

    def _report_step(self, images_per_s: float) -> None:
        progress = self.progress
        self.listener(
            StepEnded(
                step=progress.epoch * self.plan.batches.steps_per_epoch + progress.step,
                epoch=progress.epoch + 1,
                epochs=self.recipe.training.epochs,
                fraction=self._fraction(),
                loss=progress.loss_sum / max(1, progress.loss_images),
                images_per_s=images_per_s,
                eta_s=self._eta_s(),
                mean_iou=progress.history[-1]["val_mean_iou"] if progress.history else None,
            )
        )

    def _end_epoch(self, images_per_s: float) -> None:
        """Validate, keep the best model, and write history, curves and checkpoint."""
        progress, training = self.progress, self.recipe.training
        began = time.perf_counter()
        predictor = Predictor(self.evaluated, self.plan.validation_card, device=self.device)
        mean_loss = MeanLoss(self.plan.step.criterion, self.plan.card.label_mode)
        is_likelihood = training.loss == LIKELIHOOD
        validation = self.plan.validation
        metrics = self.observer.watch_activations(
            lambda: evaluate_samples(
                predictor,
                validation.in_parallel(),  # those that do not fit into memory are decoded again
                len(validation),
                extra=create_metrics(training.metrics),
                on_logits=None if is_likelihood else mean_loss.add,
                on_progress=lambda *_: self._check_stop(),
            ),
            progress.epoch + 1,
        )
        progress.validation_s = time.perf_counter() - began
        if self.budget is not None:
            self.budget.validation_s = progress.validation_s
        assert metrics.loss is not None
        val_loss = metrics.loss if is_likelihood else mean_loss.mean
        rank = {
            "mean_iou": (metrics.mean_iou, -val_loss),
            "loss": (-val_loss, metrics.mean_iou),
            "last": (float(progress.epoch), 0.0),
        }[training.monitor]
        is_best = progress.best is None or rank > tuple(progress.best)
        if is_best:
            self.kept_metrics = metrics
            self._save_model(metrics)
        self._is_consistent = False
        if is_best:
            progress.best, progress.best_epoch = rank, progress.epoch
        progress.elapsed_s = time.perf_counter() - self._started
        row = self._history_row(metrics, val_loss, images_per_s, is_best)
        progress.history.append(row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.loss_sum, progress.loss_images = 0.0, 0
        progress.is_done = self._is_over() or self._is_out_of_patience()
        self._is_consistent = True
        write_history(self.folder, self.progress.history)
        self._draw_curves(is_last=progress.is_done)
        since = time.perf_counter() - self._saved
        if progress.is_done or self._save_s < CHECKPOINT_SHARE * since:
            self._save_checkpoint()
        self.listener(EpochEnded(row, training.epochs, self._eta_s() or 0.0))
        # Patience may have ended the training early; the final checks still run.
        share = 1.0 if progress.is_done else self._fraction()
        self.observer.after_epoch(progress.history, metrics, share)

    def _history_row(
        self, metrics: Metrics, val_loss: float, images_per_s: float, is_best: bool
    ) -> dict[str, Any]:
        progress = self.progress
        row = {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / max(1, progress.loss_images),
            "val_loss": val_loss,
            "val_mean_iou": metrics.mean_iou,
            "val_pixel_accuracy": metrics.pixel_accuracy,
            "learning_rate": self._learning_rate(),
            "images_per_s": images_per_s,
            "elapsed_s": progress.elapsed_s,
            "is_best": is_best,
        }
        return {name: _rounded(value) for name, value in {**row, **metrics.extra}.items()}

    def _is_out_of_patience(self) -> bool:
        patience, best = self.recipe.training.patience, self.progress.best_epoch
        return patience is not None and best is not None and self.progress.epoch - best > patience

    def _save_model(self, metrics: Metrics | None) -> None:
        card = self.plan.card.model_copy(
            update={"metrics": {"split": "val", **metrics.to_json()} if metrics else None}
        )
        save_model_file(self.folder / MODEL_NAME, self.evaluated, card)

    def _save_checkpoint(self) -> None:
        self._collect_losses()
        began = time.perf_counter()
        save_checkpoint(self.folder, self._saved_parts(), self.progress)
        self._saved = time.perf_counter()
        self._saved_at = (self.progress.epoch, self.progress.step)
        self._save_s = self._saved - began

    def _draw_curves(self, *, is_last: bool) -> None:
        """Draw the curves if they are out of date; before the end, only if that is cheap."""
        began = time.perf_counter()
        is_due = is_last or self._draw_s < CURVES_SHARE * (began - self._drawn)
        if self._num_drawn == len(self.progress.history) or not is_due:
            return
        draw_curves(self.progress.history, self.folder / CURVES_NAME)
        self._num_drawn = len(self.progress.history)
        self._drawn = time.perf_counter()
        self._draw_s = self._drawn - began


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
