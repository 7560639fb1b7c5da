from negmine.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServingState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVING_STATE_UNSPECIFIED: _ClassVar[ServingState]
    SERVING_STATE_SERVING: _ClassVar[ServingState]
    SERVING_STATE_DATA_LOSS: _ClassVar[ServingState]
    SERVING_STATE_FENCED: _ClassVar[ServingState]
    SERVING_STATE_LOADING: _ClassVar[ServingState]
    SERVING_STATE_FAILED: _ClassVar[ServingState]
SERVING_STATE_UNSPECIFIED: ServingState
SERVING_STATE_SERVING: ServingState
SERVING_STATE_DATA_LOSS: ServingState
SERVING_STATE_FENCED: ServingState
SERVING_STATE_LOADING: ServingState
SERVING_STATE_FAILED: ServingState

class Mean(_message.Message):
    __slots__ = ("given", "estimate_rows")
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_ROWS_FIELD_NUMBER: _ClassVar[int]
    given: _types_pb2.Tensor
    estimate_rows: int
    def __init__(self, given: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., estimate_rows: _Optional[int] = ...) -> None: ...

class CollectionSpec(_message.Message):
    __slots__ = ("dimension", "bits", "metric", "vectors", "seed", "mean", "shards", "recall_target")
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    RECALL_TARGET_FIELD_NUMBER: _ClassVar[int]
    dimension: int
    bits: int
    metric: _types_pb2.Metric
    vectors: _types_pb2.VectorStore
    seed: int
    mean: Mean
    shards: int
    recall_target: float
    def __init__(self, dimension: _Optional[int] = ..., bits: _Optional[int] = ..., metric: _Optional[_Union[_types_pb2.Metric, str]] = ..., vectors: _Optional[_Union[_types_pb2.VectorStore, str]] = ..., seed: _Optional[int] = ..., mean: _Optional[_Union[Mean, _Mapping]] = ..., shards: _Optional[int] = ..., recall_target: _Optional[float] = ...) -> None: ...

class CollectionInfo(_message.Message):
    __slots__ = ("name", "spec", "fingerprint", "watermark", "newest", "generation", "rows", "state", "problem", "created_ms", "mean")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: CollectionSpec
    fingerprint: str
    watermark: _types_pb2.Watermark
    newest: _types_pb2.Version
    generation: int
    rows: int
    state: ServingState
    problem: str
    created_ms: int
    mean: _types_pb2.Tensor
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[CollectionSpec, _Mapping]] = ..., fingerprint: _Optional[str] = ..., watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ..., newest: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., generation: _Optional[int] = ..., rows: _Optional[int] = ..., state: _Optional[_Union[ServingState, str]] = ..., problem: _Optional[str] = ..., created_ms: _Optional[int] = ..., mean: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "spec", "exist_ok")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    EXIST_OK_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: CollectionSpec
    exist_ok: bool
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[CollectionSpec, _Mapping]] = ..., exist_ok: bool = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection", "created")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    collection: CollectionInfo
    created: bool
    def __init__(self, collection: _Optional[_Union[CollectionInfo, _Mapping]] = ..., created: bool = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: CollectionInfo
    def __init__(self, collection: _Optional[_Union[CollectionInfo, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "collection")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "aliases")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[CollectionInfo]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    def __init__(self, collections: _Optional[_Iterable[_Union[CollectionInfo, _Mapping]]] = ..., aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ...) -> None: ...

class DropCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class DropCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("alias", "collection")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    alias: str
    collection: str
    def __init__(self, alias: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("previous",)
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    previous: str
    def __init__(self, previous: _Optional[str] = ...) -> None: ...

class DropAliasRequest(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: str
    def __init__(self, alias: _Optional[str] = ...) -> None: ...

class DropAliasResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class CreateSnapshotResponse(_message.Message):
    __slots__ = ("watermark", "size_bytes", "rows", "trimmed")
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TRIMMED_FIELD_NUMBER: _ClassVar[int]
    watermark: _types_pb2.Watermark
    size_bytes: int
    rows: int
    trimmed: int
    def __init__(self, watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ..., size_bytes: _Optional[int] = ..., rows: _Optional[int] = ..., trimmed: _Optional[int] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ShardStats(_message.Message):
    __slots__ = ("shard", "rows", "dead_rows", "tombstones", "memory_bytes", "log_bytes", "snapshot_sequence", "sequence", "bucket_rows", "loose_rows")
    class MemoryBytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SHARD_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DEAD_ROWS_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ROWS_FIELD_NUMBER: _ClassVar[int]
    LOOSE_ROWS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    rows: int
    dead_rows: int
    tombstones: int
    memory_bytes: _containers.ScalarMap[str, int]
    log_bytes: int
    snapshot_sequence: int
    sequence: int
    bucket_rows: _containers.RepeatedScalarFieldContainer[int]
    loose_rows: int
    def __init__(self, shard: _Optional[int] = ..., rows: _Optional[int] = ..., dead_rows: _Optional[int] = ..., tombstones: _Optional[int] = ..., memory_bytes: _Optional[_Mapping[str, int]] = ..., log_bytes: _Optional[int] = ..., snapshot_sequence: _Optional[int] = ..., sequence: _Optional[int] = ..., bucket_rows: _Optional[_Iterable[int]] = ..., loose_rows: _Optional[int] = ...) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("collection", "shards", "bucket_max_over_mean", "bucket_variation", "bucket_empty_share", "bucket_entropy", "measured_recall")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    BUCKET_MAX_OVER_MEAN_FIELD_NUMBER: _ClassVar[int]
    BUCKET_VARIATION_FIELD_NUMBER: _ClassVar[int]
    BUCKET_EMPTY_SHARE_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    MEASURED_RECALL_FIELD_NUMBER: _ClassVar[int]
    collection: CollectionInfo
    shards: _containers.RepeatedCompositeFieldContainer[ShardStats]
    bucket_max_over_mean: float
    bucket_variation: float
    bucket_empty_share: float
    bucket_entropy: float
    measured_recall: float
    def __init__(self, collection: _Optional[_Union[CollectionInfo, _Mapping]] = ..., shards: _Optional[_Iterable[_Union[ShardStats, _Mapping]]] = ..., bucket_max_over_mean: _Optional[float] = ..., bucket_variation: _Optional[float] = ..., bucket_empty_share: _Optional[float] = ..., bucket_entropy: _Optional[float] = ..., measured_recall: _Optional[float] = ...) -> None: ...

class StartGenerationRequest(_message.Message):
    __slots__ = ("collection", "generation")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    generation: int
    def __init__(self, collection: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class StartGenerationResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Limits(_message.Message):
    __slots__ = ("message_bytes_max", "anchors_max", "k_max", "pool_max", "batch_rows_max", "upsert_window", "collections_max", "step_ahead_max", "positives_max")
    MESSAGE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_MAX_FIELD_NUMBER: _ClassVar[int]
    K_MAX_FIELD_NUMBER: _ClassVar[int]
    POOL_MAX_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    UPSERT_WINDOW_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_MAX_FIELD_NUMBER: _ClassVar[int]
    STEP_AHEAD_MAX_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_MAX_FIELD_NUMBER: _ClassVar[int]
    message_bytes_max: int
    anchors_max: int
    k_max: int
    pool_max: int
    batch_rows_max: int
    upsert_window: int
    collections_max: int
    step_ahead_max: int
    positives_max: int
    def __init__(self, message_bytes_max: _Optional[int] = ..., anchors_max: _Optional[int] = ..., k_max: _Optional[int] = ..., pool_max: _Optional[int] = ..., batch_rows_max: _Optional[int] = ..., upsert_window: _Optional[int] = ..., collections_max: _Optional[int] = ..., step_ahead_max: _Optional[int] = ..., positives_max: _Optional[int] = ...) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "limits", "features", "backend")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    version: str
    limits: Limits
    features: _containers.RepeatedScalarFieldContainer[str]
    backend: str
    def __init__(self, version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., features: _Optional[_Iterable[str]] = ..., backend: _Optional[str] = ...) -> None: ...
