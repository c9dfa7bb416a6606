import datetime

from etalage.v1 import layouts_pb2 as _layouts_pb2
from etalage.v1 import scenes_pb2 as _scenes_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CachePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_POLICY_UNSPECIFIED: _ClassVar[CachePolicy]
    CACHE_POLICY_USE: _ClassVar[CachePolicy]
    CACHE_POLICY_REFRESH: _ClassVar[CachePolicy]
    CACHE_POLICY_BYPASS: _ClassVar[CachePolicy]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_PRESERVE: _ClassVar[Mode]
    MODE_RESTYLE: _ClassVar[Mode]
    MODE_CREATE: _ClassVar[Mode]

class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLER_UNSPECIFIED: _ClassVar[Sampler]
    SAMPLER_EULER: _ClassVar[Sampler]
    SAMPLER_HEUN: _ClassVar[Sampler]
    SAMPLER_DPMPP_2M: _ClassVar[Sampler]
    SAMPLER_EULER_ANCESTRAL: _ClassVar[Sampler]
    SAMPLER_LCM: _ClassVar[Sampler]

class Sigmas(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGMAS_UNSPECIFIED: _ClassVar[Sigmas]
    SIGMAS_UNIFORM: _ClassVar[Sigmas]
    SIGMAS_KARRAS: _ClassVar[Sigmas]

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]

class DeadlinePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEADLINE_POLICY_UNSPECIFIED: _ClassVar[DeadlinePolicy]
    DEADLINE_POLICY_STRICT: _ClassVar[DeadlinePolicy]
    DEADLINE_POLICY_DEGRADE: _ClassVar[DeadlinePolicy]

class MaskSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_SOURCE_UNSPECIFIED: _ClassVar[MaskSource]
    MASK_SOURCE_ALPHA: _ClassVar[MaskSource]
    MASK_SOURCE_GIVEN: _ClassVar[MaskSource]
    MASK_SOURCE_PLAIN_GROUND: _ClassVar[MaskSource]
    MASK_SOURCE_MATTING: _ClassVar[MaskSource]
    MASK_SOURCE_WHOLE_PICTURE: _ClassVar[MaskSource]

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_GENERATED: _ClassVar[Source]
    SOURCE_CACHE: _ClassVar[Source]
    SOURCE_ORIGINAL: _ClassVar[Source]

class Degradation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_UNSPECIFIED: _ClassVar[Degradation]
    DEGRADATION_FEWER_STEPS: _ClassVar[Degradation]
    DEGRADATION_NEAREST_TASTE: _ClassVar[Degradation]
    DEGRADATION_ORIGINAL: _ClassVar[Degradation]
CACHE_POLICY_UNSPECIFIED: CachePolicy
CACHE_POLICY_USE: CachePolicy
CACHE_POLICY_REFRESH: CachePolicy
CACHE_POLICY_BYPASS: CachePolicy
MODE_UNSPECIFIED: Mode
MODE_PRESERVE: Mode
MODE_RESTYLE: Mode
MODE_CREATE: Mode
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_EULER: Sampler
SAMPLER_HEUN: Sampler
SAMPLER_DPMPP_2M: Sampler
SAMPLER_EULER_ANCESTRAL: Sampler
SAMPLER_LCM: Sampler
SIGMAS_UNSPECIFIED: Sigmas
SIGMAS_UNIFORM: Sigmas
SIGMAS_KARRAS: Sigmas
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
DEADLINE_POLICY_UNSPECIFIED: DeadlinePolicy
DEADLINE_POLICY_STRICT: DeadlinePolicy
DEADLINE_POLICY_DEGRADE: DeadlinePolicy
MASK_SOURCE_UNSPECIFIED: MaskSource
MASK_SOURCE_ALPHA: MaskSource
MASK_SOURCE_GIVEN: MaskSource
MASK_SOURCE_PLAIN_GROUND: MaskSource
MASK_SOURCE_MATTING: MaskSource
MASK_SOURCE_WHOLE_PICTURE: MaskSource
SOURCE_UNSPECIFIED: Source
SOURCE_GENERATED: Source
SOURCE_CACHE: Source
SOURCE_ORIGINAL: Source
DEGRADATION_UNSPECIFIED: Degradation
DEGRADATION_FEWER_STEPS: Degradation
DEGRADATION_NEAREST_TASTE: Degradation
DEGRADATION_ORIGINAL: Degradation

class GenerateImageRequest(_message.Message):
    __slots__ = ("request_id", "user_id", "product_id", "inline_product", "mode", "locale", "num_images", "seed", "steps", "guidance", "output", "deadline_policy", "experiment", "sampler", "model", "sigmas", "reuse_predictions", "style", "scene", "diversity", "localization", "caption", "placement", "layout", "brand_kit", "max_tries", "explain", "cache_policy", "session_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    INLINE_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_POLICY_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SIGMAS_FIELD_NUMBER: _ClassVar[int]
    REUSE_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    SCENE_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    LOCALIZATION_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    BRAND_KIT_FIELD_NUMBER: _ClassVar[int]
    MAX_TRIES_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    CACHE_POLICY_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user_id: str
    product_id: str
    inline_product: InlineProduct
    mode: Mode
    locale: str
    num_images: int
    seed: int
    steps: int
    guidance: Guidance
    output: OutputSpec
    deadline_policy: DeadlinePolicy
    experiment: ExperimentOverride
    sampler: Sampler
    model: str
    sigmas: Sigmas
    reuse_predictions: bool
    style: str
    scene: _scenes_pb2.Scene
    diversity: float
    localization: _layouts_pb2.Localization
    caption: _layouts_pb2.Caption
    placement: _layouts_pb2.Placement
    layout: _layouts_pb2.Layout
    brand_kit: str
    max_tries: int
    explain: bool
    cache_policy: CachePolicy
    session_id: str
    def __init__(self, request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., product_id: _Optional[str] = ..., inline_product: _Optional[_Union[InlineProduct, _Mapping]] = ..., mode: _Optional[_Union[Mode, str]] = ..., locale: _Optional[str] = ..., num_images: _Optional[int] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., guidance: _Optional[_Union[Guidance, _Mapping]] = ..., output: _Optional[_Union[OutputSpec, _Mapping]] = ..., deadline_policy: _Optional[_Union[DeadlinePolicy, str]] = ..., experiment: _Optional[_Union[ExperimentOverride, _Mapping]] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., model: _Optional[str] = ..., sigmas: _Optional[_Union[Sigmas, str]] = ..., reuse_predictions: _Optional[bool] = ..., style: _Optional[str] = ..., scene: _Optional[_Union[_scenes_pb2.Scene, _Mapping]] = ..., diversity: _Optional[float] = ..., localization: _Optional[_Union[_layouts_pb2.Localization, _Mapping]] = ..., caption: _Optional[_Union[_layouts_pb2.Caption, _Mapping]] = ..., placement: _Optional[_Union[_layouts_pb2.Placement, str]] = ..., layout: _Optional[_Union[_layouts_pb2.Layout, _Mapping]] = ..., brand_kit: _Optional[str] = ..., max_tries: _Optional[int] = ..., explain: _Optional[bool] = ..., cache_policy: _Optional[_Union[CachePolicy, str]] = ..., session_id: _Optional[str] = ...) -> None: ...

class StreamImageRequest(_message.Message):
    __slots__ = ("image", "preview_side")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_SIDE_FIELD_NUMBER: _ClassVar[int]
    image: GenerateImageRequest
    preview_side: int
    def __init__(self, image: _Optional[_Union[GenerateImageRequest, _Mapping]] = ..., preview_side: _Optional[int] = ...) -> None: ...

class GenerateSlateRequest(_message.Message):
    __slots__ = ("product_ids", "template", "request_id")
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    template: GenerateImageRequest
    request_id: str
    def __init__(self, product_ids: _Optional[_Iterable[str]] = ..., template: _Optional[_Union[GenerateImageRequest, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelImageRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class ExplainImageRequest(_message.Message):
    __slots__ = ("image", "map_side")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MAP_SIDE_FIELD_NUMBER: _ClassVar[int]
    image: GenerateImageRequest
    map_side: int
    def __init__(self, image: _Optional[_Union[GenerateImageRequest, _Mapping]] = ..., map_side: _Optional[int] = ...) -> None: ...

class ExplainImageResponse(_message.Message):
    __slots__ = ("explanation", "personalization", "arm", "model")
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    PERSONALIZATION_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    explanation: Explanation
    personalization: Personalization
    arm: str
    model: Model
    def __init__(self, explanation: _Optional[_Union[Explanation, _Mapping]] = ..., personalization: _Optional[_Union[Personalization, _Mapping]] = ..., arm: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("influences", "text", "shopper_map", "sigma", "shopper_effect")
    INFLUENCES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SHOPPER_MAP_FIELD_NUMBER: _ClassVar[int]
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    SHOPPER_EFFECT_FIELD_NUMBER: _ClassVar[int]
    influences: _containers.RepeatedCompositeFieldContainer[Influence]
    text: str
    shopper_map: Image
    sigma: float
    shopper_effect: float
    def __init__(self, influences: _Optional[_Iterable[_Union[Influence, _Mapping]]] = ..., text: _Optional[str] = ..., shopper_map: _Optional[_Union[Image, _Mapping]] = ..., sigma: _Optional[float] = ..., shopper_effect: _Optional[float] = ...) -> None: ...

class Influence(_message.Message):
    __slots__ = ("input", "description", "share", "change")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    input: str
    description: str
    share: float
    change: float
    def __init__(self, input: _Optional[str] = ..., description: _Optional[str] = ..., share: _Optional[float] = ..., change: _Optional[float] = ...) -> None: ...

class CancelImageResponse(_message.Message):
    __slots__ = ("num_cancelled", "is_remembered")
    NUM_CANCELLED_FIELD_NUMBER: _ClassVar[int]
    IS_REMEMBERED_FIELD_NUMBER: _ClassVar[int]
    num_cancelled: int
    is_remembered: bool
    def __init__(self, num_cancelled: _Optional[int] = ..., is_remembered: _Optional[bool] = ...) -> None: ...

class InlineProduct(_message.Message):
    __slots__ = ("title", "packshot", "attributes", "control_map", "mask")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PACKSHOT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CONTROL_MAP_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    title: str
    packshot: bytes
    attributes: _containers.ScalarMap[str, str]
    control_map: bytes
    mask: bytes
    def __init__(self, title: _Optional[str] = ..., packshot: _Optional[bytes] = ..., attributes: _Optional[_Mapping[str, str]] = ..., control_map: _Optional[bytes] = ..., mask: _Optional[bytes] = ...) -> None: ...

class Guidance(_message.Message):
    __slots__ = ("product_scale", "strength")
    PRODUCT_SCALE_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    product_scale: float
    strength: float
    def __init__(self, product_scale: _Optional[float] = ..., strength: _Optional[float] = ...) -> None: ...

class OutputSpec(_message.Message):
    __slots__ = ("format", "quality", "longest_side", "aspect_ratio")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    LONGEST_SIDE_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIO_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    quality: int
    longest_side: int
    aspect_ratio: float
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., quality: _Optional[int] = ..., longest_side: _Optional[int] = ..., aspect_ratio: _Optional[float] = ...) -> None: ...

class ExperimentOverride(_message.Message):
    __slots__ = ("arm", "experiment")
    ARM_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    arm: str
    experiment: str
    def __init__(self, arm: _Optional[str] = ..., experiment: _Optional[str] = ...) -> None: ...

class ExperimentEnrolment(_message.Message):
    __slots__ = ("experiment", "arm", "propensity", "is_override")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    IS_OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    arm: str
    propensity: float
    is_override: bool
    def __init__(self, experiment: _Optional[str] = ..., arm: _Optional[str] = ..., propensity: _Optional[float] = ..., is_override: _Optional[bool] = ...) -> None: ...

class GenerateImageResponse(_message.Message):
    __slots__ = ("images", "source", "personalization", "arm", "model", "sampler", "steps", "timings", "request_id", "degradation", "num_forward_rows", "num_shared_steps", "warnings", "style", "tries", "explanation", "title_language", "experiment")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PERSONALIZATION_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_FIELD_NUMBER: _ClassVar[int]
    NUM_FORWARD_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_SHARED_STEPS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    TITLE_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    source: Source
    personalization: Personalization
    arm: str
    model: Model
    sampler: Sampler
    steps: int
    timings: _containers.RepeatedCompositeFieldContainer[StageTiming]
    request_id: str
    degradation: Degradation
    num_forward_rows: int
    num_shared_steps: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    style: str
    tries: _containers.RepeatedCompositeFieldContainer[Try]
    explanation: Explanation
    title_language: str
    experiment: ExperimentEnrolment
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., source: _Optional[_Union[Source, str]] = ..., personalization: _Optional[_Union[Personalization, _Mapping]] = ..., arm: _Optional[str] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., steps: _Optional[int] = ..., timings: _Optional[_Iterable[_Union[StageTiming, _Mapping]]] = ..., request_id: _Optional[str] = ..., degradation: _Optional[_Union[Degradation, str]] = ..., num_forward_rows: _Optional[int] = ..., num_shared_steps: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., style: _Optional[str] = ..., tries: _Optional[_Iterable[_Union[Try, _Mapping]]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., title_language: _Optional[str] = ..., experiment: _Optional[_Union[ExperimentEnrolment, _Mapping]] = ...) -> None: ...

class Try(_message.Message):
    __slots__ = ("seed", "reasons")
    SEED_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, seed: _Optional[int] = ..., reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class Fidelity(_message.Message):
    __slots__ = ("max_difference", "growth_percent", "mask_uncertainty", "sharpness", "mask_source")
    MAX_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    GROWTH_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MASK_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    MASK_SOURCE_FIELD_NUMBER: _ClassVar[int]
    max_difference: int
    growth_percent: float
    mask_uncertainty: float
    sharpness: float
    mask_source: MaskSource
    def __init__(self, max_difference: _Optional[int] = ..., growth_percent: _Optional[float] = ..., mask_uncertainty: _Optional[float] = ..., sharpness: _Optional[float] = ..., mask_source: _Optional[_Union[MaskSource, str]] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("data", "mime_type", "width", "height", "seed", "fidelity", "look", "is_original", "layout", "exposure_token", "is_signed", "is_watermarked")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    IS_ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    IS_SIGNED_FIELD_NUMBER: _ClassVar[int]
    IS_WATERMARKED_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    mime_type: str
    width: int
    height: int
    seed: int
    fidelity: Fidelity
    look: _containers.RepeatedScalarFieldContainer[str]
    is_original: bool
    layout: _layouts_pb2.Layout
    exposure_token: str
    is_signed: bool
    is_watermarked: bool
    def __init__(self, data: _Optional[bytes] = ..., mime_type: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., seed: _Optional[int] = ..., fidelity: _Optional[_Union[Fidelity, _Mapping]] = ..., look: _Optional[_Iterable[str]] = ..., is_original: _Optional[bool] = ..., layout: _Optional[_Union[_layouts_pb2.Layout, _Mapping]] = ..., exposure_token: _Optional[str] = ..., is_signed: _Optional[bool] = ..., is_watermarked: _Optional[bool] = ...) -> None: ...

class Personalization(_message.Message):
    __slots__ = ("applied", "reason", "feature_service", "feature_fingerprint", "feature_ages")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Personalization.Reason]
        REASON_APPLIED: _ClassVar[Personalization.Reason]
        REASON_STRENGTH_ZERO: _ClassVar[Personalization.Reason]
        REASON_ANONYMOUS: _ClassVar[Personalization.Reason]
        REASON_NO_CONSENT: _ClassVar[Personalization.Reason]
        REASON_UNKNOWN_USER: _ClassVar[Personalization.Reason]
        REASON_STALE: _ClassVar[Personalization.Reason]
        REASON_FEATURES_UNAVAILABLE: _ClassVar[Personalization.Reason]
        REASON_INVALID_FEATURES: _ClassVar[Personalization.Reason]
    REASON_UNSPECIFIED: Personalization.Reason
    REASON_APPLIED: Personalization.Reason
    REASON_STRENGTH_ZERO: Personalization.Reason
    REASON_ANONYMOUS: Personalization.Reason
    REASON_NO_CONSENT: Personalization.Reason
    REASON_UNKNOWN_USER: Personalization.Reason
    REASON_STALE: Personalization.Reason
    REASON_FEATURES_UNAVAILABLE: Personalization.Reason
    REASON_INVALID_FEATURES: Personalization.Reason
    class FeatureAgesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _duration_pb2.Duration
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FEATURE_AGES_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    reason: Personalization.Reason
    feature_service: str
    feature_fingerprint: str
    feature_ages: _containers.MessageMap[str, _duration_pb2.Duration]
    def __init__(self, applied: _Optional[bool] = ..., reason: _Optional[_Union[Personalization.Reason, str]] = ..., feature_service: _Optional[str] = ..., feature_fingerprint: _Optional[str] = ..., feature_ages: _Optional[_Mapping[str, _duration_pb2.Duration]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class StageTiming(_message.Message):
    __slots__ = ("stage", "duration")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    stage: str
    duration: _duration_pb2.Duration
    def __init__(self, stage: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamImageResponse(_message.Message):
    __slots__ = ("accepted", "progress", "result")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    progress: Progress
    result: GenerateImageResponse
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., result: _Optional[_Union[GenerateImageResponse, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("step", "total_steps", "preview")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    step: int
    total_steps: int
    preview: Image
    def __init__(self, step: _Optional[int] = ..., total_steps: _Optional[int] = ..., preview: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class GenerateSlateResponse(_message.Message):
    __slots__ = ("rank", "product_id", "result", "error")
    RANK_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    rank: int
    product_id: str
    result: GenerateImageResponse
    error: SlateError
    def __init__(self, rank: _Optional[int] = ..., product_id: _Optional[str] = ..., result: _Optional[_Union[GenerateImageResponse, _Mapping]] = ..., error: _Optional[_Union[SlateError, _Mapping]] = ...) -> None: ...

class SlateError(_message.Message):
    __slots__ = ("code", "reason", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
