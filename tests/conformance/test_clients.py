"""Clients beside transformers: what they load of what shardctl writes, and what they make of shards
where they read one file.

All but Accelerate are the group `clients` of pyproject.toml.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.program import call_cli, run_cli

if TYPE_CHECKING:
    import torch

pytestmark = [
    pytest.mark.slow,  # importing the clients alone takes many seconds
    pytest.mark.filterwarnings("ignore"),  # those of the clients are not ours to fix
]


def client(name: str) -> Any:
    """A client's module; the test is skipped where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip("needs the clients of the group `clients`")


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Two state dicts have the same names and elements."""
    import torch

    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def codes(directory: Path) -> list[tuple[str, str]]:
    """What `verify` finds, as codes and messages."""
    found = json.loads(run_cli("verify", directory, "--json").stdout)
    return [(finding["code"], finding["message"]) for finding in found["findings"]]


def assert_warned(directory: Path, name: str) -> None:
    """`verify` says that this client does not read the set."""
    ((code, message),) = codes(directory)
    assert code == "client-one-file"
    assert message.startswith(name)


class TestPeft:
    """Adapters of PEFT."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Path:
        """A directory with a LoRA adapter of a small Llama, of random weights."""
        peft = client("peft")
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        peft.get_peft_model(self.base(), config).save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    def base(self) -> Any:
        """The model that the adapter is of."""
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
        return LlamaForCausalLM(config)

    def weights(self, directory: Path) -> dict[str, torch.Tensor]:
        """The adapter as PEFT loads it into the model."""
        peft = client("peft")
        model = peft.PeftModel.from_pretrained(self.base(), str(directory))
        return dict(peft.get_peft_model_state_dict(model))

    def test_an_adapter_loads_in_both_formats(self, adapter: Path, tmp_path: Path) -> None:
        """Converted to `.bin` and back, an adapter keeps its name, and PEFT loads it equal."""
        expected = self.weights(adapter)
        call_cli("reshard", adapter, tmp_path / "bin", "--to", "bin", "-q")
        call_cli("reshard", tmp_path / "bin", tmp_path / "back", "--to", "safetensors", "-q")
        assert (tmp_path / "bin" / "adapter_model.bin").is_file()
        for directory in (tmp_path / "bin", tmp_path / "back"):
            assert_equal(self.weights(directory), expected)

    def test_shards_of_an_adapter_do_not_load(self, adapter: Path, tmp_path: Path) -> None:
        """PEFT takes the directory of an adapter in shards for a name on the hub; the writer and
        `verify` say so.
        """
        done = run_cli("split", adapter, tmp_path / "out", "--num-shards", 2)
        assert "note: PEFT reads one weights file" in done.stderr
        assert_warned(tmp_path / "out", "PEFT")
        with pytest.raises(ValueError, match="Repo id"):
            self.weights(tmp_path / "out")


class TestDiffusers:
    """Models and LoRA weights of diffusers."""

    @pytest.fixture
    def unet(self, tmp_path: Path) -> Path:
        """A directory with a small UNet of random weights."""
        model = client("diffusers").UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )
        model.save_pretrained(tmp_path / "unet")
        return tmp_path / "unet"

    def weights(self, directory: Path, **options: str) -> dict[str, torch.Tensor]:
        """The model as diffusers loads it."""
        model = client("diffusers").UNet2DModel.from_pretrained(directory, **options)
        return dict(model.state_dict())

    def test_shards_of_a_model_load(self, unet: Path, tmp_path: Path) -> None:
        """A model in shards keeps its stem and loads equal, and `verify` warns of nothing."""
        expected = self.weights(unet)
        call_cli("split", unet, tmp_path / "out", "--num-shards", 3, "-q")
        assert (tmp_path / "out" / "diffusion_pytorch_model.safetensors.index.json").is_file()
        assert codes(tmp_path / "out") == []
        assert_equal(self.weights(tmp_path / "out"), expected)

    def test_a_variant_is_written_beside_a_model(self, unet: Path, tmp_path: Path) -> None:
        """A variant goes into the directory of the plain weights, and diffusers loads either."""
        expected = self.weights(unet)
        out = tmp_path / "out"
        call_cli("split", unet, out, "--num-shards", 2, "-q")
        call_cli("split", unet, out, "--num-shards", 2, "--variant", "fp16", "-q")
        assert_equal(self.weights(out), expected)
        assert_equal(self.weights(out, variant="fp16"), expected)

    def test_one_shard_of_lora_weights_is_loaded(self, tmp_path: Path) -> None:
        """Diffusers loads one of the shards of LoRA weights, the writer and `verify` say so, and
        the merged file is loaded whole.
        """
        import torch
        from safetensors.torch import save_file

        mixin = client("diffusers.loaders").StableDiffusionLoraLoaderMixin
        layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
        expected = {f"{layer}.lora.{part}.weight": torch.randn(4, 4) for part in ("down", "up")}
        source = tmp_path / "lora"
        source.mkdir()
        save_file(expected, source / "pytorch_lora_weights.safetensors", {"format": "pt"})
        whole, _ = mixin.lora_state_dict(str(source))
        done = run_cli("split", source, tmp_path / "out", "--num-shards", 2)
        assert "note: diffusers reads one weights file" in done.stderr
        assert_warned(tmp_path / "out", "diffusers")
        part, _ = mixin.lora_state_dict(str(tmp_path / "out"))
        assert len(part) < len(whole)
        call_cli("merge", tmp_path / "out", tmp_path / "back", "-q")
        again, _ = mixin.lora_state_dict(str(tmp_path / "back"))
        assert_equal(dict(again), dict(whole))


class TestDiffusersPipelines:
    """Pipelines of diffusers, with a text encoder of transformers."""

    @pytest.fixture
    def pipeline(self, tmp_path: Path) -> Path:
        """A directory with a small pipeline of random weights, without a tokenizer."""
        from transformers import CLIPTextConfig, CLIPTextModel

        diffusers = client("diffusers")
        unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )
        vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
        config = CLIPTextConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
        )
        diffusers.StableDiffusionPipeline(
            vae=vae,
            text_encoder=CLIPTextModel(config),
            tokenizer=None,
            unet=unet,
            scheduler=diffusers.DDIMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(tmp_path / "pipeline")
        return tmp_path / "pipeline"

    def weights(self, directory: Path, **options: Any) -> dict[str, torch.Tensor]:
        """The weights of all components as diffusers loads them."""
        loaded = client("diffusers").StableDiffusionPipeline.from_pretrained(
            directory, tokenizer=None, safety_checker=None, feature_extractor=None, **options
        )
        assert loaded.scheduler.config["num_train_timesteps"] == 1000
        return {
            f"{name}/{tensor}": value
            for name in ("text_encoder", "unet", "vae")
            for tensor, value in getattr(loaded, name).state_dict().items()
        }

    @pytest.mark.parametrize(
        "options",
        [
            ("split", "--max-shard-size", "20KB"),
            ("merge",),
            ("reshard", "--to", "bin"),
            ("reshard", "--num-shards", "2", "--variant", "fp16"),
        ],
        ids=["split", "merge", "bin", "variant"],
    )
    def test_a_pipeline_loads_equal(
        self, pipeline: Path, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        """Whatever becomes of its shards, its format or its variant, a pipeline loads as before."""
        command, *rest = options
        call_cli(command, pipeline, tmp_path / "out", *rest, "-q")
        how: dict[str, Any] = {"variant": "fp16"} if "fp16" in rest else {}
        how |= {"use_safetensors": False} if "bin" in rest else {}
        assert_equal(self.weights(tmp_path / "out", **how), self.weights(pipeline))
        assert codes(tmp_path / "out") == []

    def test_a_pipeline_comes_back(self, pipeline: Path, tmp_path: Path) -> None:
        """Split and merged, every file is the one that diffusers saved."""
        call_cli("split", pipeline, tmp_path / "out", "--max-shard-size", "20KB", "-q")
        call_cli("merge", tmp_path / "out", tmp_path / "back", "-q")
        names = sorted(path.relative_to(pipeline) for path in pipeline.rglob("*.*"))
        for name in names:
            assert (tmp_path / "back" / name).read_bytes() == (pipeline / name).read_bytes(), name


class TestSentenceTransformers:
    """Modules of sentence-transformers, whose directories are below the model's."""

    @pytest.fixture
    def dense(self, tmp_path: Path) -> Path:
        """The directory of a Dense module of random weights."""
        directory = tmp_path / "model" / "2_Dense"
        directory.mkdir(parents=True)
        self.module()(in_features=8, out_features=4).save(str(directory))
        return directory

    def module(self) -> Any:
        """The class of the module."""
        return client("sentence_transformers.models").Dense

    def weights(self, directory: Path) -> dict[str, torch.Tensor]:
        """The module as sentence-transformers loads it."""
        return dict(self.module().load(str(directory)).state_dict())

    def test_a_module_loads_in_both_formats(self, dense: Path, tmp_path: Path) -> None:
        """Converted to `.bin` and back, a module loads equal, and nothing is warned of."""
        expected = self.weights(dense)
        call_cli("reshard", dense, tmp_path / "bin", "--to", "bin", "-q")
        call_cli("reshard", tmp_path / "bin", tmp_path / "back", "--to", "safetensors", "-q")
        for directory in (tmp_path / "bin", tmp_path / "back"):
            assert_equal(self.weights(directory), expected)
        assert codes(tmp_path / "back") == []

    def test_shards_of_a_module_do_not_load(self, dense: Path, tmp_path: Path) -> None:
        """sentence-transformers finds no weights in shards; the writer and `verify` say so."""
        done = run_cli("split", dense, tmp_path / "out", "--num-shards", 2)
        assert "note: sentence-transformers reads one weights file" in done.stderr
        assert_warned(tmp_path / "out", "sentence-transformers")
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            self.weights(tmp_path / "out")


def test_accelerate_finds_no_shards_in_a_saved_state(tmp_path: Path) -> None:
    """A directory of `save_state` whose weights were divided is not loaded, and one with merged
    weights is; the writer and `verify` say so.
    """
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)))
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = tmp_path / "state"
    accelerator.save_state(str(state))
    done = run_cli("split", state, state, "--num-shards", 2, "--replace")
    assert "note: Accelerate's load_state reads one weights file" in done.stderr
    assert_warned(state, "Accelerate")
    with pytest.raises(FileNotFoundError, match="pytorch_model"):
        accelerator.load_state(str(state))
    call_cli("merge", state, state, "--replace", "-q")
    torch.nn.init.zeros_(model[0].weight)
    accelerator.load_state(str(state))
    assert_equal(model.state_dict(), expected)
