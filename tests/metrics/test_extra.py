"""Further metrics: names, registration, and what their figures are called."""

import pytest

from pixelwise.errors import ConfigError, UnknownNameError
from pixelwise.metrics.conventions import KerasCounts
from pixelwise.metrics.extra import create_metrics, extra_metrics, figures_of


class Fixed:
    """Gives the figures that it was made with."""

    def __init__(self, name, **figures):
        self.name = name
        self._figures = figures

    def figures(self):
        return self._figures


def test_a_figure_is_called_by_its_metric_unless_it_has_the_same_name():
    metrics = [Fixed("distance", distance=3, worst=9), Fixed("area", worst=2)]
    assert figures_of(metrics) == {"distance": 3.0, "distance_worst": 9.0, "area_worst": 2.0}
    assert figures_of([]) == {}


def test_two_figures_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="'area_mean' twice"):
        figures_of([Fixed("area", mean=1), Fixed("area", mean=2)])


def test_registered_metrics_are_made_for_each_evaluation():
    (first,), (second,) = create_metrics(["keras", "keras"]), create_metrics(["keras"])
    assert isinstance(first, KerasCounts)
    assert first is not second


def test_an_unknown_metric_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'keras'"):
        create_metrics(["kera"])


def test_a_metric_of_the_user_is_known_by_its_registered_name(monkeypatch):
    monkeypatch.setattr(extra_metrics, "_entries", dict(extra_metrics._entries))
    extra_metrics.register("own")(lambda: Fixed("own", own=1))
    assert figures_of(create_metrics(["own"])) == {"own": 1.0}
