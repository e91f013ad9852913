from weir.api.v1 import telemetry_pb2 as _telemetry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrafficRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class TrafficResponse(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: _containers.RepeatedCompositeFieldContainer[_telemetry_pb2.TrafficSample]
    def __init__(self, samples: _Optional[_Iterable[_Union[_telemetry_pb2.TrafficSample, _Mapping]]] = ...) -> None: ...

class RouteRequest(_message.Message):
    __slots__ = ("model", "isl_tokens", "max_tokens", "ttft_ms", "itl_ms", "priority", "tenant")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TTFT_MS_FIELD_NUMBER: _ClassVar[int]
    ITL_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    model: str
    isl_tokens: int
    max_tokens: int
    ttft_ms: float
    itl_ms: float
    priority: int
    tenant: str
    def __init__(self, model: _Optional[str] = ..., isl_tokens: _Optional[int] = ..., max_tokens: _Optional[int] = ..., ttft_ms: _Optional[float] = ..., itl_ms: _Optional[float] = ..., priority: _Optional[int] = ..., tenant: _Optional[str] = ...) -> None: ...

class RouteLeg(_message.Message):
    __slots__ = ("pool_id", "worker_id", "url")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    worker_id: str
    url: str
    def __init__(self, pool_id: _Optional[str] = ..., worker_id: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class RouteResponse(_message.Message):
    __slots__ = ("class_name", "isl_tokens", "osl_tokens", "prefill", "decode", "reason")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OSL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    isl_tokens: int
    osl_tokens: int
    prefill: RouteLeg
    decode: RouteLeg
    reason: str
    def __init__(self, class_name: _Optional[str] = ..., isl_tokens: _Optional[int] = ..., osl_tokens: _Optional[int] = ..., prefill: _Optional[_Union[RouteLeg, _Mapping]] = ..., decode: _Optional[_Union[RouteLeg, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...
