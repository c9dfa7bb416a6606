import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Placement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLACEMENT_UNSPECIFIED: _ClassVar[Placement]
    PLACEMENT_SQUARE: _ClassVar[Placement]
    PLACEMENT_STORY: _ClassVar[Placement]
    PLACEMENT_BANNER: _ClassVar[Placement]
    PLACEMENT_THUMBNAIL: _ClassVar[Placement]
PLACEMENT_UNSPECIFIED: Placement
PLACEMENT_SQUARE: Placement
PLACEMENT_STORY: Placement
PLACEMENT_BANNER: Placement
PLACEMENT_THUMBNAIL: Placement

class Localization(_message.Message):
    __slots__ = ("market", "time", "occasion")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    OCCASION_FIELD_NUMBER: _ClassVar[int]
    market: str
    time: _timestamp_pb2.Timestamp
    occasion: bool
    def __init__(self, market: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., occasion: _Optional[bool] = ...) -> None: ...

class Caption(_message.Message):
    __slots__ = ("title", "title_text", "price", "former_price", "badge", "label")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TITLE_TEXT_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    FORMER_PRICE_FIELD_NUMBER: _ClassVar[int]
    BADGE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    title: bool
    title_text: str
    price: Price
    former_price: Price
    badge: str
    label: bool
    def __init__(self, title: _Optional[bool] = ..., title_text: _Optional[str] = ..., price: _Optional[_Union[Price, _Mapping]] = ..., former_price: _Optional[_Union[Price, _Mapping]] = ..., badge: _Optional[str] = ..., label: _Optional[bool] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("currency_code", "units", "nanos")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    units: int
    nanos: int
    def __init__(self, currency_code: _Optional[str] = ..., units: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class Layout(_message.Message):
    __slots__ = ("width", "height", "safe_area", "elements", "is_mirrored")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Layout.Kind]
        KIND_PRODUCT: _ClassVar[Layout.Kind]
        KIND_TITLE: _ClassVar[Layout.Kind]
        KIND_PRICE: _ClassVar[Layout.Kind]
        KIND_FORMER_PRICE: _ClassVar[Layout.Kind]
        KIND_BADGE: _ClassVar[Layout.Kind]
        KIND_LOGO: _ClassVar[Layout.Kind]
        KIND_LABEL: _ClassVar[Layout.Kind]
    KIND_UNSPECIFIED: Layout.Kind
    KIND_PRODUCT: Layout.Kind
    KIND_TITLE: Layout.Kind
    KIND_PRICE: Layout.Kind
    KIND_FORMER_PRICE: Layout.Kind
    KIND_BADGE: Layout.Kind
    KIND_LOGO: Layout.Kind
    KIND_LABEL: Layout.Kind
    class Element(_message.Message):
        __slots__ = ("kind", "box", "text", "style")
        KIND_FIELD_NUMBER: _ClassVar[int]
        BOX_FIELD_NUMBER: _ClassVar[int]
        TEXT_FIELD_NUMBER: _ClassVar[int]
        STYLE_FIELD_NUMBER: _ClassVar[int]
        kind: Layout.Kind
        box: Box
        text: str
        style: TextStyle
        def __init__(self, kind: _Optional[_Union[Layout.Kind, str]] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., text: _Optional[str] = ..., style: _Optional[_Union[TextStyle, _Mapping]] = ...) -> None: ...
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SAFE_AREA_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    IS_MIRRORED_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    safe_area: Box
    elements: _containers.RepeatedCompositeFieldContainer[Layout.Element]
    is_mirrored: bool
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., safe_area: _Optional[_Union[Box, _Mapping]] = ..., elements: _Optional[_Iterable[_Union[Layout.Element, _Mapping]]] = ..., is_mirrored: _Optional[bool] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("left", "top", "width", "height")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    width: float
    height: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ...) -> None: ...

class TextStyle(_message.Message):
    __slots__ = ("font", "size", "colour", "background", "is_right_to_left", "language")
    FONT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    IS_RIGHT_TO_LEFT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    font: str
    size: float
    colour: str
    background: str
    is_right_to_left: bool
    language: str
    def __init__(self, font: _Optional[str] = ..., size: _Optional[float] = ..., colour: _Optional[str] = ..., background: _Optional[str] = ..., is_right_to_left: _Optional[bool] = ..., language: _Optional[str] = ...) -> None: ...
