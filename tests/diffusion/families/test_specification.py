"""A model's YAML: what it may say, and what is said of a wrong one."""

from pathlib import Path

import pytest

from diffusion.families.specification import (
    AdapterShopper,
    ModelSpecification,
    PromptShopper,
    SpecificationInvalid,
)

LEAST = "name: studio\nfamily: sdxl\nsource: models/sdxl\nlicence: openrail++\n"
WHOLE = (
    LEAST
    + """
revision: abc123
dtype: bfloat16
quantization: int8
schedule: lightning
sampler: euler
steps: 4
guidance: 1.5
sizes: [[1024, 1024], [832, 1216]]
prompt: "studio photograph of {title}"
negative_prompt: blurry
shopper:
  kind: ip_adapter
  source: models/ip-adapter
  weights: ip-adapter_sdxl.safetensors
  scale: 0.6
  blocks: {up: {block_0: [0.0, 1.0, 0.0]}}
product:
  preserve: [inpaint, controlnet]
  restyle: [controlnet]
  controlnet: models/canny
loras:
- {name: noir, source: loras, weights: noir.safetensors, scale: 0.8, interests: [film]}
intervals: {shopper: 5.0, guidance: [0.0, 8.0]}
speed: {channels_last: true, vae_tiling: true}
"""
)


def write(folder: Path, text: str) -> Path:
    path = folder / "studio.yaml"
    path.write_text(text)
    return path


def test_little_has_to_be_said(tmp_path):
    told = ModelSpecification.read(write(tmp_path, LEAST))
    assert (told.name, told.family, told.dtype, told.steps) == ("studio", "sdxl", "float32", 20)
    assert told.shopper is None and told.loras == () and told.sizes == ()
    assert told.product.of("preserve") == ("inpaint",) and told.product.of("restyle") == ("image",)


def test_everything_can_be_said(tmp_path):
    told = ModelSpecification.read(write(tmp_path, WHOLE))
    assert isinstance(told.shopper, AdapterShopper) and told.shopper.scale == 0.6
    assert told.shopper.keeps_off_product
    assert told.sizes == ((1024, 1024), (832, 1216))
    assert told.product.of("preserve") == ("inpaint", "controlnet")
    assert told.loras[0].interests == ("film",) and told.intervals.guidance == (0.0, 8.0)
    assert told.speed.channels_last and not told.speed.compile


def test_a_shopper_may_enter_by_words(tmp_path):
    told = ModelSpecification.read(write(tmp_path, LEAST + "shopper: {kind: prompt}\n"))
    assert isinstance(told.shopper, PromptShopper)
    assert told.shopper.suffix.format(interests="chess") == (
        ", in a setting for someone who loves chess"
    )


WRONG = {
    "family": ("family: dalle3", "family", "sd15"),
    "unknown field": ("speed: {warp: 9}", "speed.warp", "not permitted"),
    "dtype": ("dtype: int4", "dtype", "bfloat16"),
    "size": ("sizes: [[1024, 8]]", "sizes", "from 16 to 4096"),
    "sizes": ("sizes: [[64, 64], [64, 64]]", "sizes", "twice"),
    "steps": ("steps: 0", "steps", "greater than or equal to 1"),
    "slot": ("prompt: 'a {brand} {title}'", "prompt", "{brand} is no slot"),
    "interests": ("prompt: '{title} for {interests}'", "prompt", "{interests}"),
    "braces": ("prompt: 'a {title'", "prompt", "expected '}'"),
    "shopper": ("shopper: {kind: telepathy}", "shopper", "telepathy"),
    "adapter": ("shopper: {kind: ip_adapter, source: a}", "shopper.ip_adapter.weights", "required"),
    "controlnet": ("product: {preserve: [controlnet]}", "product", "controlnet must be set"),
    "lora": ("loras: [{name: Noir!, source: a, weights: b}]", "loras.0.name", "pattern"),
    "loras": (
        "loras: [{name: a, source: a, weights: b}, {name: a, source: a, weights: b}]",
        "loras",
        "twice",
    ),
    "infinity": ("guidance: .inf", "guidance", "finite"),
    "folder": ("folder: /tmp", "folder", "no field"),
}


@pytest.mark.parametrize(("line", "field", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_by_file_and_field(tmp_path, line, field, reason):
    key = line.partition(":")[0]
    kept = [each for each in LEAST.splitlines() if not each.startswith(f"{key}:")]
    path = write(tmp_path, "\n".join([*kept, line]))
    with pytest.raises(SpecificationInvalid) as caught:
        ModelSpecification.read(path)
    assert caught.value.field == field and reason in caught.value.reason
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(SpecificationInvalid, match="studio.yaml"):
        ModelSpecification.read(write(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecificationInvalid, match="can't be read"):
        ModelSpecification.read(tmp_path / "nothing.yaml")


def test_sources_are_looked_for_beside_the_file(tmp_path):
    told = ModelSpecification.read(write(tmp_path, LEAST))
    assert told.find("models/sdxl") == "models/sdxl", "no folder here: a name on a hub"
    (tmp_path / "models/sdxl").mkdir(parents=True)
    assert told.find("models/sdxl") == str(tmp_path / "models/sdxl")


def test_where_a_file_lies_is_no_part_of_what_it_says(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = (ModelSpecification.read(write(tmp_path / n, WHOLE)) for n in ("here", "there"))
    assert here.model_dump_json() == there.model_dump_json()
