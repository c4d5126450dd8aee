//! The classes and functions that a pickle of weights may name: the whole list of what is trusted to be only data.
//!
//! Nothing in the list is run. A name that is not here is refused, since only Python could say what it means.

use super::value::{Global, TypeName};
use crate::formats::elements::number_bytes;

/// Names that say what their result is, each with its module.
const KNOWN: &[(&str, &[&str], Global)] = &[
    ("collections", &["OrderedDict", "defaultdict", "Counter"], Global::Dict),
    ("builtins", &["dict"], Global::Dict),
    ("__builtin__", &["dict"], Global::Dict),
    ("torch._utils", &["_rebuild_tensor", "_rebuild_tensor_v2"], Global::Tensor),
    ("torch._utils", &["_rebuild_tensor_v3"], Global::TypedTensor),
    ("torch._utils", &["_rebuild_parameter", "_rebuild_parameter_with_state"], Global::First),
    ("torch._tensor", &["_rebuild_from_type_v2", "_rebuild_from_type"], Global::FromType),
    ("torch._utils", &["_rebuild_qtensor"], Global::Unread("a quantized type")),
    ("torch._utils", &["_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor"], Global::Unread("a sparse layout")),
    ("torch._utils", &["_rebuild_nested_tensor"], Global::Unread("a nested layout")),
    ("torch._utils", &["_rebuild_meta_tensor_no_storage"], Global::Unread("no storage (meta)")),
    ("torch", &["Size"], Global::First),
    ("torch.jit._pickle", &["restore_type_tag"], Global::First),
];

/// Modules of plain data, and the names in them; no names stand for all of the module and of those in it.
const DATA: &[(&str, &[&str])] = &[
    ("torch", &["device", "Tensor", "strided", "per_tensor_affine", "per_channel_affine", "contiguous_format"]),
    ("torch._tensor", &["Tensor"]),
    ("torch.nn.parameter", &["Parameter", "Buffer"]),
    ("torch.serialization", &["_get_layout"]),
    ("torch.storage", &["TypedStorage"]),
    (
        "torch.jit._pickle",
        &["build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "build_complexlist"],
    ),
    ("builtins", PLAIN),
    ("__builtin__", PLAIN),
    ("collections", &["deque"]),
    ("_codecs", &["encode"]),
    ("copy_reg", &["_reconstructor"]),
    ("copyreg", &["_reconstructor"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy.dtypes", &[]),
    ("argparse", &["Namespace"]),
    ("types", &["SimpleNamespace"]),
    ("typing", &["Any", "Dict", "List", "Union", "Optional"]),
    ("pathlib", &["Path", "PosixPath", "PurePosixPath", "PurePath", "PureWindowsPath", "WindowsPath"]),
    ("pathlib._local", &["Path", "PosixPath", "PurePosixPath", "PurePath", "PureWindowsPath", "WindowsPath"]),
    ("datetime", &["datetime", "date", "time", "timedelta", "timezone"]),
    ("omegaconf", &[]),
    ("fairseq.data.dictionary", &["Dictionary"]),
    ("fairseq.meters", &[]),
    ("fairseq.logging.meters", &[]),
    ("pytorch_lightning.utilities.parsing", &["AttributeDict"]),
    ("lightning.pytorch.utilities.parsing", &["AttributeDict"]),
    ("lightning_lite.utilities.data", &["AttributeDict"]),
    ("lightning_fabric.utilities.data", &["AttributeDict"]),
    ("lightning.fabric.utilities.data", &["AttributeDict"]),
    ("pytorch_lightning.callbacks.model_checkpoint", &["ModelCheckpoint"]),
    ("pytorch_lightning.callbacks.early_stopping", &["EarlyStopping"]),
    ("pytorch_lightning.callbacks.lr_monitor", &["LearningRateMonitor"]),
];

/// Python's own types of plain data.
const PLAIN: &[&str] = &[
    "set",
    "frozenset",
    "list",
    "tuple",
    "slice",
    "range",
    "complex",
    "bytearray",
    "bytes",
    "int",
    "float",
    "bool",
    "str",
    "unicode",
    "long",
    "object",
];

/// The types of elements: that of a storage's class, that of a `torch.dtype`, and the type in our words.
const TYPES: &[(&str, &[&str], TypeName)] = &[
    ("DoubleStorage", &["float64", "double"], "F64"),
    ("FloatStorage", &["float32", "float"], "F32"),
    ("HalfStorage", &["float16", "half"], "F16"),
    ("BFloat16Storage", &["bfloat16"], "BF16"),
    ("LongStorage", &["int64", "long"], "I64"),
    ("IntStorage", &["int32", "int"], "I32"),
    ("ShortStorage", &["int16", "short"], "I16"),
    ("CharStorage", &["int8"], "I8"),
    ("ByteStorage", &["uint8"], "U8"),
    ("BoolStorage", &["bool"], "BOOL"),
    ("ComplexFloatStorage", &["complex64", "cfloat"], "C64"),
    ("ComplexDoubleStorage", &["complex128", "cdouble"], "C128"),
    ("QInt8Storage", &["qint8"], "QI8"),
    ("QUInt8Storage", &["quint8"], "QU8"),
    ("QInt32Storage", &["qint32"], "QI32"),
    ("", &["uint16"], "U16"),
    ("", &["uint32"], "U32"),
    ("", &["uint64"], "U64"),
    ("", &["float8_e4m3fn"], "F8_E4M3"),
    ("", &["float8_e5m2"], "F8_E5M2"),
    ("", &["float8_e4m3fnuz"], "F8_E4M3FNUZ"),
    ("", &["float8_e5m2fnuz"], "F8_E5M2FNUZ"),
    ("", &["float8_e8m0fnu"], "F8_E8M0"),
];

/// A name of a pickle that is known.
pub(super) enum Known {
    Global(Global),
    /// A `torch.dtype`.
    Type(TypeName),
}

/// Returns what `name` of `module` is, or `None` if it is not in the list. Classes of
/// `__torch__` are those of an archive of `torch.jit`.
pub(super) fn known(module: &str, name: &str, is_script: bool) -> Option<Known> {
    if is_script && (module == "__torch__" || module.starts_with("__torch__.")) {
        return Some(Known::Global(Global::Script));
    }
    if let Some((.., global)) = KNOWN.iter().find(|(of, names, _)| *of == module && names.contains(&name)) {
        return Some(Known::Global(*global));
    }
    if module == "torch.storage" && name == "UntypedStorage" {
        return Some(Known::Global(Global::Storage("U8")));
    }
    if module == "torch" || module == "torch.cuda" {
        let storage = TYPES.iter().find(|(class, ..)| !class.is_empty() && *class == name);
        if let Some((.., dtype)) = storage {
            return Some(Known::Global(Global::Storage(dtype)));
        }
        if let Some((.., dtype)) = TYPES.iter().find(|(_, names, _)| names.contains(&name)) {
            return Some(Known::Type(dtype));
        }
    }
    let is_in = |of: &str| module.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_data = |(of, names): &&(&str, &[&str])| match names.is_empty() {
        true => is_in(of),
        false => *of == module && names.contains(&name),
    };
    DATA.iter().find(is_data).map(|_| Known::Global(Global::Data))
}

/// Returns the bytes of an element of a type; `None` if no storage has it.
pub(super) fn elem_bytes(dtype: TypeName) -> Option<u64> {
    number_bytes(dtype).or(match dtype {
        "C128" => Some(16),
        "C64" => Some(8),
        "QI32" => Some(4),
        "QI8" | "QU8" => Some(1),
        other if other.starts_with("F8") => Some(1),
        _ => None,
    })
}
