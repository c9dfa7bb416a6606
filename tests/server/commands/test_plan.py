"""`python -m server plan`: what it says, whose figures it takes, and what it refuses."""

import json

import pytest

from server.__main__ import main
from server.sampling.pace import Pace


def run(capsys, *arguments):
    status = main(["plan", *arguments])
    told = capsys.readouterr()
    return status, told.out, told.err


def write_results(folder, name, device, **claims):
    environment = {"device": device, "cores": 2}
    told = [{"name": key, "value": value} for key, value in claims.items()]
    document = {"environment": environment, "claims": told}
    (folder / f"{name}.json").write_text(json.dumps(document))


def test_a_plan_for_a_gpu_that_nobody_measured_says_so(capsys, tmp_path):
    flags = "--rps", "2000", "--model", "sdxl", "--results", str(tmp_path)
    status, out, _ = run(capsys, *flags, "--cache-hits", "0.6", "--peak", "1.5")
    assert status == 0 and "NOT MEASURED" in out and "at the peak 3,000" in out
    status, out, _ = run(capsys, *flags, "--json")
    assert json.loads(out)["figures"]["is_measured"] is False


def test_measured_figures_take_the_place_of_guesses(capsys, tmp_path):
    claims = {f"gpu.unet.rows_per_s_of_{n}": 40.0 + n for n in (1, 8, 16)}
    write_results(tmp_path, "gpu", "H200", **claims)
    flags = "--rps", "10", "--model", "sdxl", "--results", str(tmp_path), "--json"
    _, out, _ = run(capsys, *flags)
    document = json.loads(out)
    assert document["figures"]["is_measured"] and "H200" in document["figures"]["source"]
    assert document["rows_of_a_forward"] == 16
    assert document["images_per_gpu_s"] == pytest.approx(0.9 * 56 / 60)
    assert document["replicas"] == 18 and document["gpus"] == 19


def test_the_figures_of_this_repository_plan_the_embedded_model_on_cores(capsys):
    status, out, _ = run(capsys, "--rps", "10", "--device", "cpu", "--json")
    document = json.loads(out)
    assert status == 0 and document["figures"]["is_measured"] and document["gpus"] > 1


def test_a_server_s_own_pace_is_taken(capsys, tmp_path):
    pace = Pace((1, 4))
    pace.record(("etalage-default", (8, 16, 16)), 1, 0.01)
    pace.record(("etalage-default", (8, 16, 16)), 4, 0.02)
    pace.record(("etalage-fast", (8, 16, 16)), 4, 0.5)
    pace.save(tmp_path / "pace.json")
    flags = "--rps", "10", "--pace", str(tmp_path / "pace.json"), "--efficiency", "1", "--json"
    _, out, _ = run(capsys, *flags)
    assert json.loads(out)["images_per_gpu_s"] == pytest.approx(200 / 20)


def test_the_planned_fleet_is_simulated(capsys):
    flags = "--step-ms", "1:50,8:120", "--minutes", "1", "--lose", "1", "--json"
    status, out, _ = run(capsys, "--rps", "20", "--simulate", *flags)
    found = json.loads(out)
    assert status == 0 and found["simulation"]["lost"] == 0
    assert found["simulation"]["replicas"] == found["replicas"] + found["spare"]
    assert found["simulation"]["in_time"] > 0.97 and found["simulation"]["moved"] > 0
    _, out, _ = run(capsys, "--rps", "20", "--simulate", *flags[:-1])
    assert "replicas that died     1" in out and "steps shared" in out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--rps", "0"), "--rps: '0' is not above 0"),
        (("--rps", "nan"), "--rps: 'nan' is no number"),
        (("--rps", "many"), "--rps: 'many' is no number"),
        (("--rps", "1", "--cache-hits", "1"), "--cache-hits: '1' is no share"),
        (("--rps", "1", "--sharing", "-0.1"), "--sharing: '-0.1' is no share"),
        (("--rps", "1", "--utilization", "1.2"), "--utilization: '1.2' is no share"),
        (("--rps", "1", "--efficiency", "0"), "--efficiency: '0' is no share"),
        (("--rps", "1", "--peak", "0.5"), "--peak: '0.5' is below 1"),
        (("--rps", "1", "--rows", "4"), "--rows: '4': guidance takes 1 to 3 rows"),
        (("--rps", "1", "--spare", "-1"), "--spare: '-1' is no whole number from 0"),
        (("--rps", "1", "--steps", "0"), "--steps: '0' is no whole number from 1"),
        (("--rps", "1", "--step-ms", "16"), "--step-ms: '16' is not ROWS:MS"),
        (("--rps", "1", "--step-ms", "16:-1"), "--step-ms: '-1' is not above 0"),
        (("--rps", "1", "--minutes", "0"), "--minutes: '0' is not above 0"),
        ((), "required: --rps"),
    ],
)
def test_a_wrong_number_is_refused_by_its_name(capsys, flags, said):
    with pytest.raises(SystemExit) as ended:
        main(["plan", *flags])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--model", "dalle"), "--model dalle: nothing is known of it"),
        (("--pace", "/nowhere/pace.json"), "/nowhere/pace.json is no file of a server's pace"),
        (("--model", "quality", "--results", "/nowhere"), "nobody measured quality on gpu"),
        (("--step-ms", "4:100", "--max-image-s", "0.1"), "be done in 0.1 s"),
    ],
)
def test_what_can_not_be_planned_is_told(capsys, flags, said):
    status, out, err = run(capsys, "--rps", "1", *flags)
    assert status == 2 and not out and said in err


def test_a_pace_of_other_models_is_no_pace_of_this_one(capsys, tmp_path):
    file = tmp_path / "pace.json"
    file.write_text(json.dumps({"('other', (1, 2, 3))": {"1": 0.5}}))
    status, _, err = run(capsys, "--rps", "1", "--pace", str(file))
    assert status == 2 and f"{file} knows nothing of quality" in err
    file.write_text(json.dumps({"('etalage-default', (1, 2, 3))": {"1": -1}}))
    status, _, err = run(capsys, "--rps", "1", "--pace", str(file))
    assert status == 2 and f"{file} is no file of a server's pace" in err
