"""Compares the systems of an article under one budget on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelwise.comparison.compare import PAGE_NAME, compare_runs
from pixelwise.data.dataset import open_as_in
from pixelwise.errors import ConfigError
from pixelwise.lab.catalog import entries_of
from pixelwise.lab.run import LabResult, run_entry
from pixelwise.reporting.comparison_page import Comparison
from pixelwise.text import amount
from pixelwise.training.events import Listener, Message, ignore_events
from pixelwise.training.run_folder import require_run


def compare_article(
    article: str,
    *,
    data: Path | str | None = None,
    minutes: float = 5.0,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    listener: Listener = ignore_events,
) -> tuple[list[LabResult], Comparison]:
    """Train every system of an article for the same time on the same data, and rank them.

    Args:
        article: ``A1`` to ``A5``, or ``beyond``.
        data: A folder with the kind of data that the article uses.
        minutes: Wall-clock budget of each training run.
        out: The folder to create; ``None`` means ``runs/lab/compare-ARTICLE``.
        overrides: ``section.key=value`` that replace entries of the recipes, values in YAML.
        listener: Called with each event.

    Returns:
        The results with the articles' figures, and the ranking; its page is in the folder.

    Raises:
        PixelwiseError: The article, the data or the folder cannot be used.
    """
    entries = entries_of(article)
    folder = out or Path("runs") / "lab" / f"compare-{article.lower()}"
    if (folder / PAGE_NAME).exists():
        raise ConfigError(f"--out must be a new folder. {folder} contains a comparison")
    results = []
    for number, entry in enumerate(entries, start=1):
        listener(Message(f"{number} of {len(entries)}", (f"{entry.name}: {entry.title}",)))
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
    trained = require_run(Path(results[0].folder))
    comparison = compare_runs(
        [Path(result.folder) for result in results],
        open_as_in(trained.data),
        folder,
        budget=f"{article.upper()} with its own recipes, {amount(minutes, 'minute')} each",
        device=trained.training.device,
        listener=listener,
    )
    return results, comparison
