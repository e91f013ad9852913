from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PoolState(_message.Message):
    __slots__ = ("ready", "starting", "terminating")
    READY_FIELD_NUMBER: _ClassVar[int]
    STARTING_FIELD_NUMBER: _ClassVar[int]
    TERMINATING_FIELD_NUMBER: _ClassVar[int]
    ready: int
    starting: int
    terminating: int
    def __init__(self, ready: _Optional[int] = ..., starting: _Optional[int] = ..., terminating: _Optional[int] = ...) -> None: ...

class ClassLoad(_message.Message):
    __slots__ = ("class_name", "rate_rps", "rate_high_rps", "isl_tokens", "osl_tokens")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    RATE_RPS_FIELD_NUMBER: _ClassVar[int]
    RATE_HIGH_RPS_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OSL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    rate_rps: float
    rate_high_rps: float
    isl_tokens: float
    osl_tokens: float
    def __init__(self, class_name: _Optional[str] = ..., rate_rps: _Optional[float] = ..., rate_high_rps: _Optional[float] = ..., isl_tokens: _Optional[float] = ..., osl_tokens: _Optional[float] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("pool_id", "sequence", "acted_term", "acted_epoch", "acted_replicas", "state", "capacity_rps", "capacity_rel_std", "load", "backlog_replica_s", "telemetry_age_s", "ttft_s", "itl_s", "start_up_s")
    class CapacityRpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACTED_TERM_FIELD_NUMBER: _ClassVar[int]
    ACTED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_RPS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_REL_STD_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_REPLICA_S_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_AGE_S_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    ITL_S_FIELD_NUMBER: _ClassVar[int]
    START_UP_S_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    sequence: int
    acted_term: int
    acted_epoch: int
    acted_replicas: int
    state: PoolState
    capacity_rps: _containers.ScalarMap[str, float]
    capacity_rel_std: float
    load: _containers.RepeatedCompositeFieldContainer[ClassLoad]
    backlog_replica_s: float
    telemetry_age_s: float
    ttft_s: float
    itl_s: float
    start_up_s: float
    def __init__(self, pool_id: _Optional[str] = ..., sequence: _Optional[int] = ..., acted_term: _Optional[int] = ..., acted_epoch: _Optional[int] = ..., acted_replicas: _Optional[int] = ..., state: _Optional[_Union[PoolState, _Mapping]] = ..., capacity_rps: _Optional[_Mapping[str, float]] = ..., capacity_rel_std: _Optional[float] = ..., load: _Optional[_Iterable[_Union[ClassLoad, _Mapping]]] = ..., backlog_replica_s: _Optional[float] = ..., telemetry_age_s: _Optional[float] = ..., ttft_s: _Optional[float] = ..., itl_s: _Optional[float] = ..., start_up_s: _Optional[float] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("pool_id", "term", "epoch", "replicas", "valid_s", "reason")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    VALID_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    term: int
    epoch: int
    replicas: int
    valid_s: float
    reason: str
    def __init__(self, pool_id: _Optional[str] = ..., term: _Optional[int] = ..., epoch: _Optional[int] = ..., replicas: _Optional[int] = ..., valid_s: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("grant", "newest_sequence")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    NEWEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    newest_sequence: int
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ..., newest_sequence: _Optional[int] = ...) -> None: ...

class RoutingPlan(_message.Message):
    __slots__ = ("term", "version", "classes")
    class StageShares(_message.Message):
        __slots__ = ("share_by_pool", "spill")
        class ShareByPoolEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: float
            def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
        SHARE_BY_POOL_FIELD_NUMBER: _ClassVar[int]
        SPILL_FIELD_NUMBER: _ClassVar[int]
        share_by_pool: _containers.ScalarMap[str, float]
        spill: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, share_by_pool: _Optional[_Mapping[str, float]] = ..., spill: _Optional[_Iterable[str]] = ...) -> None: ...
    class ClassPlan(_message.Message):
        __slots__ = ("prefill", "decode")
        PREFILL_FIELD_NUMBER: _ClassVar[int]
        DECODE_FIELD_NUMBER: _ClassVar[int]
        prefill: RoutingPlan.StageShares
        decode: RoutingPlan.StageShares
        def __init__(self, prefill: _Optional[_Union[RoutingPlan.StageShares, _Mapping]] = ..., decode: _Optional[_Union[RoutingPlan.StageShares, _Mapping]] = ...) -> None: ...
    class ClassesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RoutingPlan.ClassPlan
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RoutingPlan.ClassPlan, _Mapping]] = ...) -> None: ...
    TERM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    term: int
    version: int
    classes: _containers.MessageMap[str, RoutingPlan.ClassPlan]
    def __init__(self, term: _Optional[int] = ..., version: _Optional[int] = ..., classes: _Optional[_Mapping[str, RoutingPlan.ClassPlan]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PoolStatus(_message.Message):
    __slots__ = ("pool_id", "granted_replicas", "charged_gpus", "state", "report_age_s", "reason", "wanted_replicas")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REPORT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WANTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    granted_replicas: int
    charged_gpus: int
    state: PoolState
    report_age_s: float
    reason: str
    wanted_replicas: int
    def __init__(self, pool_id: _Optional[str] = ..., granted_replicas: _Optional[int] = ..., charged_gpus: _Optional[int] = ..., state: _Optional[_Union[PoolState, _Mapping]] = ..., report_age_s: _Optional[float] = ..., reason: _Optional[str] = ..., wanted_replicas: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("at_s", "pool_id", "before_replicas", "after_replicas", "reason")
    AT_S_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    AFTER_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at_s: float
    pool_id: str
    before_replicas: int
    after_replicas: int
    reason: str
    def __init__(self, at_s: _Optional[float] = ..., pool_id: _Optional[str] = ..., before_replicas: _Optional[int] = ..., after_replicas: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("term", "leading", "budget_gpus", "charged_gpus", "peak_charged_gpus", "budget_violations", "pools", "decisions", "plan", "holding")
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    BUDGET_GPUS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    PEAK_CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    term: int
    leading: bool
    budget_gpus: int
    charged_gpus: int
    peak_charged_gpus: int
    budget_violations: int
    pools: _containers.RepeatedCompositeFieldContainer[PoolStatus]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    plan: RoutingPlan
    holding: str
    def __init__(self, term: _Optional[int] = ..., leading: _Optional[bool] = ..., budget_gpus: _Optional[int] = ..., charged_gpus: _Optional[int] = ..., peak_charged_gpus: _Optional[int] = ..., budget_violations: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[PoolStatus, _Mapping]]] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., plan: _Optional[_Union[RoutingPlan, _Mapping]] = ..., holding: _Optional[str] = ...) -> None: ...
