"""``pixelwise report``: writes the report pages of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.compare import print_comparison
from pixelwise.cli.console import (
    AsJson,
    DeviceName,
    Imports,
    import_first,
    note,
    print_json,
    print_metrics,
    progress_bar,
    say,
)
from pixelwise.cli.progress import listening


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    data: Annotated[
        str | None,
        typer.Option(help="Current path of the data. [default: as in the recipe]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Page to write for one run, or output folder for several. [default: "
            "RUN/report.html; runs/report-DATA]"
        ),
    ] = None,
    device: DeviceName = "auto",
    imports: Imports = None,
    as_json: AsJson = False,
) -> None:
    """Rewrite the report of a run, or compare several runs on one page. Nothing is trained.

    Runs that are compared must have the same data, splits and classes.
    """
    import_first(imports)
    if len(runs) > 1:
        _side_by_side(runs, data, out, device, as_json)
        return
    from pixelwise.comparison.runs import report_run

    with progress_bar("evaluating") as on_progress:
        written = report_run(runs[0], data=data, out=out, device=device, on_progress=on_progress)
    for line in written.notes:
        note(line)
    if as_json:
        print_json({"page": str(written.page), "split": "val", **written.metrics.to_json()})
        return
    print_metrics(written.metrics)
    say(f"page: {written.page}")


def _side_by_side(
    runs: list[Path], data: str | None, out: Path | None, device: str, as_json: bool
) -> None:
    from pixelwise.comparison.runs import report_runs

    with listening() as listener:
        comparison = report_runs(runs, data=data, out=out, device=device, listener=listener)
    print_comparison(comparison, as_json=as_json)
