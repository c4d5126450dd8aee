//! What a pickle makes: values in one heap, each a small number that can be copied.
//!
//! Containers may hold themselves, so a walk through them must be bounded. Knows no file.

use std::ops::Range;

/// How the elements of a storage are stored, by the names that `.safetensors` files give to types.
pub(super) type TypeName = &'static str;

/// A value. The numbers are places in the [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A text, by its place in the pickle.
    Text(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    /// A class or a function that is known.
    Global(Global),
    /// An object of a class of an archive of `torch.jit`, by its attributes.
    Script(usize),
    Storage(usize),
    Tensor(usize),
    /// A type of elements that is told by name.
    Type(TypeName),
    /// Anything else: a float, bytes, a set, an object of a class whose contents say nothing about weights.
    Other,
}

/// The classes and functions that a pickle may name. None of them is run: each says what its result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Global {
    /// `OrderedDict` and its kin, made of nothing or of pairs.
    Dict,
    /// `torch._utils._rebuild_tensor_v2` and the older one: storage, offset, size, strides, …
    Tensor,
    /// `torch._utils._rebuild_tensor_v3`: the same, with the type behind them.
    TypedTensor,
    /// `torch._tensor._rebuild_from_type_v2`: a function, a class, the function's arguments, …
    FromType,
    /// What gives its first argument, as `torch._utils._rebuild_parameter` and `torch.Size` do.
    First,
    /// A kind of tensor whose elements are not read.
    Unread(TypeName),
    /// A class of storages of one type.
    Storage(TypeName),
    /// A class of an archive of `torch.jit`.
    Script,
    /// A class or a function of plain data, whose results say nothing about weights.
    Data,
}

/// The elements of tensors: a record of the archive.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) dtype: TypeName,
    /// The name of the record, by its place in the pickle.
    pub(super) key: usize,
    pub(super) elems: u64,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// `None` if the tensor has no elements that can be read.
    pub(super) storage: Option<usize>,
    pub(super) dtype: TypeName,
    /// The first element in the storage.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<u64>,
}

/// All values of a pickle that have parts.
#[derive(Debug, Default)]
pub(super) struct Heap {
    pub(super) texts: Vec<Range<usize>>,
    pub(super) tuples: Vec<Vec<Value>>,
    pub(super) lists: Vec<Vec<Value>>,
    /// Pairs in their order. Of two with one key the last counts.
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    /// The attributes of objects, once they are told.
    pub(super) scripts: Vec<Value>,
    pub(super) storages: Vec<Storage>,
    pub(super) views: Vec<View>,
}

impl Heap {
    /// Adds `part` to `parts`, and returns its place.
    pub(super) fn add<T>(parts: &mut Vec<T>, part: T) -> usize {
        parts.push(part);
        parts.len() - 1
    }

    /// Returns the items of a tuple or of a list.
    pub(super) fn items(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Tuple(at) => self.tuples.get(at).map(Vec::as_slice),
            Value::List(at) => self.lists.get(at).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Returns the pairs of a dict, or the attributes of an object of `torch.jit`.
    pub(super) fn pairs(&self, value: Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(at) => self.dicts.get(at).map(Vec::as_slice),
            Value::Script(at) => match self.scripts.get(at) {
                Some(&Value::Dict(at)) => self.dicts.get(at).map(Vec::as_slice),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Value {
    /// Returns what the value is, for messages.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a number",
            Self::Text(_) => "a text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) | Self::Type(_) => "a class or a function",
            Self::Script(_) => "an object",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other => "other data",
        }
    }
}
