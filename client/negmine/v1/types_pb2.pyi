from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_BFLOAT16: _ClassVar[DataType]
    DATA_TYPE_INT8: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]
    DATA_TYPE_UINT8: _ClassVar[DataType]
    DATA_TYPE_UINT64: _ClassVar[DataType]

class Scoring(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORING_UNSPECIFIED: _ClassVar[Scoring]
    SCORING_SYMMETRIC: _ClassVar[Scoring]
    SCORING_ASYMMETRIC: _ClassVar[Scoring]
    SCORING_FLOAT: _ClassVar[Scoring]

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_INNER_PRODUCT: _ClassVar[Metric]

class VectorStore(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VECTOR_STORE_UNSPECIFIED: _ClassVar[VectorStore]
    VECTOR_STORE_NONE: _ClassVar[VectorStore]
    VECTOR_STORE_INT8: _ClassVar[VectorStore]
    VECTOR_STORE_FLOAT16: _ClassVar[VectorStore]
    VECTOR_STORE_FLOAT32: _ClassVar[VectorStore]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_BFLOAT16: DataType
DATA_TYPE_INT8: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_INT64: DataType
DATA_TYPE_UINT8: DataType
DATA_TYPE_UINT64: DataType
SCORING_UNSPECIFIED: Scoring
SCORING_SYMMETRIC: Scoring
SCORING_ASYMMETRIC: Scoring
SCORING_FLOAT: Scoring
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_INNER_PRODUCT: Metric
VECTOR_STORE_UNSPECIFIED: VectorStore
VECTOR_STORE_NONE: VectorStore
VECTOR_STORE_INT8: VectorStore
VECTOR_STORE_FLOAT16: VectorStore
VECTOR_STORE_FLOAT32: VectorStore

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class RaggedIds(_message.Message):
    __slots__ = ("offsets", "values")
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    offsets: Tensor
    values: Tensor
    def __init__(self, offsets: _Optional[_Union[Tensor, _Mapping]] = ..., values: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Codes(_message.Message):
    __slots__ = ("fingerprint", "codes", "corrections", "norms")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    NORMS_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    codes: Tensor
    corrections: Tensor
    norms: Tensor
    def __init__(self, fingerprint: _Optional[str] = ..., codes: _Optional[_Union[Tensor, _Mapping]] = ..., corrections: _Optional[_Union[Tensor, _Mapping]] = ..., norms: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("generation", "step")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    generation: int
    step: int
    def __init__(self, generation: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class Watermark(_message.Message):
    __slots__ = ("incarnation", "epoch", "sequences")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    incarnation: str
    epoch: int
    sequences: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, incarnation: _Optional[str] = ..., epoch: _Optional[int] = ..., sequences: _Optional[_Iterable[int]] = ...) -> None: ...
