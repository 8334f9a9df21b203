"""The accelerate configurations: accelerate and transformers read them, and two processes are started with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.commands.to_fsdp2 import ARGUMENT_KEY_MAPPING, ConversionStatus
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, patch_environment
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from transformers import AutoModelForCausalLM
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from larpo_ir.data.lists import read_lists
from larpo_ir.models.fingerprints import fingerprint
from larpo_ir.models.scoring import score_lists
from larpo_ir.models.tokenization import TokenizedList
from larpo_ir.training.config import LarPOConfig
from larpo_ir.training.logprob_cache import LogprobCache
from larpo_ir.training.trainer import LarPOTrainer
from tests.small_models import make_model, make_tokenizer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "accelerate"
CONFIGS = {path.stem: path for path in FOLDER.glob("*.yaml")}
FSDP = ["one_node_8_gpus_fsdp", "four_nodes_fsdp"]
ZERO3 = "one_node_8_gpus_deepspeed_zero3"


def launch_arguments(name, *extra):
    """What `accelerate launch --config_file NAME train.py` makes of its arguments and the file."""
    command = ["--config_file", str(CONFIGS[name]), "--main_process_port", "0", *extra, "train.py"]
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    return args


@pytest.mark.parametrize(
    ("name", "kind", "machines", "processes"),
    [
        ("one_gpu", DistributedType.NO, 1, 1),
        ("one_node_8_gpus_ddp", DistributedType.MULTI_GPU, 1, 8),
        ("one_node_8_gpus_fsdp", DistributedType.FSDP, 1, 8),
        (ZERO3, DistributedType.DEEPSPEED, 1, 8),
        ("four_nodes_fsdp", DistributedType.FSDP, 4, 32),
        ("two_cpu_processes", DistributedType.MULTI_GPU, 1, 2),
    ],
)
def test_accelerate_reads_every_configuration(name, kind, machines, processes):
    config = load_config_from_file(str(CONFIGS[name]))  # raises for unknown keys
    assert (config.distributed_type, config.num_machines, config.num_processes) == (kind, machines, processes)
    args = launch_arguments(name)
    assert (args.use_fsdp, args.use_deepspeed) == (
        kind == DistributedType.FSDP,
        kind == DistributedType.DEEPSPEED,
    )
    assert args.multi_gpu == (kind == DistributedType.MULTI_GPU)
    lines = CONFIGS[name].read_text().splitlines()
    comments = " ".join(line for line in lines if line.startswith("#"))
    assert f"configs/accelerate/{name}.yaml" in comments  # says how it is started


def test_these_are_all_the_configurations():
    names = {"one_gpu", "one_node_8_gpus_ddp", *FSDP, ZERO3, "two_cpu_processes"}
    assert set(CONFIGS) == names


@pytest.mark.parametrize("name", [*FSDP, ZERO3])
def test_every_nested_key_is_an_option_of_accelerate_launch(name):
    """Accelerate checks the keys of the file, not those within `fsdp_config` and `deepspeed_config`."""
    options = vars(launch_command_parser().parse_args(["train.py"]))
    config = yaml.safe_load(CONFIGS[name].read_text())
    keys = [*config.get("fsdp_config", {}), *config.get("deepspeed_config", {})]
    assert keys
    assert set(keys) <= set(options)


@pytest.mark.parametrize("name", FSDP)
def test_the_fsdp_plugin_is_the_second_version_and_shards_everything(name, recwarn):
    config = yaml.safe_load(CONFIGS[name].read_text())["fsdp_config"]
    assert all(
        not isinstance(ARGUMENT_KEY_MAPPING[key], ConversionStatus) for key in config
    )  # none is version 1's
    with patch_environment(**prepare_multi_gpu_env(launch_arguments(name, "--main_process_ip", "localhost"))):
        plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy is transformer_auto_wrap_policy
    assert plugin.transformer_cls_names_to_wrap is None  # then the model's own `_no_split_modules`
    assert plugin.cpu_ram_efficient_loading
    assert not plugin.activation_checkpointing
    assert "SHARDED" in str(plugin.state_dict_type)
    assert not [warning for warning in recwarn if "FSDP" in str(warning.message)]


def test_four_nodes_take_their_rank_from_the_command_line():
    args = launch_arguments("four_nodes_fsdp", "--machine_rank", "2", "--main_process_ip", "10.0.0.1")
    prepare_multi_gpu_env(args)
    assert (args.nnodes, args.nproc_per_node, args.node_rank) == ("4", "8", 2)
    assert args.rdzv_endpoint.startswith("10.0.0.1:")


# DeepSpeed itself is not needed for what follows: accelerate's reader of its configuration and transformers' rules
# for "auto". What it does with the result is not tested.


class TrainerDeepSpeedConfig(HfTrainerDeepSpeedConfig, HfDeepSpeedConfig):
    """transformers' class on accelerate's reader, which it has for a base where deepspeed is installed."""

    def __init__(self, path):
        HfDeepSpeedConfig.__init__(self, path)
        self._dtype, self.mismatches = None, []


@pytest.mark.parametrize("bf16", [True, False])
def test_the_trainers_arguments_fill_in_every_auto_of_zero3(tmp_path, bf16):
    config = TrainerDeepSpeedConfig(str(FOLDER / "zero3.json"))
    args = LarPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=bf16, per_device_train_batch_size=2,
        gradient_accumulation_steps=4, max_grad_norm=0.5,
    )  # fmt: skip
    config.trainer_config_process(args)
    config.trainer_config_finalize(args, make_model(), num_training_steps=100)  # raises for contradictions
    assert '"auto"' not in json.dumps(config.config)
    assert config.is_zero3()
    assert not config.is_offload()
    assert config.dtype() == (torch.bfloat16 if bf16 else torch.float32)
    assert config.config["train_batch_size"] == 2 * 4 * 1
    assert config.config["train_micro_batch_size_per_gpu"] == 2
    assert config.config["gradient_clipping"] == 0.5
    assert config.config["zero_optimization"]["reduce_bucket_size"] == 16 * 16  # hidden size squared


def test_zero3_leaves_to_the_json_what_accelerate_would_refuse():
    config = yaml.safe_load(CONFIGS[ZERO3].read_text())
    assert "mixed_precision" not in config  # with a JSON, accelerate raises for it and for these
    assert not {"zero_stage", "gradient_clipping", "gradient_accumulation_steps"} & set(
        config["deepspeed_config"]
    )
    assert (ROOT / config["deepspeed_config"]["deepspeed_config_file"]).samefile(FOLDER / "zero3.json")
    _, environment = prepare_deepspeed_cmd_env(launch_arguments(ZERO3))
    assert environment["ACCELERATE_DEEPSPEED_CONFIG_FILE"] == "configs/accelerate/zero3.json"
    assert environment["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "true"


# Two processes


def launch(script, *arguments):
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        CONFIGS["two_cpu_processes"],
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, script, *arguments], check=True, cwd=ROOT, env=environment, timeout=300)


def test_the_pages_script_trains_in_two_processes_as_in_one(tmp_path):
    page = (ROOT / "docs" / "scaling.md").read_text()
    (tmp_path / "train.py").write_text(page.split("```python\n# train.py\n")[1].split("```")[0])
    for part in (make_model(), make_tokenizer()):
        part.save_pretrained(tmp_path / "policy")
    lists = [("ab the", ["xy", "4", "a"]), ("x", ["the", "b"]), ("12 4", ["y", "12"]), ("Q:", ["z", "zz"])]
    rows = [
        {"prompt": prompt, "completions": texts, "relevance": [*range(len(texts))]} for prompt, texts in lists
    ]
    (tmp_path / "lists.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = {
        "output_dir": tmp_path / "two", "per_device_train_batch_size": 1, "num_train_epochs": 1,
        "learning_rate": 0.05, "optim": "sgd", "objective": "larpo_lambdarank", "beta": 0.1,
        "report_to": "none", "save_strategy": "no",
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    policy, source = f"--policy={tmp_path / 'policy'}", f"--lists={tmp_path / 'lists.jsonl'}"
    launch(tmp_path / "train.py", policy, source, *arguments)
    options |= {"output_dir": str(tmp_path / "one"), "per_device_train_batch_size": 2}
    alone = LarPOTrainer(
        make_model(),
        args=LarPOConfig(**options),
        train_dataset=read_lists(tmp_path / "lists.jsonl"),
        processing_class=make_tokenizer(),
    )
    alone.train()
    assert alone.state.global_step == 2
    assert fingerprint(alone.model) != fingerprint(make_model())
    together = AutoModelForCausalLM.from_pretrained(tmp_path / "two").state_dict()
    for name, weight in alone.model.state_dict().items():
        torch.testing.assert_close(together[name], weight, rtol=1e-4, atol=1e-6, msg=name)


SHARE = """
import json, sys
import torch
from accelerate import PartialState
from torch.distributed.fsdp import fully_shard
from larpo_ir.models import fingerprint
from larpo_ir.training import LogprobCache
from larpo_ir.models.scoring import score_lists
from larpo_ir.models.tokenization import TokenizedList
from tests.launched import leave
from tests.small_models import make_model

state, folder = PartialState(cpu=True), sys.argv[1]
policy, cache = fingerprint(make_model()), LogprobCache(folder)
for prompt in range(state.process_index, 6, state.num_processes):
    item = [TokenizedList([prompt + 3], [[9, 1]])]
    with torch.no_grad():
        cache.put(policy, item, score_lists(make_model(), item).tolist())
sharded = fully_shard(make_model())
result = {
    "world": state.num_processes, "backend": torch.distributed.get_backend(), "sharded": fingerprint(sharded),
    "elements": sharded.lm_head.weight.to_local().numel(),
}
with open(f"{folder}/{state.process_index}.json", "w") as file:
    json.dump(result, file)
leave()
"""


def test_two_processes_share_a_cache_and_name_a_sharded_policy_alike(tmp_path):
    (tmp_path / "share.py").write_text(SHARE)
    launch(tmp_path / "share.py", tmp_path)
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one == two
    policy, weight = fingerprint(make_model()), make_model().lm_head.weight
    assert one == {"world": 2, "backend": "gloo", "sharded": policy, "elements": weight.numel() // 2}
    lists = [TokenizedList([prompt + 3], [[9, 1]]) for prompt in range(6)]
    with torch.no_grad():
        expected = score_lists(make_model(), lists).tolist()
    assert LogprobCache(tmp_path).get(policy, lists) == [pytest.approx(row) for row in expected]
