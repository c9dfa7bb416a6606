from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Palette(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PALETTE_UNSPECIFIED: _ClassVar[Palette]
    PALETTE_SAND: _ClassVar[Palette]
    PALETTE_CORAL: _ClassVar[Palette]
    PALETTE_LEMON: _ClassVar[Palette]
    PALETTE_MINT: _ClassVar[Palette]
    PALETTE_SKY: _ClassVar[Palette]
    PALETTE_LAVENDER: _ClassVar[Palette]
    PALETTE_ROSE: _ClassVar[Palette]
    PALETTE_GRAPHITE: _ClassVar[Palette]

class Setting(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SETTING_UNSPECIFIED: _ClassVar[Setting]
    SETTING_STUDIO: _ClassVar[Setting]
    SETTING_GLOW: _ClassVar[Setting]
    SETTING_TABLE: _ClassVar[Setting]
    SETTING_PATTERN: _ClassVar[Setting]
    SETTING_OUTDOOR: _ClassVar[Setting]
    SETTING_NIGHT: _ClassVar[Setting]
    SETTING_SHELF: _ClassVar[Setting]
    SETTING_FESTIVE: _ClassVar[Setting]

class Season(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEASON_UNSPECIFIED: _ClassVar[Season]
    SEASON_SPRING: _ClassVar[Season]
    SEASON_SUMMER: _ClassVar[Season]
    SEASON_AUTUMN: _ClassVar[Season]
    SEASON_WINTER: _ClassVar[Season]
PALETTE_UNSPECIFIED: Palette
PALETTE_SAND: Palette
PALETTE_CORAL: Palette
PALETTE_LEMON: Palette
PALETTE_MINT: Palette
PALETTE_SKY: Palette
PALETTE_LAVENDER: Palette
PALETTE_ROSE: Palette
PALETTE_GRAPHITE: Palette
SETTING_UNSPECIFIED: Setting
SETTING_STUDIO: Setting
SETTING_GLOW: Setting
SETTING_TABLE: Setting
SETTING_PATTERN: Setting
SETTING_OUTDOOR: Setting
SETTING_NIGHT: Setting
SETTING_SHELF: Setting
SETTING_FESTIVE: Setting
SEASON_UNSPECIFIED: Season
SEASON_SPRING: Season
SEASON_SUMMER: Season
SEASON_AUTUMN: Season
SEASON_WINTER: Season

class Scene(_message.Message):
    __slots__ = ("palette", "setting", "season", "brief", "avoided_palettes", "avoided_settings", "avoided")
    PALETTE_FIELD_NUMBER: _ClassVar[int]
    SETTING_FIELD_NUMBER: _ClassVar[int]
    SEASON_FIELD_NUMBER: _ClassVar[int]
    BRIEF_FIELD_NUMBER: _ClassVar[int]
    AVOIDED_PALETTES_FIELD_NUMBER: _ClassVar[int]
    AVOIDED_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    AVOIDED_FIELD_NUMBER: _ClassVar[int]
    palette: Palette
    setting: Setting
    season: Season
    brief: str
    avoided_palettes: _containers.RepeatedScalarFieldContainer[Palette]
    avoided_settings: _containers.RepeatedScalarFieldContainer[Setting]
    avoided: str
    def __init__(self, palette: _Optional[_Union[Palette, str]] = ..., setting: _Optional[_Union[Setting, str]] = ..., season: _Optional[_Union[Season, str]] = ..., brief: _Optional[str] = ..., avoided_palettes: _Optional[_Iterable[_Union[Palette, str]]] = ..., avoided_settings: _Optional[_Iterable[_Union[Setting, str]]] = ..., avoided: _Optional[str] = ...) -> None: ...
