"""By what a specification is known."""

import os

from diffusion.families.specification import ModelSpecification
from server.revision import identify


def test_what_is_loaded_is_identified_by_its_specification_and_its_files(tmp_path):
    (tmp_path / "unet").mkdir()
    weights = tmp_path / "unet" / "model.safetensors"
    weights.write_bytes(b"one")
    os.utime(weights, ns=(1, 1))

    def spec(**told):
        told = {"name": "studio", "family": "sd15", "source": "unet", "licence": "MIT"} | told
        return ModelSpecification.model_validate({**told, "folder": tmp_path})

    known = identify(spec())
    assert identify(spec()) == known
    others = [
        spec(steps=30),
        spec(shopper={"kind": "ip_adapter", "source": "adapter", "weights": "a.safetensors"}),
    ]
    assert len({identify(each) for each in others} | {known}) == 3
    os.utime(weights, ns=(2, 2))
    touched = identify(spec())
    assert touched != known
    (tmp_path / "adapter").mkdir()
    before = identify(others[1])
    (tmp_path / "adapter" / "a.safetensors").write_bytes(b"")
    assert identify(others[1]) != before
    assert identify(spec(source="someone/on-a-hub", revision="a")) != identify(
        spec(source="someone/on-a-hub", revision="b")
    )
