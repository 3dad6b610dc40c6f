"""What every registered encoder must do."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from temporec import registry
from temporec.encoders.base import State, Steps, TemporalEncoder

B, T, D, WINDOW = 4, 12, 16, 8
ENCODERS = registry.names("encoder")
RECURRENT = ("gru", "lstm", "rnn")
USES_TIME: dict[str, dict[str, object]] = {"hstu": {}, "transformer": {"time_bias": True}}


@cache
def tiny_language_model() -> str:
    """A folder with a random Llama of two layers; without transformers and peft, what needs it is skipped."""
    transformers = pytest.importorskip("transformers", reason="the encoder llm needs transformers")
    pytest.importorskip("peft", reason="the encoder llm needs peft for LoRA")
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2,
    )  # fmt: skip
    folder = tempfile.mkdtemp(prefix="tiny-llama-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    transformers.LlamaModel(config).save_pretrained(folder)
    return folder


def build(name: str, **options: object) -> TemporalEncoder:
    """An encoder with more than its start values, so that no bias is zero by chance."""
    cls = registry.get("encoder", name)
    if name == "llm":
        options["model"] = tiny_language_model()
    torch.manual_seed(0)
    encoder: TemporalEncoder = cls(cls.Config.of({"dim": D, "layers": 2, "max_len": WINDOW, **options}))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


def steps(length: int = T, seed: int = 1, batch: int = B) -> Steps:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, D, generator=draw)
    dt = torch.randint(0, 10**6, (batch, length), generator=draw).float()
    dt[:, 0] = 0.0
    return Steps(x, dt, torch.full((batch,), length))


def one_by_one(encoder: TemporalEncoder, events: Steps) -> tuple[Tensor, State]:
    state, hidden = encoder.initial_state(len(events.x)), []
    for t in range(events.x.shape[1]):
        h, state = encoder.step(events.x[:, t], events.dt[:, t], state)
        hidden.append(h)
    return torch.stack(hidden, dim=1), state


def padded(events: Steps, pads: int) -> Steps:
    x = torch.cat([events.x, torch.zeros(len(events.x), pads, D)], dim=1)
    dt = torch.cat([events.dt, torch.zeros(len(events.dt), pads)], dim=1)
    return Steps(x, dt, events.lengths)


def declared() -> list[tuple[str, dict[str, object]]]:
    """Every encoder with its defaults, then what an option makes another way of computing."""
    return [(name, {}) for name in ENCODERS] + [(name, options) for name, options in USES_TIME.items() if options]


@pytest.mark.parametrize(("name", "options"), declared())
class TestEncoderContract:
    @torch.no_grad()
    def test_shape(self, name: str, options: dict[str, object]) -> None:
        hidden = build(name, **options)(steps())
        assert hidden.shape == (B, T, D)
        assert bool(torch.isfinite(hidden).all())

    @pytest.mark.parametrize("t", [0, 5, T - 2])
    @torch.no_grad()
    def test_future_cannot_leak(self, name: str, options: dict[str, object], t: int) -> None:
        encoder, events = build(name, **options), steps()
        changed = Steps(events.x.clone(), events.dt.clone(), events.lengths)
        changed.x[:, t + 1 :] = 7.0
        changed.dt[:, t + 1 :] = 1.0
        before, after = encoder(events), encoder(changed)
        assert torch.equal(before[:, : t + 1], after[:, : t + 1])
        assert not torch.equal(before[:, t + 1 :], after[:, t + 1 :])

    def test_no_gradient_comes_from_the_future(self, name: str, options: dict[str, object]) -> None:
        events = steps()
        events.x.requires_grad_()
        build(name, **options)(events)[:, 4].square().sum().backward()
        assert events.x.grad is not None
        assert float(events.x.grad[:, 5:].abs().max()) == 0.0
        assert float(events.x.grad[:, 4].abs().min()) > 0.0

    @pytest.mark.parametrize(("batch", "length"), [(B, T), (1, 1), (3, 1)])
    @torch.no_grad()
    def test_padding_is_invisible(self, name: str, options: dict[str, object], batch: int, length: int) -> None:
        encoder, events = build(name, **options), steps(length, batch=batch)
        for pads in (1, 50):
            plain, long = encoder(events), encoder(padded(events, pads))[:, :length]
            if name in RECURRENT:
                assert torch.equal(plain, long)
            torch.testing.assert_close(plain, long, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("length", [1, WINDOW, WINDOW + 1, 3 * WINDOW + 2])
    @torch.no_grad()
    def test_step_equals_forward(self, name: str, options: dict[str, object], length: int) -> None:
        encoder, events = build(name, **options), steps(length)
        torch.testing.assert_close(one_by_one(encoder, events)[0], encoder(events), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("lengths", [(3 * WINDOW + 2,), (1, WINDOW + 1), (WINDOW + 3, 2, 1)])
    @torch.no_grad()
    def test_advance_equals_forward(self, name: str, options: dict[str, object], lengths: tuple[int, ...]) -> None:
        encoder, events = build(name, **options), steps(sum(lengths))
        state, begin = encoder.initial_state(B), 0
        whole = encoder(events)
        for length in lengths:
            part = slice(begin, begin := begin + length)
            hidden, state = encoder.advance(events.x[:, part], events.dt[:, part], state)
            torch.testing.assert_close(hidden, whole[:, begin - 1], rtol=1e-5, atol=1e-5)

    @torch.no_grad()
    def test_no_event_beyond_the_receptive_field_counts(self, name: str, options: dict[str, object]) -> None:
        encoder, events = build(name, **options), steps(3 * WINDOW + 2)
        if (field := encoder.config.receptive_field) is None:
            pytest.skip(f"all events count for {name}")
        last = Steps(events.x[:, -field:], events.dt[:, -field:], events.lengths - (3 * WINDOW + 2 - field))
        torch.testing.assert_close(encoder(last)[:, -1], encoder(events)[:, -1], rtol=1e-5, atol=1e-5)

    @torch.no_grad()
    def test_states_can_be_stacked_and_picked(self, name: str, options: dict[str, object]) -> None:
        """Users of unequal history lengths meet in one batch; each goes on as if alone."""
        encoder, events = build(name, **options), steps(WINDOW + 3)
        alone = [Steps(events.x[i : i + 1], events.dt[i : i + 1], events.lengths[:1]) for i in range(B)]
        states = [one_by_one(encoder, Steps(a.x[:, : 2 + 3 * i], a.dt, a.lengths))[1] for i, a in enumerate(alone)]
        assert all(len(value) == 1 for state in states for value in state.values())
        stacked = {key: torch.cat([state[key] for state in states]) for key in states[0]}
        x, dt = torch.randn(B, D), torch.tensor([5.0, 60.0, 0.0, 86400.0])
        together, after = encoder.step(x, dt, stacked)
        for i in reversed(range(B)):
            single, _ = encoder.step(x[i : i + 1], dt[i : i + 1], states[i])
            torch.testing.assert_close(together[i : i + 1], single, rtol=1e-5, atol=1e-5)
        assert all(len(value) == B for value in after.values())

    @torch.no_grad()
    def test_step_leaves_the_given_state_alone(self, name: str, options: dict[str, object]) -> None:
        encoder, events = build(name, **options), steps()
        _, state = one_by_one(encoder, events)
        kept = {key: value.clone() for key, value in state.items()}
        encoder.step(events.x[:, 0], events.dt[:, 1], state)
        assert all(torch.equal(state[key], value) for key, value in kept.items())

    def test_gradient_reaches_every_parameter(self, name: str, options: dict[str, object]) -> None:
        encoder = build(name, **options).train()
        if not list(encoder.parameters()):
            pytest.skip(f"{name} has no parameters")
        encoder(steps(2 * T)).square().sum().backward()
        dead = [key for key, value in encoder.named_parameters() if value.grad is None or not value.grad.abs().max()]
        assert dead == []

    def test_config_round_trip(self, name: str, options: dict[str, object]) -> None:
        config = registry.get("encoder", name).Config.of({"dim": 32, "max_len": 7, **options})
        assert type(config).of(config.to_dict()) == config
        assert type(config).model_validate_json(config.to_json()) == config
        assert config.kind == name

    def test_same_seed_same_numbers(self, name: str, options: dict[str, object]) -> None:
        def train_once() -> Tensor:
            encoder = build(name, dropout=0.3, **options).train()
            torch.manual_seed(5)
            hidden = encoder(steps())
            assert isinstance(hidden, Tensor)
            return hidden

        assert torch.equal(train_once(), train_once())

    @torch.no_grad()
    def test_order_matters_except_for_the_mean(self, name: str, options: dict[str, object]) -> None:
        encoder, events = build(name, **options), steps(6)
        back = Steps(events.x.flip(1), torch.zeros_like(events.dt), events.lengths)
        there = Steps(events.x, torch.zeros_like(events.dt), events.lengths)
        same = torch.allclose(encoder(there)[:, -1] - there.x[:, -1], encoder(back)[:, -1] - back.x[:, -1], atol=1e-4)
        assert not same

    @torch.no_grad()
    def test_time_gaps_are_felt_where_declared(self, name: str, options: dict[str, object]) -> None:
        encoder, events = build(name, **options), steps()
        slow = Steps(events.x, events.dt * 50.0, events.lengths)
        felt = not torch.allclose(encoder(events), encoder(slow), atol=1e-6)
        assert felt == (USES_TIME.get(name) == options)

    @torch.no_grad()
    def test_runs_in_bf16(self, name: str, options: dict[str, object]) -> None:
        """Under autocast, and with bf16 weights: shapes, types and causality of state; accuracy is bf16's own."""
        if name == "lstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            pytest.skip("torch's bf16 LSTM needs a CPU with AVX-512")
        encoder, events = build(name, **options), steps(3, batch=2)
        exact = encoder(events)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, (stepped, _) = encoder(events), one_by_one(encoder, events)
        torch.testing.assert_close(mixed.float(), exact, rtol=0.1, atol=0.2)
        torch.testing.assert_close(stepped.float(), exact, rtol=0.1, atol=0.2)
        small = encoder.to(torch.bfloat16)
        half = Steps(events.x.bfloat16(), events.dt, events.lengths)
        assert small(half).dtype == torch.bfloat16
        torch.testing.assert_close(small(half).float(), exact, rtol=0.1, atol=0.2)
        torch.testing.assert_close(one_by_one(small, half)[0].float(), exact, rtol=0.1, atol=0.2)


def test_every_encoder_has_its_line_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "encoders.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in ENCODERS if f"| `{name}` |" not in text] == []
