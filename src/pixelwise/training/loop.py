"""The one training loop: steps, epochs, and after each epoch metrics, pictures and files."""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise.config import Recipe
from pixelwise.data.batches import Batch, Chance, random_for
from pixelwise.errors import TrainingError
from pixelwise.evaluation.evaluate import evaluate_samples
from pixelwise.files import write_text
from pixelwise.metrics.extra import create_metrics
from pixelwise.metrics.metrics import Metrics
from pixelwise.models.blocks import batch_normalizations
from pixelwise.models.model_file import MODEL_NAME, save_model_file
from pixelwise.prediction.predictor import Predictor
from pixelwise.reporting.plots import draw_curves
from pixelwise.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from pixelwise.training.diagnostics.observer import Observer
from pixelwise.training.events import EpochEnded, Listener, Message, StepEnded
from pixelwise.training.plan import Plan
from pixelwise.training.run_folder import CURVES_NAME, HISTORY_NAME, other_data

CHECKPOINT_EVERY_S = 60.0
"""Inside an epoch, a checkpoint is written this often; a killed run loses no more."""

CHECKPOINT_SHARE = 0.02
"""After an epoch, a checkpoint is written unless that would take more of the time than this."""

CURVES_SHARE = 0.02
"""After an epoch, the curves are drawn unless that would take more of the time than this."""

CURVES_S = 1.0
"""What the first drawing is expected to take, which loads matplotlib."""

COLLECT_EVERY = 16
"""On an accelerator, losses are asked once in this many steps: asking makes it wait."""

FINAL_LEARNING_RATE = 0.001
"""The schedule ends at this share of the highest learning rate."""


class Trainer:
    """One run: what it needs, and where it is.

    Args:
        plan: Data, model and filled recipe.
        folder: The run's folder.
        listener: Told of every step and epoch.
    """

    def __init__(self, plan: Plan, folder: Path, listener: Listener) -> None:
        self.recipe: Recipe = plan.recipe
        self.plan = plan
        self.folder = folder
        self.listener = listener
        self.model = plan.model
        self.device = plan.device
        self.batch_normalizations = batch_normalizations(self.model)
        self.optimizer = _optimizer(self.model, self.recipe)
        self.progress = Progress(data=plan.dataset.state)
        self.kept_metrics: Metrics | None = None
        self.observer = Observer(plan, folder, listener)
        self._check_stop: Callable[[], None] = _continue
        self._is_consistent = True
        self._losses: list[tuple[Tensor, int]] = []
        self._started = 0.0
        self._saved = 0.0
        self._save_s = 0.0
        self._num_drawn = 0
        self._drawn = 0.0
        self._draw_s = CURVES_S

    def resume(self) -> None:
        """Go back to the run's checkpoint.

        Raises:
            ModelFileError: There is none, or it cannot be used.
        """
        data = self.progress.data
        self.progress = load_checkpoint(self.folder, self.model, self.optimizer)
        if self.progress.data != data:
            # Of other images or classes the run's card has told already, where there is one.
            raise other_data(self.plan.dataset, self.folder, "files, masks or splits differ")
        if self.plan.budget is not None:
            self.plan.budget.seconds -= self.progress.elapsed_s
        # A kill between two writes may have left more history than the checkpoint knows of.
        if self.progress.history:
            self._write_history()

    def run(self) -> None:
        """Train to the end; after Ctrl-C the step under way is ended and everything is kept.

        Raises:
            TrainingError: The loss is no longer a number.
            KeyboardInterrupt: As it came, after saving.
        """
        self._started = time.perf_counter() - self.progress.elapsed_s
        self._saved = self._drawn = time.perf_counter()
        self._num_drawn = len(self.progress.history)
        try:
            if self.progress.step == self.progress.epoch == 0:
                self._save_checkpoint()  # from here on, every moment can be resumed
                self.observer.before_training(self._num_steps())
            with _stopping_between_steps() as self._check_stop:
                while not self.progress.is_done:
                    self._train_epoch()
        except TrainingError:
            self._draw_curves(is_last=True)
            raise
        except KeyboardInterrupt:
            self._draw_curves(is_last=True)
            if self._is_consistent:  # half a step cannot be resumed: the last checkpoint can
                self._save_checkpoint()
            if self.progress.best_epoch is None:
                self._save_model(None)
            again = f"continue with: pixelwise train --resume --out {self.folder}"
            is_begun = self.progress.step or self.progress.epoch
            reached = "everything reached is kept" if is_begun else "nothing was trained yet"
            self.listener(Message(f"stopped; {reached}", (again,)))
            raise

    def _train_epoch(self) -> None:
        progress, training = self.progress, self.recipe.training
        self.model.train()
        began, num_images = time.perf_counter(), 0
        for batch in self.plan.batches.epoch(progress.epoch, progress.step):
            self._is_consistent = False
            if progress.epoch == 0:
                self.observer.saw(batch)
            self._losses.append((self._train_step(batch), len(batch.image)))
            progress.step += 1
            self._is_consistent = True
            num_images += len(batch.image)
            now = time.perf_counter()
            progress.elapsed_s = now - self._started
            if self.device.type == "cpu" or len(self._losses) >= COLLECT_EVERY:
                self._collect_losses()
            self._report_step(num_images / max(now - began, 1e-9))
            self._check_stop()
            if now - self._saved > CHECKPOINT_EVERY_S and not self._is_over():
                self._save_checkpoint()
            if training.minutes is not None and self._is_over():
                break
        self._collect_losses()
        self._end_epoch(num_images / max(time.perf_counter() - began, 1e-9))

    def _train_step(self, batch: Batch) -> Tensor:
        """One step; the batch's mean loss, still on the device."""
        training = self.recipe.training
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        assert training.freeze_batchnorm_from is not None
        if self._fraction() >= training.freeze_batchnorm_from < 1:
            for layer in self.batch_normalizations:
                layer.eval()  # until the next epoch begins; a resumed run holds the same
        rng = random_for(Chance.STEP, training.seed, self.progress.epoch, self.progress.step)
        # Dropout draws from torch's generator: seeded at every step, it need not be saved.
        torch.manual_seed(int(rng.integers(2**63)))
        loss = self.plan.step.loss(batch, rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _collect_losses(self) -> None:
        """Add up losses; asking the device for them makes it wait, so not at every step."""
        for loss, num_images in self._losses:
            self.progress.loss_sum += loss.item() * num_images
            self.progress.loss_images += num_images
        self._losses.clear()
        if not math.isfinite(self.progress.loss_sum):
            raise TrainingError(
                f"the loss must be a number. It is not, at epoch {self.progress.epoch + 1}, step "
                f"{self.progress.step}. Lower the learning rate: --set training.learning_rate="
                f"{(self.recipe.training.learning_rate or 0) / 3:.1g}"
            )

    def _fraction(self) -> float:
        """Share of the training that is done, 0 to 1: by the clock, or by steps."""
        training, progress = self.recipe.training, self.progress
        if self.plan.budget is not None:
            return self.plan.budget.fraction(time.perf_counter() - self._started)
        assert training.epochs is not None
        steps = self.plan.batches.steps_per_epoch
        return min(1.0, (progress.epoch * steps + progress.step) / (training.epochs * steps))

    def _num_steps(self) -> int | None:
        """Steps of the whole training; ``None`` where the clock decides."""
        epochs = self.recipe.training.epochs
        return None if epochs is None else epochs * self.plan.batches.steps_per_epoch

    def _is_over(self) -> bool:
        return self._fraction() >= 1.0

    def _learning_rate(self) -> float:
        """The learning rate at this step: a linear rise, then half a cosine down, or none."""
        training, fraction = self.recipe.training, self._fraction()
        assert training.learning_rate is not None
        if fraction < training.warmup:
            share = fraction / training.warmup
        elif training.schedule == "constant":
            share = 1.0
        else:
            past = (fraction - training.warmup) / (1 - training.warmup)
            share = 0.5 * (1 + math.cos(math.pi * past))
        return training.learning_rate * max(share, FINAL_LEARNING_RATE)

    def _eta_s(self) -> float | None:
        fraction = self._fraction()
        return self.progress.elapsed_s * (1 / fraction - 1) if fraction > 0 else None

    def _report_step(self, images_per_s: float) -> None:
        progress = self.progress
        history = progress.history
        self.listener(
            StepEnded(
                epoch=progress.epoch + 1,
                epochs=self.recipe.training.epochs,
                fraction=self._fraction(),
                loss=progress.loss_sum / max(1, progress.loss_images),
                images_per_s=images_per_s,
                eta_s=self._eta_s(),
                mean_iou=history[-1]["val_mean_iou"] if history else None,
            )
        )

    def _end_epoch(self, images_per_s: float) -> None:
        """Evaluate, keep the best, write history, curves and checkpoint."""
        progress, training = self.progress, self.recipe.training
        began = time.perf_counter()
        predictor = Predictor(
            self.model,
            self.plan.validation_card,
            device=self.device,
        )
        cache = self.plan.validation
        metrics = self.observer.watch_activations(
            lambda: evaluate_samples(
                predictor,
                iter(cache),
                len(cache),
                extra=create_metrics(training.metrics),
                on_progress=lambda *_: self._check_stop(),
            ),
            progress.epoch + 1,
        )
        self.plan.step.arrange()  # predicting may have laid the weights out otherwise
        progress.validation_s = time.perf_counter() - began
        if self.plan.budget is not None:
            self.plan.budget.validation_s = progress.validation_s
        assert metrics.loss is not None
        rank = {
            "mean_iou": (metrics.mean_iou, -metrics.loss),
            "loss": (-metrics.loss, metrics.mean_iou),
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
        row = self._history_row(metrics, images_per_s, is_best)
        progress.history.append(row)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.loss_sum, progress.loss_images = 0.0, 0
        progress.is_done = self._is_over() or self._is_out_of_patience()
        self._is_consistent = True
        self._write_history()
        self._draw_curves(is_last=progress.is_done)
        since = time.perf_counter() - self._saved
        if progress.is_done or self._save_s < CHECKPOINT_SHARE * since:
            self._save_checkpoint()
        self.listener(EpochEnded(row, training.epochs, self._eta_s() or 0.0))
        # Patience may have ended it early; the end is judged all the same.
        share = 1.0 if progress.is_done else self._fraction()
        self.observer.after_epoch(progress.history, metrics, share)

    def _history_row(self, metrics: Metrics, images_per_s: float, is_best: bool) -> dict[str, Any]:
        progress = self.progress
        row = {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / max(1, progress.loss_images),
            "val_loss": metrics.loss,
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
        save_model_file(self.folder / MODEL_NAME, self.model, card)

    def _save_checkpoint(self) -> None:
        self._collect_losses()
        began = time.perf_counter()
        save_checkpoint(self.folder, self.model, self.optimizer, self.progress)
        self._saved = time.perf_counter()
        self._save_s = self._saved - began

    def _draw_curves(self, *, is_last: bool) -> None:
        """Draw the curves where they are old: before the last time only while that costs little."""
        began = time.perf_counter()
        is_due = is_last or self._draw_s < CURVES_SHARE * (began - self._drawn)
        if self._num_drawn == len(self.progress.history) or not is_due:
            return
        draw_curves(self.progress.history, self.folder / CURVES_NAME)
        self._num_drawn = len(self.progress.history)
        self._drawn = time.perf_counter()
        self._draw_s = self._drawn - began

    def _write_history(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.progress.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.progress.history)
        write_text(self.folder / HISTORY_NAME, text.getvalue())


def _continue() -> None:
    """Nobody has asked to stop."""


@contextmanager
def _stopping_between_steps() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C wait for a place where everything is consistent; a second one does not wait.

    Yields:
        A function to call at such places; it raises ``KeyboardInterrupt`` when asked to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _continue  # only the main thread gets signals
        return
    is_asked = False

    def on_signal(*_: object) -> None:
        nonlocal is_asked
        if is_asked:
            raise KeyboardInterrupt
        is_asked = True

    def check() -> None:
        if is_asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    training = recipe.training
    kinds: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    assert training.learning_rate is not None
    on_known_device = next(model.parameters()).device.type in ("cpu", "cuda")
    return kinds[training.optimizer](
        model.parameters(),
        lr=training.learning_rate,
        betas=training.betas,
        weight_decay=training.weight_decay,
        fused=on_known_device,
    )


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
