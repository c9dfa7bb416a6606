"""What repairs packshots, as it is opened from a configuration."""

import json
import shutil

import pytest

from diffusion.restoration import RESTORER
from server.commands.enhancement import check_restorer
from server.commands.start_failed import StartFailed
from server.configuration import EnhancementSlice


def test_the_embedded_restorer_is_one():
    check_restorer(EnhancementSlice())


def change(folder, **told):
    index = json.loads((folder / "model_index.json").read_text()) | told
    (folder / "model_index.json").write_text(json.dumps(index))


BREAKS = {
    "No such file": lambda folder: shutil.rmtree(folder),
    "no name": lambda folder: (folder / "model_index.json").write_text("[]"),
    "has steps: 'many'": lambda folder: change(folder, steps="many"),
    "has side: 0": lambda folder: change(folder, side=0),
    "reads 4 channels and 5 facts": lambda folder: (folder / "network" / "config.json").write_text(
        '{"in_channels": 4, "num_facts": 5}'
    ),
    "estimator/diffusion_pytorch_model.safetensors": lambda folder: (
        folder / "estimator" / "diffusion_pytorch_model.safetensors"
    ).unlink(),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_folder_that_is_none_stops_the_start_and_not_the_first_repair(tmp_path, fault):
    folder = shutil.copytree(RESTORER, tmp_path / "restorer")
    BREAKS[fault](folder)
    with pytest.raises(StartFailed, match=r"enhancement\.restorer: .*is no restorer") as caught:
        check_restorer(EnhancementSlice(restorer=folder))
    assert fault in str(caught.value)
