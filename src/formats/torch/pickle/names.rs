//! What the classes and functions that a pickle names give: dicts, storages, tensors, or data of no interest.
//!
//! Knows the list of names; knows no opcode.

use std::ops::Range;

use super::{Machine, damaged};
use crate::error::{Error, Result};
use crate::formats::strided::MOST_AXES;
use crate::formats::torch::globals::{Known, known};
use crate::formats::torch::value::{Global, Heap, Storage, TypeName, Value, View};

/// The longest name of a module, a class, a tensor or a storage.
pub(in super::super) const LONGEST_NAME: usize = 1 << 10;

/// What is said about a name that is refused.
const SAVE: &str = "save the weights alone: torch.save(model.state_dict(), \"model.pt\")";

impl Machine<'_> {
    pub(super) fn global(&mut self, module: Range<usize>, name: Range<usize>) -> Result<()> {
        let key = (module.clone(), name.clone());
        if let Some(&value) = self.interned.get(&key) {
            self.push(value);
            return Ok(());
        }
        let text = |range: Range<usize>| {
            let text = self.bytes.get(range).filter(|bytes| bytes.len() <= LONGEST_NAME);
            text.and_then(|bytes| str::from_utf8(bytes).ok())
                .ok_or_else(|| damaged("expected the name of a class or a function, got other bytes"))
        };
        let (module, name) = (text(module)?, text(name)?);
        let value = match known(module, name, self.is_script) {
            Some(Known::Global(global)) => Value::Global(global),
            Some(Known::Type(dtype)) => Value::Type(dtype),
            None => return Err(self.refused(module, name)),
        };
        self.interned.insert(key, value);
        self.push(value);
        Ok(())
    }

    /// The error of a name that is not known.
    fn refused(&self, module: &str, name: &str) -> Error {
        let called = format!("{}.{}", module.escape_default(), name.escape_default());
        let holds = |value: &Value| matches!(value, Value::Dict(_) | Value::List(_) | Value::Script(_));
        let is_outermost = !self.stack.iter().any(holds);
        damaged(match is_outermost || module.starts_with("torch.nn.modules.") {
            true => format!(
                "expected weights by name (a state_dict), got a module saved whole, of class {called}, whose code would have \
                 to be run; {SAVE}"
            ),
            false => format!("expected plain data and tensors, got {called}, which is never run; {SAVE}"),
        })
    }

    /// Returns what a function gives, or an object of a class.
    pub(super) fn call(&mut self, callable: Value, args: Value) -> Result<Value> {
        let Value::Global(mut global) = callable else {
            return match callable {
                Value::Other => Ok(Value::Other),
                other => Err(damaged(format!("expected a class or a function to call, got {}", other.what()))),
            };
        };
        let mut args = self.heap.items(args).unwrap_or_default().to_vec();
        self.values += args.len();
        if global == Global::FromType {
            let (Some(&Value::Global(inner)), Some(inner_args)) = (args.first(), args.get(2)) else {
                return Err(damaged("expected a function and its arguments to rebuild a tensor, got other data"));
            };
            global = inner;
            args = self.heap.items(*inner_args).unwrap_or_default().to_vec();
            self.values += args.len();
        }
        match global {
            Global::Dict => {
                let pair = |&item: &Value| match self.heap.items(item) {
                    Some(&[key, value]) => Some((key, value)),
                    _ => None,
                };
                let items = args.first().and_then(|&items| self.heap.items(items)).unwrap_or_default();
                let pairs: Vec<_> = items.iter().filter_map(pair).collect();
                self.values += pairs.len();
                Ok(Value::Dict(Heap::add(&mut self.heap.dicts, pairs)))
            }
            Global::First => Ok(args.first().copied().unwrap_or(Value::Other)),
            Global::Script => Ok(Value::Script(Heap::add(&mut self.heap.scripts, Value::None))),
            Global::Tensor => self.tensor(&args, None),
            Global::TypedTensor => match args.get(6) {
                Some(&Value::Type(dtype)) => self.tensor(&args, Some(dtype)),
                _ => Err(damaged("expected a tensor's type, got other data")),
            },
            Global::Unread(dtype) => {
                let view = View { storage: None, dtype, offset: 0, shape: Vec::new(), strides: Vec::new() };
                Ok(Value::Tensor(Heap::add(&mut self.heap.views, view)))
            }
            Global::FromType | Global::Storage(_) | Global::Data => Ok(Value::Other),
        }
    }

    /// Makes a tensor of `_rebuild_tensor`'s arguments: storage, offset, size and strides.
    fn tensor(&mut self, args: &[Value], dtype: Option<TypeName>) -> Result<Value> {
        let &[Value::Storage(storage), Value::Int(offset), size, strides, ..] = args else {
            return Err(damaged("expected a tensor's storage, offset, size and strides, got other data"));
        };
        let lengths = |value: Value| {
            let items = self.heap.items(value)?;
            let length = |item: &Value| match item {
                Value::Int(n) => u64::try_from(*n).ok(),
                _ => None,
            };
            items.iter().map(length).collect::<Option<Vec<_>>>()
        };
        let (Ok(offset), Some(shape), Some(strides)) = (u64::try_from(offset), lengths(size), lengths(strides)) else {
            return Err(damaged("expected whole numbers for a tensor's offset, size and strides, got other data"));
        };
        if shape.len() != strides.len() {
            let text = format!("expected as many strides as axes, got {} and {}", strides.len(), shape.len());
            return Err(damaged(text));
        }
        if shape.len() > MOST_AXES {
            return Err(damaged(format!("expected a tensor of at most {MOST_AXES} axes, got {}", shape.len())));
        }
        let shape = shape.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|e| damaged("expected a tensor that fits memory, got a larger one").because(e))?;
        self.values += shape.len();
        let dtype = dtype.unwrap_or(self.heap.storages[storage].dtype);
        let view = View { storage: Some(storage), dtype, offset, shape, strides };
        Ok(Value::Tensor(Heap::add(&mut self.heap.views, view)))
    }

    fn is_text(&self, value: Value, wanted: &[u8]) -> bool {
        matches!(value, Value::Text(at) if self.bytes[self.heap.texts[at].clone()] == *wanted)
    }

    /// Makes a storage of its id: "storage", its class, its key, its place, and its length.
    pub(super) fn storage(&mut self, id: Value) -> Result<Value> {
        // The legacy format has a sixth item, which is None since 2017.
        let items = self.heap.items(id).map(|items| items.strip_suffix(&[Value::None]).unwrap_or(items));
        let storage = match items {
            Some(&[word, Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(elems)])
                if self.is_text(word, b"storage") =>
            {
                u64::try_from(elems).ok().map(|elems| Storage { dtype, key, elems })
            }
            _ => None,
        };
        let text = "expected the id of a storage (its class, key, place and length), got other data";
        let storage = storage.ok_or_else(|| damaged(text))?;
        let length = self.heap.texts[storage.key].len();
        if length > LONGEST_NAME {
            return Err(damaged(format!("expected a storage's key of at most {LONGEST_NAME} bytes, got {length}")));
        }
        Ok(Value::Storage(Heap::add(&mut self.heap.storages, storage)))
    }
}
