"""Fuzzes one harness with atheris: `python -m tests.fuzz requests --seconds 600`.

The corpus grows from run to run under out/fuzz/. Bytes that do harm are kept in the folder of
findings, where the tests find them from then on. Needs the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["PIL", "diffusion.pictures", "server.bulk", "server.doors", "features.coco"],
    enable_loader_override=False,
):
    from tests.fuzz.harnesses import HARNESSES
    from tests.fuzz.seeds import SEEDS

FINDINGS = Path(__file__).with_name("findings")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("harness", choices=HARNESSES)
    parser.add_argument("--seconds", type=int, default=600, help="how long (default %(default)s)")
    told = parser.parse_args()
    corpus = Path("out/fuzz") / told.harness
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[told.harness]():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    findings = FINDINGS / told.harness
    findings.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    limits = [f"-max_total_time={told.seconds}", "-timeout=20", "-rss_limit_mb=3072"]
    sizes = ["-max_len=8192", "-print_final_stats=1", "-verbosity=1"]
    target = [sys.argv[0], str(corpus), f"-artifact_prefix={findings}/", *limits, *sizes]
    atheris.Setup(target, HARNESSES[told.harness])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
