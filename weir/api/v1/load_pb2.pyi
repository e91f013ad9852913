from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RouterLoad(_message.Message):
    __slots__ = ("router_id", "process", "sequence", "pools")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    process: str
    sequence: int
    pools: _containers.RepeatedCompositeFieldContainer[PoolLoad]
    def __init__(self, router_id: _Optional[str] = ..., process: _Optional[str] = ..., sequence: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[PoolLoad, _Mapping]]] = ...) -> None: ...

class PoolLoad(_message.Message):
    __slots__ = ("pool_id", "worker_ids", "in_flight", "kv_tokens", "queued_tokens", "decoding", "decoding_kv_tokens", "prompts_s", "kv_spread", "direct_tokens")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_IDS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    KV_TOKENS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    DECODING_KV_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_S_FIELD_NUMBER: _ClassVar[int]
    KV_SPREAD_FIELD_NUMBER: _ClassVar[int]
    DIRECT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    worker_ids: _containers.RepeatedScalarFieldContainer[str]
    in_flight: _containers.RepeatedScalarFieldContainer[int]
    kv_tokens: _containers.RepeatedScalarFieldContainer[int]
    queued_tokens: _containers.RepeatedScalarFieldContainer[int]
    decoding: _containers.RepeatedScalarFieldContainer[int]
    decoding_kv_tokens: _containers.RepeatedScalarFieldContainer[int]
    prompts_s: _containers.RepeatedScalarFieldContainer[float]
    kv_spread: _containers.RepeatedScalarFieldContainer[int]
    direct_tokens: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, pool_id: _Optional[str] = ..., worker_ids: _Optional[_Iterable[str]] = ..., in_flight: _Optional[_Iterable[int]] = ..., kv_tokens: _Optional[_Iterable[int]] = ..., queued_tokens: _Optional[_Iterable[int]] = ..., decoding: _Optional[_Iterable[int]] = ..., decoding_kv_tokens: _Optional[_Iterable[int]] = ..., prompts_s: _Optional[_Iterable[float]] = ..., kv_spread: _Optional[_Iterable[int]] = ..., direct_tokens: _Optional[_Iterable[int]] = ...) -> None: ...
