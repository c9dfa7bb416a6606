"""What is installed is pinned, hashed and looked up; and no file of weights can run code."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from transformers import ViTConfig, ViTModel

from deploy import hashes
from deploy.audit import judge
from deploy.hashes import (
    OURS,
    collect,
    find_needed,
    list_pins,
    list_roots,
    normalize,
    read_hashes,
    write_hashes,
)
from diffusion.checkpoint import CheckpointUnusable
from diffusion.pretrained import load_pretrained

FOLDERS = "clients/playground", "clients/python/etalage", "diffusion", "features", "server"
UNPICKLING = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads"),
    *("torch.load", "joblib.load", "dill.load", "dill.loads", "shelve.open", "marshal.loads"),
    *("pandas.read_pickle", "pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
}
ACCEPTED = {
    "diffusion/training/loop.py": {"torch.load"},  # with weights_only: see below
    "server/bulk/ray_engine.py": {"pickle.loads"},  # between our own actors, never from a file
}
WEIGHTLESS = {"AutoConfig", "AutoImageProcessor", "AutoTokenizer", "CLIPImageProcessor"}
FOUND = {
    "name": "six",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1", "2.0"]}],
}


@functools.cache
def walk_calls() -> list[tuple[str, str, ast.Call]]:
    """File, what is called, and the call."""
    return list(_walk_calls())


def _walk_calls() -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted(path for folder in FOLDERS for path in Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield str(path), ast.unparse(node.func), node


def test_nothing_unpickles_what_comes_from_elsewhere():
    found = {(path, what) for path, what, _ in walk_calls() if what in UNPICKLING}
    found |= {(path, "pickle.loads") for path, _, call in walk_calls() if maps_pickles(call)}
    assert found == {(path, what) for path, some in ACCEPTED.items() for what in some}


def maps_pickles(call: ast.Call) -> bool:
    return any(ast.unparse(each) in UNPICKLING for each in call.args)


def test_what_torch_itself_loads_is_weights_only():
    for _, what, call in walk_calls():
        if what == "torch.load":
            assert "weights_only=True" in map(ast.unparse, call.keywords)


def test_every_network_is_loaded_from_safetensors():
    loads = [
        (path, what, {ast.unparse(each) for each in call.keywords})
        for path, what, call in walk_calls()
        if what.endswith(".from_pretrained") and "Tokenizer" not in what
    ]
    networks = [each for each in loads if each[1].partition(".")[0] not in WEIGHTLESS]
    assert len(networks) >= 8
    assert [(p, w) for p, w, told in networks if "use_safetensors=True" not in told] == []


def test_no_code_of_a_checkpoint_is_trusted():
    words = {word.arg for _, _, call in walk_calls() for word in call.keywords}
    assert "trust_remote_code" not in words and "allow_pickle" not in words


class Spoiling:
    """Runs where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_an_encoder_of_which_there_is_a_pickle_only_is_refused_unread(tmp_path):
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    folder, marker = tmp_path / "vit", tmp_path / "was-run"
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor"})
    )
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings": Spoiling(marker)}, folder / "pytorch_model.bin")
    torch.save({"embeddings": Spoiling(marker)}, folder / "model.bin")
    with pytest.raises(CheckpointUnusable, match=str(folder)) as caught:
        load_pretrained(str(folder), "diffusion/default/encoders/tokenizer")
    assert "safetensors" in str(caught.value)
    assert not marker.exists()


def test_every_pin_has_a_hash():
    known = read_hashes(Path("deploy/hashes.txt").read_text("utf-8"))
    assert set(known) == set(list_pins(Path("constraints.txt").read_text("utf-8"))), "make hashes"


def test_hashes_of_further_platforms_add_up_and_a_build_counts_for_its_version():
    told = {
        "install": [
            {
                "metadata": {"name": "Torch_Lib", "version": "2.0+cpu"},
                "download_info": {"archive_info": {"hashes": {"sha256": "a" * 64}}},
            }
        ]
    }
    assert list(collect(told)) == [("torch-lib==2.0", "a" * 64)]
    known = {"torch-lib==2.0": {"b" * 64, "a" * 64}, "six==1.0": {"c" * 64}}
    assert read_hashes(write_hashes(known)) == known


def test_what_serves_is_hashed_without_the_tools_and_whole():
    served = read_hashes(Path("deploy/serving.txt").read_text("utf-8"))
    names = {pin.partition("==")[0] for pin in served}
    assert served.items() <= read_hashes(Path("deploy/hashes.txt").read_text("utf-8")).items()
    assert {normalize(each.name) for each in list_roots()} - OURS <= names
    assert names.isdisjoint({"pytest", "ruff", "ray", "atheris", "pip-audit"})


def test_what_cuda_needs_beyond_that_is_hashed_once():
    served, cuda = (
        read_hashes(Path(f"deploy/{name}.txt").read_text("utf-8")) for name in ("serving", "cuda")
    )
    assert any(pin.startswith("nvidia-cudnn") for pin in cuda) and not served.keys() & cuda.keys()
    [torch] = (digests for pin, digests in served.items() if pin.startswith("torch=="))
    assert len(torch) > 1, "CUDA's and the CPU's"


def test_a_torch_without_cuda_is_not_taken_for_one(monkeypatch, tmp_path, capsys):
    served = Path("deploy/serving.txt").read_text("utf-8")
    for name in ("HASHES", "SERVING", "CUDA"):
        path = tmp_path / name
        path.write_text(served)
        monkeypatch.setattr(hashes, name, path)
    found = {
        "metadata": {"name": "torch", "version": "2.13.0+cpu"},
        "download_info": {"archive_info": {"hashes": {"sha256": "c" * 64}}},
    }
    monkeypatch.setattr(hashes, "report", lambda *_: {"install": [found]})
    assert hashes.write_cuda() == 1 and "not built for CUDA" in capsys.readouterr().err
    assert {path.read_text() for path in tmp_path.iterdir()} == {served}


def test_what_is_needed_goes_by_markers_and_extras():
    def package(name, *asks):
        return {"metadata": {"name": name, "requires_dist": list(asks)}}

    told = {
        "install": [
            package("a", "b[fast]>=1", "c; sys_platform == 'win32'"),
            package("B", "d; extra == 'fast'", "e; extra == 'slow'", "a"),
            package("d"),
        ]
    }
    assert find_needed(told, [Requirement("a")]) == {"a", "b", "d"}


def test_a_known_vulnerability_is_a_fault_unless_somebody_said_why_not():
    report = {
        "dependencies": [FOUND, {"name": "ok", "version": "1", "vulns": []}, {"name": "gone"}]
    }
    assert list(judge(report, {})) == ["six 1.0: PYSEC-1, mended in 1.1, 2.0"]
    assert list(judge(report, {"CVE-1": "not called"})) == []
    assert list(judge(report, {"CVE-1": ""})) != [], "without a reason it is not accepted"


def test_where_the_service_can_not_be_asked_the_audit_says_so_and_fails_nobody():
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.audit"],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("audit: skipped")
