import subprocess
import sys
import threading
import urllib.request

from server.metrics import Metrics, MultiprocessMode
from server.sampling.observer import EngineObserver

GENERATE = "etalage.v1.ImageService/GenerateImage"


def sample(metrics, metric, **labels):
    return metrics.registry.get_sample_value(f"etalage_{metric}", labels)


def test_a_request_is_counted_by_method_code_and_source_and_leaves_the_gauge_at_zero():
    metrics = Metrics([GENERATE])
    metrics.started(GENERATE)
    assert sample(metrics, "requests_in_flight", method=GENERATE) == 1
    metrics.finished(GENERATE, "OK", "generated", 0.3)
    assert sample(metrics, "requests_in_flight", method=GENERATE) == 0
    labels = {"method": GENERATE, "code": "OK", "source": "generated"}
    assert sample(metrics, "requests_total", **labels) == 1
    assert sample(metrics, "request_seconds_sum", method=GENERATE) == 0.3
    assert sample(metrics, "request_seconds_bucket", method=GENERATE, le="0.25") == 0
    assert sample(metrics, "request_seconds_bucket", method=GENERATE, le="0.5") == 1


def test_images_that_failed_and_packshots_that_were_repaired_are_counted():
    metrics = Metrics()
    metrics.tried(("unsafe", "blurred"))
    metrics.tried(("blurred",))
    metrics.fell_back(3)
    metrics.repaired(("noise", "blur"), ("restore",))
    assert sample(metrics, "tries_total", reason="blurred") == 2
    assert sample(metrics, "tries_total", reason="unsafe") == 1
    assert sample(metrics, "fallbacks_total") == 3
    assert sample(metrics, "defects_total", defect="noise") == 1
    assert sample(metrics, "repairs_total", repair="restore") == 1


def test_methods_that_are_not_ours_share_one_label():
    metrics = Metrics([GENERATE])
    for name in ("a", "b", "c"):
        metrics.started(name)
        metrics.finished(name, "OK", "none", 1.0)
    metrics.not_ours("UNIMPLEMENTED")
    assert sample(metrics, "requests_total", method="other", code="OK", source="none") == 3
    labels = {"method": "other", "code": "UNIMPLEMENTED", "source": "none"}
    assert sample(metrics, "requests_total", **labels) == 1


def test_an_attack_on_the_number_of_labels_ends_in_other():
    metrics = Metrics()
    for number in range(1000):
        metrics.missing(f"view {number}", "MISSING")
    assert sample(metrics, "feature_missing_total", view="other", reason="other") == 800
    series = [
        each
        for family in metrics.registry.collect()
        for each in family.samples
        if each.name == "etalage_feature_missing_total"
    ]
    assert len(series) == 201


def test_arms_are_seen_one_by_one():
    metrics, arm = Metrics(), {"experiment": "faces", "arm": "bold"}
    metrics.assigned("faces", "bold")
    metrics.showed("faces", "bold", "none", 4, 0.3)
    metrics.showed("faces", "bold", "original", 1, 0.9)
    metrics.showed_nothing("faces", "bold")
    metrics.recorded("render", "faces", "bold", 5)
    metrics.rejected("TOKEN_FORGED", 2)
    metrics.event_lag(30.0)
    metrics.sample_ratio("faces", 0.25)
    assert sample(metrics, "assignments_total", **arm) == 1
    assert sample(metrics, "experiment_images_total", degradation="none", **arm) == 4
    assert sample(metrics, "experiment_images_total", degradation="original", **arm) == 1
    assert sample(metrics, "experiment_refusals_total", **arm) == 1
    assert sample(metrics, "experiment_seconds_bucket", le="0.5", **arm) == 1
    assert sample(metrics, "experiment_seconds_count", **arm) == 2
    assert sample(metrics, "events_total", kind="render", **arm) == 5
    assert sample(metrics, "events_rejected_total", reason="TOKEN_FORGED") == 2
    assert sample(metrics, "event_lag_seconds_bucket", le="10.0") == 0
    assert sample(metrics, "event_lag_seconds_bucket", le="60.0") == 1
    assert sample(metrics, "sample_ratio_p_value", experiment="faces") == 0.25


def test_the_engine_and_the_features_may_observe_through_it():
    metrics = Metrics()
    engine: EngineObserver = metrics.engine("cuda:1")
    engine.tick("dit", 4, 3, 0.02)
    engine.tick("dit", 4, 4, 0.02)
    engine.pace("dit", "16x16x16", 4, 0.018)
    engine.pace("dit", "16x16x16", 4, 0.019)
    engine.reused(2)
    engine.shared("joined", 5)
    engine.shared("kept", 7)
    engine.shared("kept", 1)
    engine.latents_bytes(4096)
    engine.latents_bytes(1024)
    engine.shrunk(8)
    engine.steps(3)
    engine.wasted(2)
    engine.queued(7)
    engine.queued(5)
    metrics.engine("cuda:0").queued(9)
    engine.queue_seconds(0.1)
    engine.refused("queue_full")
    metrics.read_seconds("user_profile", 0.001)
    metrics.missing("user_recent", "stale")
    metrics.age("user_profile", 3600.0)
    metrics.stages({"read": 0.001, "sample": 0.5})
    metrics.personalization("applied")
    metrics.model("dit", "0123456789abcdef")
    metrics.model_state("studio", "ready", 1)
    metrics.model_state("studio", "draining", 2)
    metrics.model_state("studio", "draining", -1)
    metrics.model_load("ready", 40.0)
    metrics.model_load("failed", 2.0)
    metrics.model_load("unchanged", 0.1)
    assert sample(metrics, "tick_seconds_count", model="dit", bucket="4") == 2
    assert sample(metrics, "rows_per_forward_sum") == 7
    assert sample(metrics, "forward_rows_total", model="dit") == 7
    assert sample(metrics, "padding_rows_total", model="dit") == 1
    pace = {"device": "cuda:1", "model": "dit", "shape": "16x16x16", "bucket": "4"}
    assert sample(metrics, "tick_pace_seconds", **pace) == 0.019
    assert sample(metrics, "steps_reused_total") == 2
    assert sample(metrics, "steps_shared_total", how="joined") == 5
    assert sample(metrics, "steps_shared_total", how="kept") == 8
    assert sample(metrics, "shared_latents_bytes", device="cuda:1") == 1024
    assert sample(metrics, "largest_bucket_rows", device="cuda:1") == 8
    assert sample(metrics, "steps_total") == 3
    assert sample(metrics, "steps_wasted_total") == 2
    assert sample(metrics, "queue_depth", device="cuda:1") == 5
    assert sample(metrics, "queue_depth", device="cuda:0") == 9
    assert sample(metrics, "queue_seconds_count") == 1
    assert sample(metrics, "admission_refusals_total", reason="queue_full") == 1
    assert sample(metrics, "feature_read_seconds_count", view="user_profile") == 1
    assert sample(metrics, "feature_missing_total", view="user_recent", reason="stale") == 1
    assert sample(metrics, "feature_age_seconds_sum", view="user_profile") == 3600
    assert sample(metrics, "stage_seconds_sum", stage="sample") == 0.5
    assert sample(metrics, "personalization_total", reason="applied") == 1
    assert sample(metrics, "model_info", name="dit", digest="0123456789abcdef") == 1
    assert sample(metrics, "model_revisions", model="studio", state="ready") == 1
    assert sample(metrics, "model_revisions", model="studio", state="draining") == 1
    assert sample(metrics, "model_loads_total", result="unchanged") == 1
    assert sample(metrics, "model_load_seconds_count") == 2


def test_names_follow_prometheus_own_rules():
    for family in Metrics().registry.collect():
        if family.name.startswith("etalage"):
            assert family.documentation.endswith(".")
            assert not family.name.endswith(("_ms", "_milliseconds", "_count"))
            for metric in family.samples:
                assert (family.type == "counter") == metric.name.endswith("_total")


def test_threads_may_count_at_once():
    metrics = Metrics([GENERATE])
    engine = metrics.engine("cpu")

    def count():
        for _ in range(1000):
            engine.steps(1)
            metrics.finished(GENERATE, "OK", "generated", 0.1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sample(metrics, "steps_total") == 4000
    labels = {"method": GENERATE, "code": "OK", "source": "generated"}
    assert sample(metrics, "requests_total", **labels) == 4000


def test_a_scrape_over_http_shows_ours_and_the_process_and_nothing_else():
    metrics = Metrics([GENERATE])
    port = metrics.serve("127.0.0.1", 0)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        text = opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    finally:
        metrics.close()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name.split("_")[0] for name in names} <= {"etalage", "process", "python"}
    assert "process_resident_memory_bytes" in names
    assert not any(name.endswith("_created") for name in names)


IMPORT_AND_COUNT = """
{imports}
from server.metrics import Metrics, MultiprocessMode
try:
    metrics = Metrics()
except MultiprocessMode as error:
    print("refused:", error)
    raise SystemExit
metrics.engine("cpu").steps(3)
from prometheus_client import generate_latest, values
text = generate_latest(metrics.registry).decode()
print(values.ValueClass.__name__, "etalage_steps_total 3.0" in text, "feast_" in text)
"""


def run(imports):
    code = IMPORT_AND_COUNT.format(imports=imports)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_metrics_stay_in_single_process_mode_beside_feast():
    assert run("import features.quiet_feast") == "MutexValue True False"


def test_a_process_in_multiprocess_mode_is_refused_rather_than_silently_empty():
    assert run("import feast").startswith("refused: prometheus_client is in multiprocess mode")
    assert issubclass(MultiprocessMode, RuntimeError)
