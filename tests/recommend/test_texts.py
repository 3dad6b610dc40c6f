"""Item vectors from several sources: scales, templates, later items and words, what is saved, and what is refused."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from temporec import registry
from temporec.config import parse_overrides
from temporec.data.catalog import Catalog
from temporec.data.dataset import build_dataset
from temporec.data.text_encoder import TextEncoder
from temporec.errors import CheckpointError, ColumnError, ConfigError, DataError
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.texts import TextConfig, TextVectors, given_vectors
from temporec.runtime import RunOptions

ITEMS = pl.DataFrame(
    {
        "item": [1, 2, 3, 4],
        "title": ["red lamp", "green lamp", "blue chair", None],
        "categories": [["home", "light"], ["home"], None, []],
        "price": [12.0, 2.5, None, None],
        "image": [[1.0, 0.0, 2.0], None, [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]],
        "sound": [[5.0], [7.0], None, None],
    }
)


class Letters(TextEncoder):
    """Counts of three letters."""

    version = "1"

    @property
    def identity(self) -> str:
        return f"letters:{self.version}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[text.count(letter) for letter in "ael"] for text in texts], dtype=np.float32)


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    registry.names("text_encoder")
    monkeypatch.setitem(registry._entries["text_encoder"], "letters", Letters)
    return


def catalog(items: pl.DataFrame = ITEMS) -> Catalog:
    return Catalog.build(items["item"], items)


def config(*options: str) -> TextConfig:
    """As the command line makes it."""
    return FitConfig.of({"encoder": {"kind": "gru"}}).override(parse_overrides(options)).text


def centred(vectors: np.ndarray) -> bool:
    known = vectors[vectors.any(axis=1)]
    length = np.square(known).sum(axis=1).mean()
    return bool(np.allclose(known.mean(axis=0), 0, atol=1e-6) and np.isclose(length, 1, atol=1e-5))


class TestConfig:
    def test_names_from_the_command_line(self) -> None:
        assert config().encoder == ("tfidf",)
        assert config("text.encoder=tfidf,minilm,given").encoder == ("tfidf", "minilm", "given")
        assert config("text.encoder=[a/b, c]").encoder == ("a/b", "c")
        assert config("text.columns=title,categories").columns == ("title", "categories")

    @pytest.mark.parametrize("template", ["{title}", "{title}. {categories} {price}", "{title} - {title}"])
    def test_templates_from_the_command_line(self, template: str) -> None:
        assert config(f"text.template={template}").template == template

    @pytest.mark.parametrize("encoder", ["", "none,tfidf", "tfidf,tfidf"])
    def test_refused_encoders(self, encoder: str) -> None:
        with pytest.raises(ConfigError, match="encoder"):
            config(f"text.encoder={encoder}")

    @pytest.mark.parametrize("template", ["no column", "{title", "{}", "{title:>3}", "{title!r}"])
    def test_refused_templates(self, template: str) -> None:
        with pytest.raises(ConfigError, match="template"):
            TextConfig.of({"template": template})


class TestFit:
    def test_every_source_has_the_same_weight(self) -> None:
        vectors = TextVectors(config("text.encoder=tfidf,letters,given", "text.dim=5")).fit(catalog())
        assert vectors is not None
        assert vectors.shape == (4, 5 + 3 + 3 + 1)
        assert vectors.dtype == np.float32
        for begin, end in ((0, 5), (5, 8), (8, 11), (11, 12)):
            assert centred(vectors[:, begin:end])

    def test_what_is_missing_is_zero(self) -> None:
        vectors = TextVectors(config("text.encoder=letters,given")).fit(catalog())
        assert vectors is not None
        assert not vectors[3, :3].any()
        assert not vectors[1, 3:6].any()
        assert not vectors[2:, 6].any()
        assert vectors[0, 3:].all()

    def test_columns_are_told_apart_by_their_type(self) -> None:
        both = TextVectors(config("text.encoder=letters,given", "text.columns=title,sound")).fit(catalog())
        only = TextVectors(config("text.encoder=letters,given", "text.columns=sound")).fit(catalog())
        assert both is not None
        assert only is not None
        assert both.shape == only.shape == (4, 4)
        assert not np.array_equal(both, only)  # the words of the categories

    def test_one_item_or_equal_vectors(self) -> None:
        for count in (1, 3):
            items = pl.DataFrame({"item": range(count), "v": [[2.0, 1.0]] * count})
            vectors = TextVectors(config("text.encoder=given")).fit(catalog(items))
            assert vectors is not None
            assert not vectors.any()

    def test_nothing_said(self) -> None:
        bare = catalog(ITEMS.select("item", title=pl.lit("")))
        assert TextVectors(config()).fit(bare) is None
        assert TextVectors(config("text.encoder=none")).fit(catalog()) is None
        with pytest.raises(ConfigError, match=r"text.encoder=letters needs texts"):
            TextVectors(config("text.encoder=letters")).fit(bare)
        with pytest.raises(ConfigError, match=r"text.encoder=given needs a column of vectors"):
            TextVectors(config("text.encoder=given")).fit(bare)
        with pytest.raises(DataError, match="no text vectors"):
            TextVectors(config("text.encoder=none")).transform(["a"])


class TestTransform:
    def test_words_and_later_items_go_the_same_way(self) -> None:
        made = TextVectors(config("text.encoder=tfidf,letters,given", "text.columns=title,image,sound", "text.dim=4"))
        vectors = made.fit(catalog())
        assert made.transform_catalog(catalog()) == pytest.approx(vectors, abs=1e-5)
        later = catalog().extend(pl.DataFrame({"item": [9], "title": ["red lamp"], "image": [[0.0, 3.0, 0.0]]}))
        added = made.transform_catalog(later)[4]
        assert vectors is not None
        assert added[:7] == pytest.approx(vectors[0, :7], abs=1e-5)
        assert added[7:10] == pytest.approx(vectors[2, 7:10], abs=1e-5)
        assert added[10] == 0
        words = made.transform(["red lamp", ""])
        assert words[0, :7] == pytest.approx(vectors[0, :7], abs=1e-5)
        assert not words[:, 7:].any()
        assert not words[1].any()
        assert made.transform([]).shape == (0, 11)

    def test_a_table_without_the_vector_column(self) -> None:
        made = TextVectors(config("text.encoder=letters,given"))
        made.fit(catalog())
        assert not made.transform_catalog(catalog(ITEMS.select("item", "title")))[:, 3:].any()

    def test_another_width_later(self) -> None:
        made = TextVectors(config("text.encoder=given", "text.columns=sound"))
        made.fit(catalog())
        with pytest.raises(DataError, match="'sound' have 3 numbers; the model was fitted with 1"):
            made.transform_catalog(catalog(ITEMS.select("item", sound="image")))


class TestTemplate:
    def texts(self, template: str, items: pl.DataFrame = ITEMS) -> list[str]:
        """What an encoder gets to read."""
        read: list[str] = []

        class Reader(Letters):
            def encode(self, texts: Sequence[str]) -> np.ndarray:
                read.extend(texts)
                return super().encode(texts)

        registry._entries["text_encoder"]["letters"] = Reader
        TextVectors(TextConfig(encoder=("letters",), template=template)).fit(catalog(items))
        return read

    def test_numbers_and_categories(self) -> None:
        template = "{title}. {categories} for {price} {{each}}"
        assert self.texts(template)[:2] == ["red lamp. home light for 12 {each}", "green lamp. home for 2.5 {each}"]

    def test_missing_values(self) -> None:
        assert self.texts("{title}: {price}") == ["red lamp: 12", "green lamp: 2.5", "blue chair:", ""]

    def test_other_types(self) -> None:
        items = pl.DataFrame({"item": [1], "when": ["2024-03-01"], "kind": ["a"], "count": [7]})
        items = items.with_columns(pl.col("when").str.to_date(), pl.col("kind").cast(pl.Categorical))
        assert self.texts("{when} {kind} {count}", items) == ["2024-03-01 a 7"]

    @pytest.mark.parametrize("template", ["{brand}", "{image}"])
    def test_columns_that_give_no_text(self, template: str) -> None:
        with pytest.raises(ColumnError, match=r"no column .* for texts.*title, categories, price"):
            self.texts(template)


class TestGiven:
    @pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Int32, 2)])
    def test_lists_and_arrays(self, dtype: pl.DataType) -> None:
        items = pl.DataFrame({"item": ["a", "b"], "v": pl.Series([[1, 2], None], dtype=dtype)})
        assert given_vectors(catalog(items)).tolist() == [[1, 2], [0, 0]]

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            ([[1.0, 2.0], [1.0]], "one width, here 2: item 'b' differs"),
            ([[1.0, 2.0], []], "one width, here 2: item 'b' differs"),
            ([None, [1.0, float("nan")]], "item 'b' holds NaN"),
            ([None, [1.0, None]], "item 'b' holds NaN"),
            ([[1.0, float("inf")], [1.0, 1.0]], "item 'a' holds NaN"),
            ([None, []], "all are empty"),
        ],
    )
    def test_refused(self, rows: list[list[float] | None], reason: str) -> None:
        items = pl.DataFrame({"item": ["a", "b"], "v": pl.Series(rows, dtype=pl.List(pl.Float64))})
        with pytest.raises(ConfigError, match=reason):
            given_vectors(catalog(items))


class TestSave:
    OPTIONS = ("text.encoder=tfidf,letters,given", "text.dim=4")

    def saved(self, folder: Path) -> TextVectors:
        made = TextVectors(config(*self.OPTIONS))
        made.fit(catalog())
        made.save(folder)
        return made

    def test_the_same_after_load(self, tmp_path: Path) -> None:
        made = self.saved(tmp_path)
        again = TextVectors.load(tmp_path, made.config)
        assert np.array_equal(again.transform_catalog(catalog()), made.transform_catalog(catalog()))
        assert np.array_equal(again.transform(["lamp"]), made.transform(["lamp"]))

    def test_nothing_is_written_where_nothing_was_fitted(self, tmp_path: Path) -> None:
        made = TextVectors(config("text.encoder=none"))
        made.fit(catalog())
        made.save(tmp_path)
        assert not list(tmp_path.iterdir())
        assert not TextVectors.load(tmp_path, made.config).fitted

    def test_another_encoder_under_the_name_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = self.saved(tmp_path)
        monkeypatch.setattr(Letters, "version", "2")
        with pytest.raises(CheckpointError, match=r"'letters' is not the one.*was letters:1 and is now letters:2"):
            TextVectors.load(tmp_path, made.config)

    def test_an_encoder_that_is_gone_hurts_only_where_words_are_needed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = self.saved(tmp_path)
        monkeypatch.delitem(registry._entries["text_encoder"], "letters")
        monkeypatch.delitem(registry._entries["text_encoder"], "huggingface", raising=False)
        again = TextVectors.load(tmp_path, made.config)
        with pytest.raises(ImportError, match="temporec"):
            again.transform(["lamp"])

    def test_of_an_older_version(self, tmp_path: Path) -> None:
        made = TextVectors(config("text.dim=4"))
        vectors = made.fit(catalog())
        made.vectorizer.save(tmp_path)
        assert TextVectors.load(tmp_path, made.config).transform_catalog(catalog()) == pytest.approx(vectors, abs=1e-5)

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 1, "parts": [{"source": "letters"}]}'])
    def test_damaged(self, tmp_path: Path, text: str) -> None:
        made = self.saved(tmp_path)
        (tmp_path / "text_parts.json").write_text(text, encoding="utf-8")
        (tmp_path / "text_parts.safetensors").unlink()
        with pytest.raises(CheckpointError, match="incomplete or damaged"):
            TextVectors.load(tmp_path, made.config)

    def test_newer(self, tmp_path: Path) -> None:
        made = self.saved(tmp_path)
        path = tmp_path / "text_parts.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"format": 99}), encoding="utf-8")
        with pytest.raises(CheckpointError, match="update Temporec"):
            TextVectors.load(tmp_path, made.config)


@pytest.mark.parametrize("fuse", ["start", "add"])
def test_through_fit_and_load(fuse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = pl.DataFrame(
        [(u, 1 + (u + t) % 4, t) for u in range(12) for t in range(4)], ["user", "item", "time"], orient="row"
    )
    options = ["training.epochs=1", "encoder.dim=4", f"fuse={fuse}", "text.encoder=letters,given", "encoder.max_len=4"]
    settings = FitConfig.of({"encoder": {"kind": "gru"}}).override(parse_overrides(options))
    made = fit_recommender(build_dataset(events, ITEMS), settings, RunOptions(precision="fp32")).recommender
    made.save(tmp_path / "m")
    assert Recommender.load(tmp_path / "m").recommend(user=3, k=2) == made.recommend(user=3, k=2)
    monkeypatch.setattr(Letters, "version", "2")
    with pytest.raises(CheckpointError, match="is now letters:2"):
        Recommender.load(tmp_path / "m")
