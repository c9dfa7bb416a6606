import subprocess
import sys

import pytest
from pydantic import ValidationError

from server.configuration import Configuration, EngineSlice, ModelSlice, ServerSlice, settings


def test_the_defaults_hold_and_the_environment_does_not_enter_by_itself(monkeypatch):
    monkeypatch.setenv("ETALAGE_SERVER__PORT", "1")
    assert Configuration().server.port == 50051
    assert Configuration().server.host == "127.0.0.1"


def test_nothing_of_it_can_be_changed():
    configuration = Configuration()
    with pytest.raises(ValidationError):
        configuration.server = ServerSlice(port=1)
    with pytest.raises(ValidationError):
        configuration.server.port = 1


def test_every_setting_is_explained_and_every_number_has_a_range():
    for slice_name, name, field in settings():
        assert field.description, f"{slice_name}.{name}"
        if field.annotation in (int, float):
            bounds = {bound for each in field.metadata for bound in ("ge", "gt", "le")
                      if getattr(each, bound, None) is not None}  # fmt: skip
            assert len(bounds) == 2, f"{slice_name}.{name}"
        if name.endswith("_s"):
            assert field.json_schema_extra == {"unit": "seconds"}
        if name.endswith("_bytes"):
            assert field.json_schema_extra == {"unit": "bytes"}


@pytest.mark.parametrize("buckets", [(), (0, 1), (2, 1), (1, 1)])
def test_buckets_are_positive_and_rising(buckets):
    with pytest.raises(ValidationError):
        EngineSlice(buckets=buckets)


def test_an_engine_has_room_for_the_largest_of_requests():
    """An explanation of twenty rows that never fits would be told to come again for ever."""
    assert EngineSlice(max_rows=32).max_rows == 32
    with pytest.raises(ValidationError, match="max_rows\n.*greater than or equal to 32"):
        EngineSlice(max_rows=31)


def test_devices_are_parted_by_commas_may_repeat_and_may_be_none():
    assert EngineSlice().devices == EngineSlice.model_validate({"devices": ""}).devices == ()
    given = EngineSlice.model_validate({"devices": "cuda:0,cuda:1"})
    assert given.devices == ("cuda:0", "cuda:1")
    assert EngineSlice(devices=("cpu", "cpu")).devices == ("cpu", "cpu")
    for wrong in ("gpu", "cpu,", "cuda:x"):
        with pytest.raises(ValidationError):
            EngineSlice.model_validate({"devices": wrong})


def test_encoders_are_replaced_both_or_neither():
    for given, missing in ({"image_encoder": "vit"}, "text_"), ({"text_encoder": "gpt2"}, "image_"):
        with pytest.raises(ValidationError, match=f"{missing}encoder must be set, since"):
            ModelSlice.model_validate(given)
    assert ModelSlice(image_encoder="clip", text_encoder="clip").text_encoder == "clip"
    assert not ModelSlice(image_encoder="", text_encoder="").image_encoder  # unset in a file


def test_it_costs_no_heavy_import():
    code = (
        "import sys, server.commands.settings, server.__main__;"
        "print([m for m in ('torch', 'feast', 'grpc', 'numpy', 'PIL') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"
