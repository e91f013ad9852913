from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogHistogram(_message.Message):
    __slots__ = ("counts",)
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.ScalarMap[int, int]
    def __init__(self, counts: _Optional[_Mapping[int, int]] = ...) -> None: ...

class ClassTraffic(_message.Message):
    __slots__ = ("class_name", "arrivals", "isl_tokens", "completed", "osl_tokens", "failed", "shed", "cancelled", "queued", "ttft_s", "itl_s", "hopeless_arrivals", "hopeless_isl_tokens", "isl_tokens_sq", "osl_tokens_sq", "decoding_ms", "completed_decoding_ms")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    OSL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SHED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    ITL_S_FIELD_NUMBER: _ClassVar[int]
    HOPELESS_ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    HOPELESS_ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_SQ_FIELD_NUMBER: _ClassVar[int]
    OSL_TOKENS_SQ_FIELD_NUMBER: _ClassVar[int]
    DECODING_MS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_DECODING_MS_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    arrivals: int
    isl_tokens: int
    completed: int
    osl_tokens: int
    failed: int
    shed: int
    cancelled: int
    queued: int
    ttft_s: LogHistogram
    itl_s: LogHistogram
    hopeless_arrivals: int
    hopeless_isl_tokens: int
    isl_tokens_sq: int
    osl_tokens_sq: int
    decoding_ms: int
    completed_decoding_ms: int
    def __init__(self, class_name: _Optional[str] = ..., arrivals: _Optional[int] = ..., isl_tokens: _Optional[int] = ..., completed: _Optional[int] = ..., osl_tokens: _Optional[int] = ..., failed: _Optional[int] = ..., shed: _Optional[int] = ..., cancelled: _Optional[int] = ..., queued: _Optional[int] = ..., ttft_s: _Optional[_Union[LogHistogram, _Mapping]] = ..., itl_s: _Optional[_Union[LogHistogram, _Mapping]] = ..., hopeless_arrivals: _Optional[int] = ..., hopeless_isl_tokens: _Optional[int] = ..., isl_tokens_sq: _Optional[int] = ..., osl_tokens_sq: _Optional[int] = ..., decoding_ms: _Optional[int] = ..., completed_decoding_ms: _Optional[int] = ...) -> None: ...

class PoolTraffic(_message.Message):
    __slots__ = ("pool_id", "arrivals", "isl_tokens", "completed", "osl_tokens", "failed", "in_flight", "queued_tokens", "first_token_s", "itl_s", "hopeless_queued_tokens", "direct")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    OSL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_S_FIELD_NUMBER: _ClassVar[int]
    ITL_S_FIELD_NUMBER: _ClassVar[int]
    HOPELESS_QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DIRECT_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    arrivals: int
    isl_tokens: int
    completed: int
    osl_tokens: int
    failed: int
    in_flight: int
    queued_tokens: int
    first_token_s: LogHistogram
    itl_s: LogHistogram
    hopeless_queued_tokens: int
    direct: int
    def __init__(self, pool_id: _Optional[str] = ..., arrivals: _Optional[int] = ..., isl_tokens: _Optional[int] = ..., completed: _Optional[int] = ..., osl_tokens: _Optional[int] = ..., failed: _Optional[int] = ..., in_flight: _Optional[int] = ..., queued_tokens: _Optional[int] = ..., first_token_s: _Optional[_Union[LogHistogram, _Mapping]] = ..., itl_s: _Optional[_Union[LogHistogram, _Mapping]] = ..., hopeless_queued_tokens: _Optional[int] = ..., direct: _Optional[int] = ...) -> None: ...

class TrafficSample(_message.Message):
    __slots__ = ("router_id", "sequence", "window_s", "classes", "pools")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    sequence: int
    window_s: float
    classes: _containers.RepeatedCompositeFieldContainer[ClassTraffic]
    pools: _containers.RepeatedCompositeFieldContainer[PoolTraffic]
    def __init__(self, router_id: _Optional[str] = ..., sequence: _Optional[int] = ..., window_s: _Optional[float] = ..., classes: _Optional[_Iterable[_Union[ClassTraffic, _Mapping]]] = ..., pools: _Optional[_Iterable[_Union[PoolTraffic, _Mapping]]] = ...) -> None: ...

class ForwardPassSample(_message.Message):
    __slots__ = ("pool_id", "worker_id", "sequence", "window_s", "iterations", "busy_s", "prefill_tokens", "decode_tokens", "running", "waiting", "waiting_tokens", "kv_used_tokens", "kv_total_tokens", "preemptions", "completed", "cached_tokens", "accept_length", "prefill_iterations")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    BUSY_S_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    WAITING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_USED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PREFILL_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    worker_id: str
    sequence: int
    window_s: float
    iterations: int
    busy_s: float
    prefill_tokens: int
    decode_tokens: int
    running: int
    waiting: int
    waiting_tokens: int
    kv_used_tokens: int
    kv_total_tokens: int
    preemptions: int
    completed: int
    cached_tokens: int
    accept_length: float
    prefill_iterations: int
    def __init__(self, pool_id: _Optional[str] = ..., worker_id: _Optional[str] = ..., sequence: _Optional[int] = ..., window_s: _Optional[float] = ..., iterations: _Optional[int] = ..., busy_s: _Optional[float] = ..., prefill_tokens: _Optional[int] = ..., decode_tokens: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., waiting_tokens: _Optional[int] = ..., kv_used_tokens: _Optional[int] = ..., kv_total_tokens: _Optional[int] = ..., preemptions: _Optional[int] = ..., completed: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., accept_length: _Optional[float] = ..., prefill_iterations: _Optional[int] = ...) -> None: ...
