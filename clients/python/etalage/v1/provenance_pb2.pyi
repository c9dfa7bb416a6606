from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ManifestState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MANIFEST_STATE_UNSPECIFIED: _ClassVar[ManifestState]
    MANIFEST_STATE_ABSENT: _ClassVar[ManifestState]
    MANIFEST_STATE_VALID: _ClassVar[ManifestState]
    MANIFEST_STATE_TAMPERED: _ClassVar[ManifestState]

class SignerTrust(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNER_TRUST_UNSPECIFIED: _ClassVar[SignerTrust]
    SIGNER_TRUST_UNKNOWN: _ClassVar[SignerTrust]
    SIGNER_TRUST_DEVELOPMENT: _ClassVar[SignerTrust]
    SIGNER_TRUST_TRUSTED: _ClassVar[SignerTrust]
MANIFEST_STATE_UNSPECIFIED: ManifestState
MANIFEST_STATE_ABSENT: ManifestState
MANIFEST_STATE_VALID: ManifestState
MANIFEST_STATE_TAMPERED: ManifestState
SIGNER_TRUST_UNSPECIFIED: SignerTrust
SIGNER_TRUST_UNKNOWN: SignerTrust
SIGNER_TRUST_DEVELOPMENT: SignerTrust
SIGNER_TRUST_TRUSTED: SignerTrust

class VerifyImageRequest(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    def __init__(self, image: _Optional[bytes] = ...) -> None: ...

class VerifyImageResponse(_message.Message):
    __slots__ = ("manifest", "signer", "origin", "faults", "is_watermarked", "watermark_score", "watermark_threshold")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    IS_WATERMARKED_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_SCORE_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    manifest: ManifestState
    signer: Signer
    origin: Origin
    faults: _containers.RepeatedScalarFieldContainer[str]
    is_watermarked: bool
    watermark_score: float
    watermark_threshold: float
    def __init__(self, manifest: _Optional[_Union[ManifestState, str]] = ..., signer: _Optional[_Union[Signer, _Mapping]] = ..., origin: _Optional[_Union[Origin, _Mapping]] = ..., faults: _Optional[_Iterable[str]] = ..., is_watermarked: _Optional[bool] = ..., watermark_score: _Optional[float] = ..., watermark_threshold: _Optional[float] = ...) -> None: ...

class Signer(_message.Message):
    __slots__ = ("name", "organization", "trust", "algorithm", "serial_number")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    SERIAL_NUMBER_FIELD_NUMBER: _ClassVar[int]
    name: str
    organization: str
    trust: SignerTrust
    algorithm: str
    serial_number: str
    def __init__(self, name: _Optional[str] = ..., organization: _Optional[str] = ..., trust: _Optional[_Union[SignerTrust, str]] = ..., algorithm: _Optional[str] = ..., serial_number: _Optional[str] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("source_type", "software", "model", "model_digest", "arm", "mode", "seed", "steps", "repairs")
    SOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    REPAIRS_FIELD_NUMBER: _ClassVar[int]
    source_type: str
    software: str
    model: str
    model_digest: str
    arm: str
    mode: str
    seed: int
    steps: int
    repairs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source_type: _Optional[str] = ..., software: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., arm: _Optional[str] = ..., mode: _Optional[str] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., repairs: _Optional[_Iterable[str]] = ...) -> None: ...
