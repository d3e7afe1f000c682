"""No verb asks the network for anything, unless a download was asked for."""

import os
import subprocess
import sys

import pytest

GUARDED = """
import os, sys
asked = []
def watch(event, words):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        asked.append(event)
        raise OSError(f"the network was asked: {event} {words}")
sys.addaudithook(watch)
import socket
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError as error:
    assert "was asked" in str(error)  # the guard works
asked.clear()
from pixelwise.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["pixelwise", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, line
    assert not asked, line
print("all done")
"""

LINES = """\
models
data digits digits --train 6 --val 3 --height 40 --width 40
data check digits --report check.html
data show digits --out show.png
data split digits --redraw --out card.yaml
data convert digits copy --to class-masks
train digits --model stacked-fcn --epochs 1 --out run
evaluate run digits --report evaluation.html
predict run digits/val/images --out masks --save overlay
review run digits --out found
report run --out again.html
compare digits --models stacked-fcn,unet-elu(filters=4,depth=2) --epochs 1 --out both
inspect run
lab list
"""


@pytest.mark.slow
def test_no_verb_opens_a_connection(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", GUARDED],
        cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path / "home")}, input=LINES,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("all done\n")
    pages = sorted(path.name for path in tmp_path.rglob("*.html"))
    assert {"report.html", "evaluation.html", "check.html", "comparison.html"} <= set(pages)
