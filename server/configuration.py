"""The configuration: one frozen value, handed down in slices.

`Configuration()` is the defaults and reads nothing; `server/commands/settings.py` builds it from a
file, the environment and flags. A key is `slice.name`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

MEBIBYTE = 1024 * 1024
DAY_S = 86400.0


def setting(default: Any, text: str, unit: str = "", **limits: Any) -> Any:
    """A field with its explanation, its unit and pydantic's own limits (ge, le, …)."""
    return Field(default, description=text, json_schema_extra={"unit": unit}, **limits)


def seconds(default: float, text: str, **limits: Any) -> Any:
    return setting(default, text, "seconds", allow_inf_nan=False, **limits)


def secret(default: Any, text: str) -> Any:
    """A setting that may hold a password: of no dump and of no message."""
    return Field(
        default, description=text, json_schema_extra={"unit": "", "secret": True}, repr=False
    )


def is_secret(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def _split(value: object) -> object:
    if isinstance(value, str):
        return value.split(",") if value else []
    return value


def _parse(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


_DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
Device = Annotated[str, Field(pattern=_DEVICE)]
FeastSettings = Annotated[dict[str, JsonValue], NoDecode, BeforeValidator(_parse)]
"""As in Feast's own feature_store.yaml; JSON in flags and in the environment."""


class Slice(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )


class ServerSlice(Slice):
    """Where the server listens and what it lets in."""

    host: str = setting("127.0.0.1", "address of the gRPC port; 0.0.0.0 opens it to the network")
    port: int = setting(50051, "port of gRPC; 0 picks a free one", ge=0, le=65535)
    admin_host: str = setting(
        "127.0.0.1", "address of the admin port, on which models are loaded; for operators only"
    )
    admin_port: int = setting(50052, "port of gRPC for admins; 0 picks a free one", ge=0, le=65535)
    metrics_host: str = setting("127.0.0.1", "address of the Prometheus port")
    metrics_port: int = setting(9464, "port of Prometheus; 0 picks a free one", ge=0, le=65535)
    health_host: str = setting(
        "127.0.0.1", "address of the health port, which is plain and tells nothing but health"
    )
    health_port: int = setting(
        0,
        "port of gRPC for health alone, whatever the other port does; 0 picks a free one",
        ge=0,
        le=65535,
    )
    max_in_flight: int = setting(
        256, "requests worked on at once; further ones are refused", "requests", ge=1, le=100_000
    )
    max_message_bytes: int = setting(
        16 * MEBIBYTE,
        "largest request; a larger one is INVALID_ARGUMENT, and beyond 64 MiB the transport "
        "itself answers RESOURCE_EXHAUSTED",
        "bytes",
        ge=4096,
        le=48 * MEBIBYTE,
    )
    repeat_window_s: float = seconds(
        600.0, "how long a repeated request_id gets the first answer", ge=0, le=DAY_S
    )
    repeat_entries: int = setting(
        10_000, "answers kept for repeats, at most; the oldest go first", ge=1, le=1_000_000
    )
    repeat_bytes: int = setting(
        256 * MEBIBYTE,
        "answers kept for repeats, at most",
        "bytes",
        ge=0,
        le=1024 * 1024 * MEBIBYTE,
    )
    tombstone_s: float = seconds(
        30.0, "how long a cancelled request_id is refused; 0: not at all", ge=0, le=3600
    )


class EngineSlice(Slice):
    """How the sampling engine batches and computes."""

    device: str = setting("auto", "where to sample; auto: cuda if there is one", pattern=_DEVICE)
    devices: Annotated[tuple[Device, ...], NoDecode, BeforeValidator(_split)] = setting(
        (), "one engine on each of these, which share the load; empty: on engine.device alone"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = setting("auto", "number format of the denoiser")
    compile: bool = setting(False, "compile the denoiser for each bucket before serving")
    threads: int = setting(0, "CPU threads of one forward; 0 takes all cores", ge=0, le=1024)
    buckets: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split)] = setting(
        (1, 2, 3, 4, 6, 8, 12, 16),
        "sizes of a forward that are warmed up, rising; the last is the largest batch",
        "rows",
        min_length=1,
    )
    max_rows: int = setting(
        256,
        "rows that may wait or walk at once; further requests are refused",
        "rows",
        ge=32,
        le=65536,
    )
    patience_s: float = seconds(
        30.0, "a row that has waited this long goes before earlier deadlines", gt=0, le=3600
    )

    max_reuse_error: float = setting(
        0.08,
        "largest estimated relative error of a reused prediction, for requests that allow reuse; "
        "0 turns it off",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    strict: bool = setting(
        False,
        "always the same bucket: bytes are identical whatever shares the batch; bulk runs have it "
        "unless told otherwise",
    )
    shared_latents_bytes: int = setting(
        64 * MEBIBYTE,
        "latents kept for later rows that walk the same way; 0: nothing is kept",
        "bytes",
        ge=0,
        le=1024 * 1024 * MEBIBYTE,
    )

    @field_validator("buckets")
    @classmethod
    def _rise(cls, buckets: tuple[int, ...]) -> tuple[int, ...]:
        if buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
            raise ValueError("must be positive and rising")
        if buckets[-1] < 3:
            raise ValueError("the last must hold the 3 rows that guidance makes of one image")
        return buckets


class ReplicasSlice(Slice):
    """Replicas of the engine on Ray Serve, with `serve --engine ray`; for each model of its own."""

    min_replicas: int = setting(1, "that always run", "replicas", ge=1, le=10_000)
    max_replicas: int = setting(4, "that run at most", "replicas", ge=1, le=10_000)
    queue: float = setting(
        16.0,
        "requests under way at a replica beyond which another one is started",
        "requests",
        gt=0,
        le=65536,
        allow_inf_nan=False,
    )
    upscale_s: float = seconds(
        10.0, "so long there are too many before it is started", ge=0, le=3600
    )
    downscale_s: float = seconds(
        300.0, "so long there are too few before one is stopped", ge=0, le=DAY_S
    )
    cpus: float = setting(
        1.0, "cores that Ray keeps for each", "cores", gt=0, le=1024, allow_inf_nan=False
    )
    gpus: float = setting(
        0.0, "GPUs that Ray keeps for each; 0: none", "GPUs", ge=0, le=64, allow_inf_nan=False
    )

    @model_validator(mode="after")
    def _order(self) -> ReplicasSlice:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas = {self.min_replicas} is more than max_replicas ="
                f" {self.max_replicas}"
            )
        return self


class ModelSlice(Slice):
    """Which model answers, and what it does where a request is silent."""

    checkpoint: Path | None = setting(None, "folder of the model; unset: the embedded one")
    fast_checkpoint: Path | None = setting(
        None, "folder of a few-step student, served as model `fast`; unset: the embedded one"
    )
    specifications: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = setting(
        (), "YAML files of pretrained models, loaded before serving; empty: none"
    )
    swap: Literal["beside", "free_first"] = setting(
        "beside",
        "where the new revision of a served model is loaded: beside the old one, or after that was "
        "freed, in between which requests for it are refused",
    )
    image_encoder: str | None = setting(
        None,
        "folder or hub name of a transformers checkpoint that sees pictures; unset: the model's",
    )
    text_encoder: str | None = setting(
        None, "the same for titles; for CLIP and SigLIP the same one; unset: the model's"
    )
    default_steps: int = setting(
        20, "sampling steps of a request that names none", "steps", ge=1, le=100
    )
    min_steps: int = setting(
        4, "floor of the steps where a deadline takes some", "steps", ge=1, le=100
    )
    sampler: Literal["euler", "heun", "dpmpp_2m"] = setting(
        "euler", "sampler of a request that names none"
    )
    product_scale: float = setting(
        1.0, "product guidance of a request that names none", ge=0, le=4, allow_inf_nan=False
    )
    strength: float = setting(
        0.5, "personalization of a request that names none", ge=0, le=1, allow_inf_nan=False
    )
    max_user_scale: float = setting(
        2.0, "shopper guidance that strength 1 stands for", ge=0, le=10, allow_inf_nan=False
    )

    @model_validator(mode="after")
    def _pair(self) -> ModelSlice:
        both = {"image_encoder": self.image_encoder, "text_encoder": self.text_encoder}
        for missing, other in zip(both, reversed(both), strict=True):
            if both[other] and not both[missing]:
                raise ValueError(f"{missing} must be set, since {other} = {both[other]}")
        return self


class FeaturesSlice(Slice):
    """Where features live and how long a request waits for them."""

    home: Path = setting(Path(".etalage"), "folder of all state; also set by ETALAGE_HOME")
    timeout_s: float = seconds(
        0.25, "longest wait for one read; then the image is made without the shopper", gt=0, le=60
    )
    min_read_s: float = seconds(
        0.0,
        "least time of a read that names a shopper, so that it does not tell who is known; 0: none",
        ge=0,
        le=1,
    )
    user_profile_ttl_s: float = seconds(
        30 * DAY_S, "age beyond which a profile is stale; 0: any age", ge=0, le=3650 * DAY_S
    )
    user_recent_ttl_s: float = seconds(
        DAY_S, "age beyond which last clicks are left out; 0: any age", ge=0, le=3650 * DAY_S
    )
    product_features_ttl_s: float = seconds(
        0.0, "age beyond which a product is stale; 0: any age", ge=0, le=3650 * DAY_S
    )
    refresh_s: float = seconds(10.0, "pause between two reads of the registry", gt=0, le=DAY_S)
    online_store: FeastSettings = secret({}, "Feast's online store; empty: sqlite under home")
    offline_store: FeastSettings = secret({}, "Feast's offline store; empty: parquet under home")
    registry: FeastSettings = secret({}, "Feast's registry; empty: a file under home")
    mapping: Path | None = setting(
        None,
        "YAML file that says which features of a shop's own Feast repository are read; unset: "
        "those that were ingested here",
    )


class CreativesSlice(Slice):
    """What creatives keep to, whoever asks for them."""

    markets: Path | None = setting(
        None, "folder with markets.yaml and festivals.yaml; unset: those that come along"
    )
    brand_kits: Path | None = setting(None, "folder of brand kits, one YAML file each; unset: none")
    font_folders: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = setting(
        (),
        "folders of fonts that brand kits may name, and that have letters which no font that comes "
        "along has; those of the system are looked in after these",
    )
    denied_words: Path | None = setting(
        None, "YAML file of words that no text may have; unset: the one that comes along"
    )
    sensitive_words: Path | None = setting(
        None,
        "YAML file of words that tell too much of a shopper: interests with one stay out of "
        "prompts and styles; unset: the one that comes along",
    )
    safety: str = setting(
        "", "what looks at finished pictures, as package.module:callable; empty: nothing"
    )
    safety_options: FeastSettings = setting({}, "what that callable is called with, by name")
    max_tries: int = setting(
        2, "tries for an image that fails verification, unless the request says", ge=1, le=5
    )


class VerificationSlice(Slice):
    """When a generated picture is not good enough to be shown."""

    max_growth_percent: float = setting(
        2.0, "growth of a product beyond its outline", "% of its area", ge=0, le=100
    )
    min_sharpness: float = setting(
        5.0, "variance of the Laplacian below which it is blurred", ge=0, le=1e6
    )
    min_contrast: float = setting(
        6.0, "standard deviation below which it is blank", "codes", ge=0, le=128
    )
    max_roughness: float = setting(
        0.7,
        "how far pixels stray from their neighbours, by contrast, where it is broken",
        gt=0,
        le=1e6,
    )


class EnhancementSlice(Slice):
    """Diagnosis and repair of packshots, and what finds the product in them for everybody."""

    restorer: Path | None = setting(None, "folder of the restorer; unset: the embedded one")
    matting: Path | None = setting(
        None, "folder of the network that finds products; unset: the embedded one"
    )
    photo_matting: str = setting(
        "",
        "folder or hub name of a transformers checkpoint for segmentation that finds products in "
        "photographs; empty: the network above",
    )
    product_labels: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = setting(
        (), "labels of that checkpoint that are products; empty: all but the background"
    )


class ImageCacheSlice(Slice):
    """Images kept for everybody of the same taste."""

    memory_bytes: int = setting(
        256 * MEBIBYTE, "images kept in memory; 0: none", "bytes", ge=0, le=1024 * 1024 * MEBIBYTE
    )
    ttl_s: float = seconds(DAY_S, "how long an image is shown again", gt=0, le=365 * DAY_S)
    folder: Path | None = setting(
        None, "folder below memory, which outlives a restart and may be shared; unset: none"
    )
    disk_bytes: int = setting(
        4096 * MEBIBYTE, "room in that folder", "bytes", gt=0, le=1024 * 1024 * MEBIBYTE
    )
    redis_url: str = secret("", "Redis in place of the folder; needs the extra `redis`")
    timeout_s: float = seconds(0.02, "longest wait for an answer of Redis", ge=0.001, le=1)

    @model_validator(mode="after")
    def _choose(self) -> ImageCacheSlice:
        if self.folder is not None and self.redis_url:
            raise ValueError("folder and redis_url exclude each other")
        return self


class BatchesSlice(Slice):
    """Jobs of many images, made in the background."""

    folder: str = setting(
        "", "path or fsspec URL below which their images lie; empty: batches under home"
    )
    database: str = secret(
        "",
        "SQLAlchemy URL of where they are kept, such as postgresql+psycopg://host/name; empty: "
        "sqlite under home",
    )
    max_rows: int = setting(
        8,
        "they fill the engine up to so many rows, those of other requests included, and leave the "
        "rest to requests that somebody waits for",
        "rows",
        ge=1,
        le=65536,
    )
    lease_s: float = seconds(
        10.0,
        "after how long a batch whose server died goes on, with whoever shares the database",
        ge=0.1,
        le=3600,
    )
    max_waiting: int = setting(
        100, "batches that wait or run; further ones are refused", "batches", ge=1, le=100_000
    )
    keep_s: float = seconds(
        7 * DAY_S,
        "how long one that has ended is remembered; its images stay",
        ge=0,
        le=3650 * DAY_S,
    )

    @field_validator("folder")
    @classmethod
    def _check_folder(cls, folder: str) -> str:
        if "@" in folder.partition("://")[2].partition("/")[0]:
            raise ValueError("who asks for a batch is told its folder, so it can't have a password")
        return folder


class ExperimentsSlice(Slice):
    """Which arms are tried on whom, and where what came of it is kept."""

    programme: Path | None = setting(
        None,
        "YAML file of experiments, or a folder of them; unset: none, everybody is personalized",
    )
    keys: Path | None = setting(
        None,
        "file of secret keys, in hexadecimal, a line each: the first signs exposure tokens, the "
        "last makes pseudonyms; unset: keys/experiments under home, made at the first start",
    )
    sensitive_targeting: bool = setting(
        False, "whether experiments may target interests that creatives.sensitive_words holds"
    )
    database: str = secret(
        "",
        "SQLAlchemy URL of where events are kept, such as postgresql+psycopg://host/name; empty: "
        "sqlite under home",
    )
    openfeature_provider: str = setting(
        "",
        "who assigns arms in place of GrowthBook's hashing, as package.module:callable that makes "
        "an OpenFeature provider",
    )
    window_s: float = seconds(
        30 * DAY_S, "how long after an image events of it are taken in", ge=60, le=365 * DAY_S
    )
    keep_s: float = seconds(400 * DAY_S, "how long events are kept", ge=3600, le=3650 * DAY_S)
    max_waiting: int = setting(
        20_000,
        "events that wait to be written; further ones are refused",
        "events",
        ge=100,
        le=10_000_000,
    )
    watch_s: float = seconds(
        300.0, "pause between two looks at the sample ratios of what runs", ge=1, le=DAY_S
    )


class AccessSlice(Slice):
    """Who may call, and that nobody reads along."""

    tenants: Path | None = setting(
        None, "YAML file of those who may call; unset: everybody who reaches the ports"
    )
    certificate: Path | None = setting(
        None, "the server's certificate chain, PEM, for the ports of gRPC; unset: plain text"
    )
    key: Path | None = setting(None, "and its private key, PEM without a password")
    client_ca: Path | None = setting(
        None, "who vouches for clients, PEM: they must show a certificate; unset: they need none"
    )
    reload_s: float = seconds(
        5.0, "pause between two looks at these files for changes", ge=0.05, le=3600
    )
    allow_plain_text: bool = setting(
        False,
        "let the ports of gRPC be open to the network without encryption, on the addresses "
        "named by plain_text_addresses",
    )
    plain_text_addresses: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = setting(
        (), "the hosts of those ports again, so that nobody says so by accident"
    )
    allow_anybody: bool = setting(
        False, "let ports that are open to the network serve everybody, without tenants"
    )

    @model_validator(mode="after")
    def _pair(self) -> AccessSlice:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key: one needs the other")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and key")
        return self


class ProvenanceSlice(Slice):
    """What delivered images say of where they come from."""

    sign: bool = setting(True, "sign images that a model made, with a C2PA manifest in each")
    certificate: Path | None = setting(
        None,
        "PEM file of the signer's certificate and those that lead from it to an authority; unset: "
        "a development certificate, made at the first start in keys/provenance under home",
    )
    key: Path | None = setting(None, "PEM file of that certificate's private key")
    signer: str = setting(
        "",
        "what signs in place of a key, as package.module:callable: takes bytes, gives their "
        "signature; called from several threads",
    )
    timestamp_url: str = setting(
        "", "URL of a time stamping authority (RFC 3161) asked for each image; empty: none"
    )
    on_failure: Literal["deliver", "refuse"] = setting(
        "deliver", "what becomes of an image that can't be signed: a warning, or UNAVAILABLE"
    )
    trusted: Path | None = setting(
        None, "PEM file of authorities whose signers are trusted in images to be verified"
    )
    watermark: bool = setting(
        False,
        "put an imperceptible mark into what a model made, never into the product's own pixels",
    )
    watermark_key: Path | None = setting(
        None,
        "file of secret keys, in hexadecimal, a line each: the first marks, all are looked for; "
        "unset: keys/watermark under home, made when it is first needed",
    )
    label: bool = setting(False, "write on every creative that artificial intelligence made it")
    labels: Path | None = setting(
        None, "YAML file of what is written, by language; unset: the one that comes along"
    )

    @model_validator(mode="after")
    def _pair(self) -> ProvenanceSlice:
        if self.key is not None and self.signer:
            raise ValueError("key and signer exclude each other")
        if (self.certificate is None) != (self.key is None and not self.signer):
            raise ValueError("certificate and key, or certificate and signer, go together")
        return self


class PrivacySlice(Slice):
    """How shoppers are erased, and stay so."""

    database: str = secret(
        "",
        "SQLAlchemy URL of tombstones and erasures, such as postgresql+psycopg://host/name, the "
        "same for all who share a store; empty: sqlite under home",
    )
    keys: Path | None = setting(
        None,
        "file of secret keys as experiments.keys, of which the last makes tombstones, the same for "
        "all who share a store; unset: keys/erasures under home, made at the first start",
    )
    watch_s: float = seconds(
        5.0, "after how long servers hear of each other's erasures, at most", ge=0.05, le=600
    )
    retry_s: float = seconds(
        60.0, "after how long an erasure that failed somewhere is gone on with", ge=0.05, le=DAY_S
    )
    max_export_bytes: int = setting(
        3 * MEBIBYTE,
        "largest answer to what is held of a shopper; clients take 4 MiB unless told otherwise",
        "bytes",
        ge=4096,
        le=48 * MEBIBYTE,
    )


class LoggingSlice(Slice):
    """What is told on standard error."""

    format: Literal["console", "json"] = setting("console", "for eyes or for a collector")
    level: Literal["debug", "info", "warning", "error"] = setting("info", "least severity told")


class TracingSlice(Slice):
    """Traces of requests, for a collector of OpenTelemetry; needs the extra `otel`."""

    endpoint: str = setting(
        "",
        "URL of a collector that takes OTLP by HTTP, such as http://collector:4318; empty: none",
    )
    ratio: float = setting(
        1.0,
        "share of the requests that are traced where the caller has not decided",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        if endpoint and not re.fullmatch(r"https?://[^/@\s?#]+(/[^\s?#]*)?", endpoint):
            raise ValueError("must be http:// or https:// and a host, without a password")
        return endpoint


class DrainSlice(Slice):
    """How the server stops."""

    lame_duck_s: float = seconds(
        2.0, "how long to serve on after health says NOT_SERVING", ge=0, le=600
    )
    grace_s: float = seconds(30.0, "longest wait for requests in flight after that", ge=0, le=3600)


class Configuration(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        env_prefix="ETALAGE_",
        env_nested_delimiter="__",
    )

    server: ServerSlice = ServerSlice()
    engine: EngineSlice = EngineSlice()
    replicas: ReplicasSlice = ReplicasSlice()
    model: ModelSlice = ModelSlice()
    features: FeaturesSlice = FeaturesSlice()
    creatives: CreativesSlice = CreativesSlice()
    verification: VerificationSlice = VerificationSlice()
    enhancement: EnhancementSlice = EnhancementSlice()
    image_cache: ImageCacheSlice = ImageCacheSlice()
    batches: BatchesSlice = BatchesSlice()
    experiments: ExperimentsSlice = ExperimentsSlice()
    access: AccessSlice = AccessSlice()
    provenance: ProvenanceSlice = ProvenanceSlice()
    privacy: PrivacySlice = PrivacySlice()
    logging: LoggingSlice = LoggingSlice()
    tracing: TracingSlice = TracingSlice()
    drain: DrainSlice = DrainSlice()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # a value reads nothing by itself


def settings() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every setting as (slice, name, field), in order."""
    for slice_name, slice_field in Configuration.model_fields.items():
        slice_type = slice_field.annotation
        assert isinstance(slice_type, type) and issubclass(slice_type, Slice)
        for name, field in slice_type.model_fields.items():
            yield slice_name, name, field
