"""Every page, as a person sees it: opened, on a telephone, in the dark, and clicked."""

import operator
import re
import shutil
import sys
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise.comparison.compare as comparison_module
from pixelwise import compare, open_dataset
from pixelwise.doctor import check_data
from pixelwise.metrics.label_quality import Suspect
from pixelwise.reporting.charts import Dot, Line, bar_chart, line_chart, scatter_chart
from pixelwise.reporting.data_check_page import write_data_check_page
from pixelwise.reporting.review_page import write_review_page

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

TELEPHONE, DESK = 360, 1280
"""Widths of a window in CSS pixels."""

LEGIBLE_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3, for text of the usual size."""

MODELS = ("unet-elu(filters=2,depth=2)", "stacked-fcn", "unet-elu(filters=-1)")
CLASSES = ("background", "a-class-with-a-rather-long-name", "dirt")
LONG_NAME = "0123456789abcdef" * 6

PAGES = ("report", "report-of-a-split", "doctor", "comparison", "review")
WITH_CHARTS = ("report", "report-of-a-split", "comparison")


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


def call(*arguments):
    from pixelwise.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pixelwise", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
    assert not exit_info.value.code


def damage(folder):
    """A broken image, and a mask with a value that is no class, under a name of 96 letters."""
    (folder / "val/images/001.png").write_bytes(b"broken")
    mask = np.array(Image.open(folder / "train/masks/000.png"))
    mask[:9, :9] = 77
    for part in ("images", "masks"):
        (folder / f"train/{part}/000.png").rename(folder / f"train/{part}/{LONG_NAME}.png")
    Image.fromarray(mask).save(folder / f"train/masks/{LONG_NAME}.png")


@pytest.fixture(scope="module")
def pages(tmp_path_factory, make_index_dataset):
    """The file of every page: of two training runs, their comparison, a check and a review."""
    folder = tmp_path_factory.mktemp("pages")
    options = {"num_images": 4, "size": (40, 56), "splits": ("train", "val", "test")}
    data, broken = (
        make_index_dataset(folder / name / f"data-{LONG_NAME}", **options)
        for name in ("whole", "broken")
    )
    card = f"classes: [{', '.join(CLASSES)}]\nformat: index-masks\n"
    for root in (data, broken):
        (root / "dataset.yaml").write_text(card)
    damage(broken)
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIXELWISE_CACHE", "off")
        patch.setattr(comparison_module, "peak_memory_mb", lambda *_: 12.5)
        ranking = compare(
            data, MODELS, out=out, epochs=2, device="cpu", overrides=["training.batch_size=2"]
        )
        run = Path(ranking.models[0].runs[0])
        page = run / "report-test.html"
        call("evaluate", run, data, "--split", "test", "--device", "cpu", "--report", page)
        write_data_check_page(check_data(broken), folder / "doctor.html")
        dataset = open_dataset(data)
    records = {record.name: record for record in dataset.records}
    suspects = [
        Suspect(name, (4, 6, 9, 11), given, "dirt", 99, 0.9, 2.0, np.ones((9, 11), bool))
        for name, given in zip(records, CLASSES[:2], strict=False)
    ]
    review = folder / "review.html"
    write_review_page(
        review, suspects, lambda name: dataset.load(records[name]), dataset.class_map,
        title=f"a model on {LONG_NAME}", notes=[f"{LONG_NAME} was left out"],
    )  # fmt: skip
    found = (run / "report.html", run / "report-test.html", folder / "doctor.html",
             Path(ranking.page), review)  # fmt: skip
    return dict(zip(PAGES, found, strict=True))


@pytest.fixture
def complaints():
    """What the opened pages complain of, and what they ask of the network."""
    return []


@pytest.fixture
def opened(browser, pages, complaints):
    """Open a page: (name, width, scheme) -> page. The test fails where it complains."""
    contexts = []

    def listen(page):
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url)
                if not asked.url.startswith(("file:", "data:")) else None)  # fmt: skip

    def open_page(name, width=DESK, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        listen(page)
        page.goto(pages[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_is_shown_and_nothing_is_asked_of_the_network(name, opened):
    widths = opened(name).evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert widths
    assert min(widths) > 0


@pytest.mark.parametrize(("name", "scripts"), [("review", ""), ("report", " script-src")])
def test_a_page_is_not_let_to_the_network_and_runs_only_what_it_has(
    name, scripts, opened, complaints
):
    page = opened(name)
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert ("script-src" in policy) == bool(scripts)
    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => null)")
    assert complaints
    assert all("Content Security Policy" in complaint for complaint in complaints)
    complaints.clear()


@pytest.mark.parametrize("width", [TELEPHONE, DESK])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_window(name, width, opened):
    """Tables and recipes scroll inside themselves."""
    page = opened(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    scrolls = page.evaluate("""
        [...document.querySelectorAll("main *")]
          .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth)
          .filter((one) => getComputedStyle(one).overflowX !== "visible")
          .map((one) => one.className || one.tagName.toLowerCase())
    """)
    assert {one.split()[0] for one in scrolls} <= {"sheet", "pre"}


def blend(front, back):
    """A color (red, green, blue, opacity) over an opaque one."""
    return [front[3] * one + (1 - front[3]) * two for one, two in zip(front, back, strict=False)]


def luminance(color):
    """Relative luminance of sRGB 0..255, by WCAG."""
    shares = np.array(color[:3]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, two):
    dark, light = sorted((luminance(one), luminance(two)))
    return (light + 0.05) / (dark + 0.05)


def channels(words):
    numbers = [float(number) for number in re.findall(r"[\d.]+", words)]
    return [*numbers, 1.0][:4]


COLORS_OF_TEXT = """
    [...document.querySelectorAll("body, main *")]
      .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
      .filter((one) => one.getClientRects().length)
      .map((one) => {
        const grounds = [];
        for (let at = one; at; at = at.parentElement) {
          grounds.push(getComputedStyle(at).backgroundColor);
        }
        const style = getComputedStyle(one);
        return [one.textContent, one.closest("svg") ? style.fill : style.color, grounds];
      })
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_can_be_read_by_day_and_by_night(name, scheme, opened):
    page = opened(name, scheme=scheme)
    ground = channels(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (luminance(ground) < 0.05) == (scheme == "dark")
    texts = page.evaluate(COLORS_OF_TEXT)
    assert len(texts) > 10
    faint = {}
    for text, color, grounds in texts:
        behind = [255.0, 255.0, 255.0]
        for layer in reversed(grounds):
            behind = blend(channels(layer), behind)
        found = contrast(blend(channels(color), behind), behind)
        if found < LEGIBLE_CONTRAST:
            faint[text] = round(found, 2)
    assert faint == {}


LABELS = """
    [...document.querySelectorAll("svg")].map((chart) => {
      const box = (one) => { const b = one.getBoundingClientRect();
                             return [b.left, b.top, b.right, b.bottom]; };
      const labels = [...chart.querySelectorAll("text")].map((one) => [one.textContent, box(one)]);
      return [box(chart.parentElement), labels];
    })
"""


def collisions(page):
    """Pairs of labels that meet, and labels that leave their card."""
    found = []
    for card, labels in page.evaluate(LABELS):
        found += [
            text
            for text, box in labels
            if box[0] < card[0] or box[1] < card[1] or box[2] > card[2] or box[3] > card[3]
        ]
        found += [
            (text, other)
            for place, (text, one) in enumerate(labels)
            for other, two in labels[:place]
            if one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
        ]
    return found


@pytest.mark.parametrize("width", [TELEPHONE, DESK])
@pytest.mark.parametrize("name", WITH_CHARTS)
def test_no_label_of_a_chart_meets_another(name, width, opened):
    page = opened(name, width)
    assert page.locator("svg text").count() > 10
    assert collisions(page) == []
    height = page.evaluate("document.querySelector('svg text').getBoundingClientRect().height")
    assert height > 11  # CSS pixels: smaller than that is not read on a telephone


def crowded_charts():
    rng = np.random.default_rng(0)
    dots = [
        Dot(f"unet-elu(filters={number})", 10 ** rng.uniform(3, 7.5), *heights)
        for number in range(9)
        for height in [rng.uniform(0.7, 0.75)]
        for heights in [(height, (height - 0.05, height + 0.05))]
    ]
    falling = [(float(epoch), 0.0001 / epoch) for epoch in range(1, 1001)]
    return {
        "alike": scatter_chart([Dot(f"model-{n}", 75_000, 0.5) for n in range(6)], "ms", "IoU"),
        "many": scatter_chart(dots, "parameters", "mean IoU"),
        "long": line_chart(
            [Line("training", falling), Line("validation", falling)], "epoch", "loss"
        ),
        "one point": line_chart([Line("training", [(1.0, 0.5)])], "epoch", "risk (error rate)"),
        "bars": bar_chart([(name, 1.0) for name in ("0-1", "1-2", "2-4", "4-8", "8-16", "16+")],
                          "distance to the nearest border, px", "accuracy"),
    }  # fmt: skip


@pytest.mark.parametrize("chart", crowded_charts())
def test_labels_keep_apart_in_a_crowded_chart(chart, opened):
    page = opened("comparison", TELEPHONE)
    page.evaluate("(chart) => { document.querySelector('svg').outerHTML = chart; }",
                  crowded_charts()[chart])  # fmt: skip
    assert collisions(page) == []


def figure_of(text):
    """The number that a cell begins with; ``None`` where it begins with none."""
    found = re.match(r"-?\d+(\.\d+)?", text.replace(",", "").strip())
    return float(found[0]) if found else None


COLUMNS_AFTER_CLICKS = """
    [...document.querySelectorAll("table.sorts")].map((table) =>
      [...table.querySelectorAll("thead th")].map((heading, column) => [1, 2].map(() => {
        heading.querySelector("button").click();
        const sorted = [...table.querySelectorAll("[aria-sort]")];
        return [sorted.map((one) => one === heading && one.getAttribute("aria-sort")),
                [...table.tBodies[0].rows].map((row) => row.cells[column].textContent)];
      })))
"""


@pytest.mark.parametrize("name", WITH_CHARTS)
def test_every_heading_sorts_its_column_and_turns_it_round(name, opened):
    page = opened(name)
    num_columns_of_figures = 0
    for (first, falling), (second, rising) in chain(*page.evaluate(COLUMNS_AFTER_CLICKS)):
        assert (first, second) == (["descending"], ["ascending"])
        assert sorted(falling) == sorted(rising)
        figures = [figure_of(text) for text in rising]
        if figures == [None] * len(figures):
            assert falling == rising[::-1]
            continue
        num_columns_of_figures += 1
        for texts, is_in_order in ((falling, operator.ge), (rising, operator.le)):
            figures = [figure_of(text) for text in texts]
            known = [-np.inf if figure is None else figure for figure in figures]
            assert all(is_in_order(one, two) for one, two in pairwise(known))
    assert num_columns_of_figures > 5
    unseen = page.locator("table.sorts button").evaluate_all(
        "(buttons) => buttons.filter((one) => one.clientWidth * one.clientHeight === 0).length"
    )
    assert unseen == 0


def test_figures_are_sorted_by_value_and_names_by_the_numbers_in_them(opened):
    page = opened("report")
    table = page.locator("table.sorts").first
    texts = {"class-10": "9.5", "class-2": "1,200", "class-1": "\N{EN DASH}"}
    table.evaluate(
        """(table, texts) => { table.tBodies[0].innerHTML = Object.entries(texts)
            .map(([name, figure]) => `<tr><td>${name}</td><td>${figure}</td></tr>`).join(""); }""",
        texts,
    )

    def names_after_click(column):
        table.locator("thead button").nth(column).click()
        return table.locator("tbody td:first-child").all_inner_texts()

    assert names_after_click(1) == ["class-2", "class-10", "class-1"]
    assert names_after_click(1) == ["class-1", "class-10", "class-2"]
    assert names_after_click(0) == ["class-10", "class-2", "class-1"]


@pytest.mark.parametrize("width", [TELEPHONE, DESK])
@pytest.mark.parametrize("name", WITH_CHARTS)
def test_a_picture_opens_at_full_resolution_and_closes_again(name, width, opened):
    page = opened(name, width)
    picture, dialog = page.locator("img.zooms").first, page.locator("dialog")
    own_px = picture.evaluate("(image) => image.naturalWidth")
    assert not dialog.is_visible()
    picture.click()
    assert dialog.is_visible()
    shown = dialog.locator("img")
    assert shown.get_attribute("src") == picture.get_attribute("src")
    assert shown.evaluate("(image) => image.naturalWidth") == own_px
    drawn_px = shown.evaluate("(image) => image.getBoundingClientRect().width")
    assert drawn_px >= own_px
    assert drawn_px % own_px == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown.click()
    assert not dialog.is_visible()
    picture.press("Enter")
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_a_long_caption_of_the_doctor_is_cut_after_three_lines(opened):
    page = opened("doctor", TELEPHONE)
    caption = page.locator("figcaption").first
    caption.evaluate("(one) => { one.textContent = 'a caption of many words '.repeat(20); }")
    shown, whole = caption.evaluate("(one) => [one.clientHeight, one.scrollHeight]")
    line = caption.evaluate("(one) => parseFloat(getComputedStyle(one).lineHeight)")
    assert whole > 10 * line
    assert shown == pytest.approx(3 * line, abs=1)
