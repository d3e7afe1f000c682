import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.config import (
    AugmentationRecipe,
    DataRecipe,
    ModelRecipe,
    Recipe,
    TrainingRecipe,
    load_recipe,
)
from pixelwise.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_an_empty_recipe_is_the_default(tmp_path):
    assert load_recipe() == load_recipe(write(tmp_path, "")) == Recipe()


EMPTY_SECTIONS = [*Recipe().sections(), "model: {arguments: }\ndata", "data: {ignore: }\nmodel"]


@pytest.mark.parametrize("section", EMPTY_SECTIONS)
@pytest.mark.parametrize("nothing", ["", " ~", " # commented out", " {}"])
def test_an_empty_section_is_the_default(tmp_path, section, nothing):
    assert load_recipe(write(tmp_path, f"{section}:{nothing}\n")) == Recipe()


def test_imports_are_kept_and_none_are_not_mentioned(tmp_path):
    recipe = load_recipe(write(tmp_path, "imports: [my_nets, my.losses]\n"))
    assert recipe.imports == ("my_nets", "my.losses")
    assert yaml.safe_load(recipe.to_yaml())["imports"] == ["my_nets", "my.losses"]
    assert load_recipe(write(tmp_path, "imports:\n")) == Recipe()
    assert "imports" not in Recipe().to_yaml()


def test_imports_that_are_no_list_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"imports must be a list. Got 'my_nets'"):
        load_recipe(write(tmp_path, "imports: my_nets\n"))


def test_an_empty_section_beside_others_changes_nothing_of_them(tmp_path):
    path = write(tmp_path, "training:\nmodel: {name: unet}\naugmentation:\ndata:\n")
    recipe = load_recipe(path, ["training.epochs=4"])
    assert (recipe.model.name, recipe.training.epochs) == ("unet", 4)
    assert recipe.data == DataRecipe()


def test_none_stays_a_choice_where_it_is_one(tmp_path):
    path = write(tmp_path, "training: {clip_norm: }\n")
    assert load_recipe(path).training.clip_norm is None
    with pytest.raises(ConfigError, match=r"training\.seed must be a whole number"):
        load_recipe(write(tmp_path, "training: {seed: }\n"))


def test_a_recipe_and_overrides_are_merged(tmp_path):
    path = write(tmp_path, "training: {epochs: 5, seed: 3}\nmodel: {name: unet}\n")
    recipe = load_recipe(path, ["training.epochs=20", "data.ignore=[11, 12]"])
    assert (recipe.training.epochs, recipe.training.seed) == (20, 3)
    assert recipe.model.name == "unet"
    assert recipe.data.ignore == (11, 12)


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.learning_rate=3e-4", "training", "learning_rate", 3e-4),
        ("training.size=[64, 48]", "training", "size", (64, 48)),
        ("training.clip_norm=null", "training", "clip_norm", None),
        ("augmentation.scale=[0.5, 2]", "augmentation", "scale", (0.5, 2.0)),
        ("data.path=a=b", "data", "path", "a=b"),
        ("model.arguments.dropout=0.5", "model", "arguments", {"dropout": 0.5}),
    ],
)
def test_overrides_hold_yaml_values(override, section, key, value):
    assert getattr(getattr(load_recipe(None, [override]), section), key) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", r"training\.epoch must be a known key\. Did you mean 'epochs'"),
        ("trainin.epochs=3", r"trainin must be a known key\. Did you mean 'training'"),
        ("training.zzz=3", r"training\.zzz must be a known key\. Known: epochs, minutes"),
        ("training.epochs=0", r"training\.epochs must be greater than or equal to 1\. Got 0"),
        ("training.epochs=many", r"training\.epochs must be a whole number\. Got 'many'"),
        ("training.freeze=all", r"'none' or 'encoder'\. Got 'all'"),
        ("training.size=[0, 4]", r"training\.size\.0.* Got 0"),
        ("training.epochs", r"`overrides` must be section\.key=value\. Got 'training\.epochs'"),
        ("epochs=3", r"`overrides` must be section\.key=value\. Got 'epochs=3'"),
        ("training.=3", r"`overrides` must be section\.key=value"),
        ("training.size=[1,", r"YAML"),
    ],
)
def test_a_wrong_override_is_refused_with_advice(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(None, [override])


def test_an_override_below_a_value_is_refused(tmp_path):
    path = write(tmp_path, "training: {size: [4, 4]}\n")
    with pytest.raises(ConfigError, match=r"size must be a section .*Got \[4, 4\]"):
        load_recipe(path, ["training.size.height=3"])
    path = write(tmp_path, "training: 5\n")
    with pytest.raises(ConfigError, match=r"training must be a section .*Got 5"):
        load_recipe(path, ["training.epochs=3"])


@pytest.mark.parametrize(
    "content", [b"", b"- 1\n- 2\n", b"a: [", b"\xff\xfe\x00", b"5", b"!!python/name:os.system x"]
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    if not content:
        assert load_recipe(path) == Recipe()
        return
    with pytest.raises(ConfigError, match=r"recipe\.yaml must") as refused:
        load_recipe(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "entry",
    [
        "rotation=181", "rotation=-1", "hue=0.6", "saturation=1.5", "blur=2", "blur=[2, 1]",
        "blur=[-1, 1]", "noise=-0.1", "noise=.inf", "elastic=.nan", "elastic=-3", "rotatoin=3",
    ],
)  # fmt: skip
def test_an_augmentation_out_of_its_range_is_refused(entry):
    with pytest.raises(ConfigError, match=entry.partition("=")[0]):
        load_recipe(overrides=[f"augmentation.{entry}"])


def test_a_missing_recipe_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml must be a readable YAML file"):
        load_recipe(tmp_path / "nothing.yaml")


def maybe(strategy):
    return st.none() | strategy


counts = st.integers(1, 10**6)
shares = st.floats(0.001, 0.999)
recipes = st.builds(
    Recipe,
    data=st.builds(
        DataRecipe,
        path=maybe(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))),
        split=maybe(st.sampled_from(["70/15/15", "70/30"])),
        split_seed=st.integers(0, 2**31),
        ignore=st.lists(st.integers(-5, 65535), max_size=3).map(tuple),
        scale=maybe(shares),
        normalization=st.sampled_from(["dataset", "range"]),
    ),
    model=st.builds(
        ModelRecipe,
        name=st.sampled_from(["unet", "on", "1e3", "null"]),
        arguments=st.dictionaries(st.sampled_from(["dropout", "width"]), shares | counts),
    ),
    training=st.builds(
        TrainingRecipe,
        epochs=maybe(counts),
        minutes=maybe(shares),
        size=maybe(st.tuples(counts, counts)),
        learning_rate=maybe(st.floats(1e-9, 10)),
        betas=st.tuples(shares, shares),
        precision=maybe(st.sampled_from(["float32", "bfloat16"])),
    ),
    augmentation=st.builds(
        AugmentationRecipe,
        orientation=maybe(st.sampled_from(["fixed", "free"])),
        scale=maybe(st.tuples(shares, shares).map(sorted).map(tuple)),
        contrast=maybe(shares),
        rotation=maybe(st.floats(0, 180)),
        blur=maybe(st.tuples(shares, shares).map(sorted).map(tuple)),
    ),
)


@settings(max_examples=40, deadline=None)
@given(recipe=recipes)
def test_a_recipe_survives_the_way_through_yaml(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipes") / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe
    assert list(yaml.safe_load(path.read_text())) == ["data", "model", "training", "augmentation"]


WRONG = [None, True, -1, 0, 1.5, float("nan"), "text", "", [], [-1, 2], ["a"], [1, 2, 3], [[1]],
         {}, {"a": 1}, {1: 2}, {"shortest_side": -1}, {"letterbox": [1]}, b"x", [{}]]  # fmt: skip
INTERNAL = re.compile(
    r"instance of|tuple|dict|<class|NonNegative|constrained|literal\[|Input|Annotated|parse|valid"
)
KEYS = [(section, key) for section, keys in Recipe().sections().items() for key in keys]


@pytest.mark.parametrize(("section", "key"), [(section, None) for section in Recipe().sections()])
@pytest.mark.parametrize("wrong", [5, "text", [1], True])
def test_a_section_that_is_none_is_refused_in_plain_words(section, key, wrong):
    with pytest.raises(ConfigError, match=rf"recipe: {section} must hold keys and values. Got"):
        load_recipe({section: wrong})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_no_error_of_a_recipe_names_a_type_of_python(section, key):
    messages = []
    for wrong in WRONG:
        try:
            load_recipe({section: {key: wrong}})
        except ConfigError as error:
            messages.append(str(error))
    assert messages or key == "arguments"
    for message in messages:
        place, _, rule = message.partition(f"{section}.{key}")
        assert place == "recipe: "
        assert not INTERNAL.search(rule.partition("Got")[0])
        assert "\n" not in message
