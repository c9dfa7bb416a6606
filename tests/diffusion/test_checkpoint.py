"""What identifies a checkpoint."""

import json
import shutil

from diffusion.checkpoint import DEFAULT_CHECKPOINT, EVALUATION, digest_folder


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json").replace(
            "_safetensors", ".safetensors"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_digest_is_sixteen_hex_digits_wherever_the_folder_lies(tmp_path):
    one = write(tmp_path / "one", config_json="{}", net__weights_safetensors="abc")
    other = shutil.copytree(one, tmp_path / "deep" / "other")
    assert digest_folder(one) == digest_folder(other)
    assert len(digest_folder(one)) == 16 and int(digest_folder(one), 16) >= 0


def test_weights_configuration_and_names_all_count(tmp_path):
    folders = [
        write(tmp_path / "1", config_json="{}", a__weights_safetensors="abc"),
        write(tmp_path / "2", config_json="{}", a__weights_safetensors="abd"),
        write(tmp_path / "3", config_json="[]", a__weights_safetensors="abc"),
        write(tmp_path / "4", config_json="{}", b__weights_safetensors="abc"),
    ]
    assert len({digest_folder(folder) for folder in folders}) == 4


def test_what_lies_beside_does_not_count(tmp_path):
    folder = write(tmp_path, config_json="{}", weights_safetensors="abc")
    before = digest_folder(folder)
    (folder / "README.md").write_text("notes")
    (folder / "curve.csv").write_text("1,2")
    (folder / EVALUATION).write_text("{}")
    assert digest_folder(folder) == before


def test_the_embedded_checkpoint_is_whole():
    parts = {path.name for path in DEFAULT_CHECKPOINT.iterdir()}
    assert {"model_index.json", "encoders", "autoencoder", "transformer"} <= parts


def test_the_figures_in_the_embedded_checkpoint_are_its_own():
    report = json.loads((DEFAULT_CHECKPOINT / EVALUATION).read_text())
    assert report["facts"]["model"] == digest_folder(DEFAULT_CHECKPOINT)


def test_the_embedded_checkpoint_takes_no_more_room_than_was_promised():
    files = (path for path in DEFAULT_CHECKPOINT.rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) <= 64 * 2**20


def test_the_embedded_checkpoint_names_no_place_on_the_machine_that_trained_it():
    for path in DEFAULT_CHECKPOINT.rglob("*config.json"):
        assert not json.loads(path.read_text()).get("_name_or_path", "").startswith("/"), path
