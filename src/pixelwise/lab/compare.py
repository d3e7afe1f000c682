"""An article's systems under one budget, on one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pixelwise.data.dataset import open_dataset
from pixelwise.errors import ConfigError
from pixelwise.files import write_text
from pixelwise.lab.catalog import entries_of
from pixelwise.lab.run import LabResult, run_entry
from pixelwise.prediction.costs import latencies_ms
from pixelwise.prediction.predictor import load_model
from pixelwise.reporting.comparison import Compared, draw_comparison
from pixelwise.training.events import Listener, Said, ignore_events

NUM_IMAGES = 5
"""Validation images that every system predicts on the page."""

PAGE_NAME = "comparison.png"


def compare_article(
    article: str,
    *,
    data: Path | str | None = None,
    minutes: float = 5.0,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    listener: Listener = ignore_events,
) -> tuple[list[LabResult], Path]:
    """Train every system of an article for the same time, on the same data, and draw them.

    Args:
        article: ``A1`` to ``A5``, or ``beyond``.
        data: A folder of the kind that the article's systems run on.
        minutes: The budget of each.
        out: The folder to make; ``None`` takes ``runs/lab/compare-ARTICLE``.
        overrides: ``section.key=value`` in place of the articles', the value in YAML.
        listener: Told of what happens.

    Returns:
        The results and the page.

    Raises:
        PixelwiseError: The article, the data or the folder cannot be used.
    """
    entries = entries_of(article)
    folder = out or Path("runs") / "lab" / f"compare-{article.lower()}"
    if (folder / PAGE_NAME).exists():
        raise ConfigError(f"--out must be a new folder. {folder} holds a comparison")
    results = []
    for number, entry in enumerate(entries, start=1):
        listener(Said(f"{number} of {len(entries)}", (f"{entry.name}: {entry.title}",)))
        results.append(
            run_entry(
                entry.name,
                data=data,
                minutes=minutes,
                out=folder / entry.name,
                overrides=overrides,
                listener=listener,
            )
        )
    compared = [_predicted(result, data or "digits") for result in results]
    page = folder / PAGE_NAME
    draw_comparison(compared, f"{article.upper()}, {minutes:g} minutes each", page)
    summary = [
        {**asdict(result), "ms_per_image": entry.ms_per_image}
        for result, entry in zip(results, compared, strict=True)
    ]
    write_text(folder / "comparison.json", json.dumps(summary, indent=2) + "\n")
    return results, page


def _predicted(result: LabResult, data: Path | str) -> Compared:
    """Predict the first validation images, and take the time."""
    predictor = load_model(result.folder)
    trained = predictor.card.data
    dataset = open_dataset(data, split=trained.split, split_seed=trained.split_seed)
    samples = [dataset.load(record) for record in dataset.split("val")[:NUM_IMAGES]]
    (ms_per_image,) = latencies_ms([predictor], [sample.image for sample in samples])
    return Compared(
        name=result.name,
        mean_iou=result.our_figures["mean_iou"],
        parameters=result.parameters,
        gmacs=result.gmacs,
        ms_per_image=ms_per_image,
        per_class=result.per_class,
        class_map=predictor.card.class_map,
        samples=samples,
        probabilities=[predictor.probabilities(sample.image) for sample in samples],
    )
