from negmine.v1 import types_pb2 as _types_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpsertStart(_message.Message):
    __slots__ = ("collection", "writer_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    WRITER_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    writer_id: str
    def __init__(self, collection: _Optional[str] = ..., writer_id: _Optional[str] = ...) -> None: ...

class UpsertBatch(_message.Message):
    __slots__ = ("number", "ids", "embeddings", "codes", "version", "groups", "tags", "uncertainties")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTIES_FIELD_NUMBER: _ClassVar[int]
    number: int
    ids: _types_pb2.Tensor
    embeddings: _types_pb2.Tensor
    codes: _types_pb2.Codes
    version: _types_pb2.Version
    groups: _types_pb2.Tensor
    tags: _types_pb2.Tensor
    uncertainties: _types_pb2.Tensor
    def __init__(self, number: _Optional[int] = ..., ids: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., embeddings: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., codes: _Optional[_Union[_types_pb2.Codes, _Mapping]] = ..., version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., groups: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., tags: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., uncertainties: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ...) -> None: ...

class UpsertRequest(_message.Message):
    __slots__ = ("start", "batch")
    START_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    start: UpsertStart
    batch: UpsertBatch
    def __init__(self, start: _Optional[_Union[UpsertStart, _Mapping]] = ..., batch: _Optional[_Union[UpsertBatch, _Mapping]] = ...) -> None: ...

class UpsertReady(_message.Message):
    __slots__ = ("window", "batch_rows_max", "collection", "watermark", "newest")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    window: int
    batch_rows_max: int
    collection: str
    watermark: _types_pb2.Watermark
    newest: _types_pb2.Version
    def __init__(self, window: _Optional[int] = ..., batch_rows_max: _Optional[int] = ..., collection: _Optional[str] = ..., watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ..., newest: _Optional[_Union[_types_pb2.Version, _Mapping]] = ...) -> None: ...

class UpsertAck(_message.Message):
    __slots__ = ("number", "inserted", "overwritten", "stale", "duplicate", "watermark", "applied")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    INSERTED_FIELD_NUMBER: _ClassVar[int]
    OVERWRITTEN_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    number: int
    inserted: int
    overwritten: int
    stale: int
    duplicate: bool
    watermark: _types_pb2.Watermark
    applied: _types_pb2.Tensor
    def __init__(self, number: _Optional[int] = ..., inserted: _Optional[int] = ..., overwritten: _Optional[int] = ..., stale: _Optional[int] = ..., duplicate: bool = ..., watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ..., applied: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ...) -> None: ...

class UpsertResponse(_message.Message):
    __slots__ = ("ready", "ack")
    READY_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    ready: UpsertReady
    ack: UpsertAck
    def __init__(self, ready: _Optional[_Union[UpsertReady, _Mapping]] = ..., ack: _Optional[_Union[UpsertAck, _Mapping]] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("collection", "ids", "version")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _types_pb2.Tensor
    version: _types_pb2.Version
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("deleted", "stale", "watermark")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    stale: int
    watermark: _types_pb2.Watermark
    def __init__(self, deleted: _Optional[int] = ..., stale: _Optional[int] = ..., watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("collection", "ids", "return_codes", "return_embeddings", "min_watermark")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    RETURN_CODES_FIELD_NUMBER: _ClassVar[int]
    RETURN_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    MIN_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _types_pb2.Tensor
    return_codes: bool
    return_embeddings: bool
    min_watermark: _types_pb2.Watermark
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., return_codes: bool = ..., return_embeddings: bool = ..., min_watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ...) -> None: ...

class FetchResponse(_message.Message):
    __slots__ = ("found", "steps", "generations", "groups", "tags", "uncertainties", "embeddings", "codes", "watermark")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTIES_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    found: _types_pb2.Tensor
    steps: _types_pb2.Tensor
    generations: _types_pb2.Tensor
    groups: _types_pb2.Tensor
    tags: _types_pb2.Tensor
    uncertainties: _types_pb2.Tensor
    embeddings: _types_pb2.Tensor
    codes: _types_pb2.Codes
    watermark: _types_pb2.Watermark
    def __init__(self, found: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., steps: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., generations: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., groups: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., tags: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., uncertainties: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., embeddings: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., codes: _Optional[_Union[_types_pb2.Codes, _Mapping]] = ..., watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ...) -> None: ...
