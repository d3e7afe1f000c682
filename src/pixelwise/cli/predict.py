"""``pixelwise predict``: segments images and writes the predictions to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import AsJson, DeviceName, ModelPath, note, print_json, progress_bar, say
from pixelwise.text import amount


def command(
    model: ModelPath,
    inputs: Annotated[list[Path], typer.Argument(help="Images and folders of images.")],
    out: Annotated[Path, typer.Option(help="Output folder.", show_default=False)],
    save: Annotated[
        list[str] | None,
        typer.Option(
            help="index, overlay, binary or probabilities; may be repeated. [default: index]"
        ),
    ] = None,
    device: DeviceName = "auto",
    engine: Annotated[
        str,
        typer.Option(
            help="auto, torch or openvino. auto starts with torch; if there is enough work, it "
            "tries the others and uses the fastest whose outputs match."
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="float32, as in reported metrics, or bfloat16, which is faster on hardware that "
            "supports it; a few pixels per thousand may differ."
        ),
    ] = "float32",
    as_json: AsJson = False,
) -> None:
    """Segment images of any size; each result has exactly the size of its image.

    With several --save, each kind gets its own folder. An image that cannot be read is reported,
    the others are still segmented, and the exit code is 1. A TIFF or .npy of more than 33 million
    pixels may be larger than memory: its results are TIFF files with its georeference, and the
    same command continues after an interruption.
    """
    from pixelwise.prediction.engines import checked_precision
    from pixelwise.prediction.predict import predict
    from pixelwise.prediction.predictor import load_model

    predictor = load_model(model, device=device, precision=checked_precision(precision))
    with progress_bar("predicting") as on_progress:
        done = predict(
            predictor,
            inputs,
            out,
            save=save or ["index"],
            engine=engine,
            on_progress=on_progress,
            note=note,
        )
    for message in done.failed:
        note(f"error: {message}")
    if as_json:
        print_json({"written": [str(path) for path in done.written], "failed": list(done.failed)})
    else:
        failed = amount(len(done.failed), "image")
        say(f"{out}: {amount(len(done.written), 'file')} written, {failed} failed")
    if done.failed:
        raise typer.Exit(1)
