from etalage.v1 import images_pb2 as _images_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Repair(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPAIR_UNSPECIFIED: _ClassVar[Repair]
    REPAIR_RESTORE: _ClassVar[Repair]
    REPAIR_EXPOSURE: _ClassVar[Repair]
    REPAIR_COLOUR: _ClassVar[Repair]
    REPAIR_INPAINT: _ClassVar[Repair]
    REPAIR_WHITE_BACKGROUND: _ClassVar[Repair]
    REPAIR_RECENTRE: _ClassVar[Repair]
    REPAIR_UPSCALE: _ClassVar[Repair]

class Defect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEFECT_UNSPECIFIED: _ClassVar[Defect]
    DEFECT_BLUR: _ClassVar[Defect]
    DEFECT_NOISE: _ClassVar[Defect]
    DEFECT_JPEG_BLOCKS: _ClassVar[Defect]
    DEFECT_LOW_RESOLUTION: _ClassVar[Defect]
    DEFECT_EXPOSURE: _ClassVar[Defect]
    DEFECT_COLOUR_CAST: _ClassVar[Defect]
    DEFECT_CLUTTERED_BACKGROUND: _ClassVar[Defect]
    DEFECT_OFF_CENTRE: _ClassVar[Defect]
    DEFECT_CUT_OFF: _ClassVar[Defect]
    DEFECT_OVERLAY: _ClassVar[Defect]
REPAIR_UNSPECIFIED: Repair
REPAIR_RESTORE: Repair
REPAIR_EXPOSURE: Repair
REPAIR_COLOUR: Repair
REPAIR_INPAINT: Repair
REPAIR_WHITE_BACKGROUND: Repair
REPAIR_RECENTRE: Repair
REPAIR_UPSCALE: Repair
DEFECT_UNSPECIFIED: Defect
DEFECT_BLUR: Defect
DEFECT_NOISE: Defect
DEFECT_JPEG_BLOCKS: Defect
DEFECT_LOW_RESOLUTION: Defect
DEFECT_EXPOSURE: Defect
DEFECT_COLOUR_CAST: Defect
DEFECT_CLUTTERED_BACKGROUND: Defect
DEFECT_OFF_CENTRE: Defect
DEFECT_CUT_OFF: Defect
DEFECT_OVERLAY: Defect

class EnhanceImageRequest(_message.Message):
    __slots__ = ("request_id", "product_id", "image", "repairs", "diagnose_only", "defect_mask", "steps", "upscale_factor", "output")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    REPAIRS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSE_ONLY_FIELD_NUMBER: _ClassVar[int]
    DEFECT_MASK_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    UPSCALE_FACTOR_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    product_id: str
    image: bytes
    repairs: _containers.RepeatedScalarFieldContainer[Repair]
    diagnose_only: bool
    defect_mask: bytes
    steps: int
    upscale_factor: int
    output: _images_pb2.OutputSpec
    def __init__(self, request_id: _Optional[str] = ..., product_id: _Optional[str] = ..., image: _Optional[bytes] = ..., repairs: _Optional[_Iterable[_Union[Repair, str]]] = ..., diagnose_only: _Optional[bool] = ..., defect_mask: _Optional[bytes] = ..., steps: _Optional[int] = ..., upscale_factor: _Optional[int] = ..., output: _Optional[_Union[_images_pb2.OutputSpec, _Mapping]] = ...) -> None: ...

class EnhanceImageResponse(_message.Message):
    __slots__ = ("image", "findings", "repairs", "difference", "model", "mask_uncertainty", "timings", "warnings", "request_id", "mask_source")
    class Finding(_message.Message):
        __slots__ = ("defect", "score_before", "score_after", "is_found", "measured")
        DEFECT_FIELD_NUMBER: _ClassVar[int]
        SCORE_BEFORE_FIELD_NUMBER: _ClassVar[int]
        SCORE_AFTER_FIELD_NUMBER: _ClassVar[int]
        IS_FOUND_FIELD_NUMBER: _ClassVar[int]
        MEASURED_FIELD_NUMBER: _ClassVar[int]
        defect: Defect
        score_before: float
        score_after: float
        is_found: bool
        measured: str
        def __init__(self, defect: _Optional[_Union[Defect, str]] = ..., score_before: _Optional[float] = ..., score_after: _Optional[float] = ..., is_found: _Optional[bool] = ..., measured: _Optional[str] = ...) -> None: ...
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    REPAIRS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MASK_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MASK_SOURCE_FIELD_NUMBER: _ClassVar[int]
    image: _images_pb2.Image
    findings: _containers.RepeatedCompositeFieldContainer[EnhanceImageResponse.Finding]
    repairs: _containers.RepeatedScalarFieldContainer[Repair]
    difference: _images_pb2.Image
    model: _images_pb2.Model
    mask_uncertainty: float
    timings: _containers.RepeatedCompositeFieldContainer[_images_pb2.StageTiming]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    mask_source: _images_pb2.MaskSource
    def __init__(self, image: _Optional[_Union[_images_pb2.Image, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[EnhanceImageResponse.Finding, _Mapping]]] = ..., repairs: _Optional[_Iterable[_Union[Repair, str]]] = ..., difference: _Optional[_Union[_images_pb2.Image, _Mapping]] = ..., model: _Optional[_Union[_images_pb2.Model, _Mapping]] = ..., mask_uncertainty: _Optional[float] = ..., timings: _Optional[_Iterable[_Union[_images_pb2.StageTiming, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ..., mask_source: _Optional[_Union[_images_pb2.MaskSource, str]] = ...) -> None: ...
