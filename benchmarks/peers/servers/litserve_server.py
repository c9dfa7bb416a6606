"""LitServe: `predict` gets the batch that the server gathered."""

# No annotations from the future: LitServe hands them to FastAPI, which needs types, not text.
from typing import Any

import litserve as ls  # type: ignore[import-not-found]
from fastapi import Response

from benchmarks.peers.servers.sampling import EXPIRED, Job, prepare
from benchmarks.peers.servers.settings import HOST, MAX_BATCH, WINDOW_S, read_longest_s, read_port


class Painter(ls.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.sampler = prepare()

    def decode_request(self, request: dict[str, Any]) -> Job:
        return Job.read(request)

    def batch(self, inputs: list[Job]) -> list[Job]:
        return list(inputs)

    def predict(self, jobs: list[Job]) -> list[bytes]:
        return self.sampler.sample_batch(jobs)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        status = 504 if output == EXPIRED else 200
        return Response(output, status, media_type="image/png")


if __name__ == "__main__":
    server = ls.LitServer(
        Painter(max_batch_size=MAX_BATCH, batch_timeout=WINDOW_S),
        accelerator="cpu",
        workers_per_device=1,
        timeout=read_longest_s(),
    )
    server.run(host=HOST, port=read_port(), num_api_servers=1, generate_client_file=False)
