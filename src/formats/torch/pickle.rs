//! A machine for pickles that runs nothing: it builds values, and refuses every name that is not in its list.
//!
//! The opcodes are those of Python's `pickletools`, protocols 0 to 5, without those that only make sense with code.
//! Time, values and depth are bounded: each opcode adds one value at most, and nothing here recurses. `names` says what classes and functions give. Knows no file.

mod names;

pub(super) use names::LONGEST_NAME;

use std::collections::HashMap;
use std::ops::Range;

use super::value::{Heap, Value};
use crate::error::{Error, ErrorKind, Result};

/// The most values of a pickle: some millions, where a checkpoint has some thousands.
const MOST_VALUES: usize = 1 << 22;

/// The values of a pickle, and the one that it is about.
#[derive(Debug)]
pub(super) struct Unpickled {
    pub(super) heap: Heap,
    pub(super) root: Value,
    /// The place behind its last opcode.
    pub(super) end: usize,
}

/// Runs the pickle that begins at `begin` of `bytes`. An archive of `torch.jit` (`is_script`) has classes of its own.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Weights` if it is damaged, or names something that is not known.
pub(super) fn unpickle(bytes: &[u8], begin: usize, is_script: bool) -> Result<Unpickled> {
    let mut machine = Machine {
        bytes,
        at: begin,
        opcode_at: begin,
        is_script,
        heap: Heap::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        values: 0,
        interned: HashMap::new(),
    };
    let root = machine.run().map_err(|e| e.at(format!("byte {}", machine.opcode_at)))?;
    Ok(Unpickled { heap: machine.heap, root, end: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The place of the opcode that runs.
    opcode_at: usize,
    is_script: bool,
    heap: Heap,
    stack: Vec<Value>,
    /// The heights of the stack at open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    /// How many values have been made.
    values: usize,
    /// The names that were looked up, by their places.
    interned: HashMap<(Range<usize>, Range<usize>), Value>,
}

/// Returns the error of a damaged pickle.
pub(super) fn damaged(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Weights, message)
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value> {
        loop {
            self.opcode_at = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            if self.values > MOST_VALUES {
                return Err(damaged(format!("expected at most {MOST_VALUES} values, got more")));
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // PROTO, FRAME
            0x80 => self.take(1).map(drop)?,
            0x95 => self.take(8).map(drop)?,
            b'(' => {
                self.values += 1;
                self.marks.push(self.stack.len());
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.marks.truncate(self.marks.len() - 1),
            b'0' => self.pop().map(|_| ())?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top);
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' => self.decimal()?,
            b'J' => {
                let range = self.take(4)?;
                let mut bytes = [0; 4];
                bytes.copy_from_slice(&self.bytes[range]);
                self.push(Value::Int(i32::from_le_bytes(bytes).into()));
            }
            b'K' => self.natural(1)?,
            b'M' => self.natural(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'F' => self.line().map(|_| self.push(Value::Other))?,
            b'G' => self.skip(8)?,
            b'S' => self.quoted()?,
            b'U' | 0x8c => self.text(1)?,
            b'T' | b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'V' => {
                let line = self.line()?;
                self.push_text(line);
            }
            b'C' => self.sized_bytes(1)?,
            b'B' => self.sized_bytes(4)?,
            0x8e | 0x96 => self.sized_bytes(8)?,
            _ => return self.container(opcode),
        }
        Ok(())
    }

    /// Runs the opcodes of containers.
    fn container(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b']' => self.push_list(Vec::new()),
            b'l' => {
                let items = self.pop_mark()?;
                self.push_list(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b')' => self.push_tuple(Vec::new()),
            b't' => {
                let items = self.pop_mark()?;
                self.push_tuple(items);
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let items = self.stack.split_off(first.filter(|&first| self.is_open(first)).ok_or_else(too_few)?);
                self.push_tuple(items);
            }
            b'}' => self.push_dict(Vec::new()),
            b'd' => {
                let items = self.pop_mark()?;
                let pairs = pairs(&items)?;
                self.push_dict(pairs);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(pairs(&items)?)?;
            }
            // Sets: what is in them says nothing about weights.
            0x8f => self.push(Value::Other),
            0x90 => drop(self.pop_mark()?),
            0x91 => {
                self.pop_mark()?;
                self.push(Value::Other);
            }
            _ => return self.reference(opcode),
        }
        Ok(())
    }

    /// Runs the opcodes of names, of the memo, and of objects.
    fn reference(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'p' => {
                let key = self.decimal_key()?;
                self.memoize(key)?;
            }
            b'q' => {
                let key = self.number(1)?;
                self.memoize(key)?;
            }
            b'r' => {
                let key = self.number(4)?;
                self.memoize(key)?;
            }
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'g' => {
                let key = self.decimal_key()?;
                self.recall(key)?;
            }
            b'h' => {
                let key = self.number(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(damaged("expected the name of a class or a function, got other data"));
                };
                self.global(self.heap.texts[module].clone(), self.heap.texts[name].clone())?;
            }
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                let made = self.call(callable, args)?;
                self.push(made);
            }
            0x92 => {
                let (_, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                let made = self.call(class, args)?;
                self.push(made);
            }
            b'b' => {
                let state = self.pop()?;
                if let Value::Script(at) = self.top()? {
                    self.heap.scripts[at] = state;
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(storage);
            }
            other => return Err(damaged(format!("expected an opcode of plain data and tensors, got {other:#04x}"))),
        }
        Ok(())
    }

    // What is read from the bytes.

    fn take(&mut self, length: u64) -> Result<Range<usize>> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let end = end.filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| damaged("expected more of the pickle, got its end; the file is cut off"))?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|range| self.bytes[range.start])
    }

    /// Reads a little-endian number of `width` bytes, 8 at most.
    fn number(&mut self, width: u64) -> Result<u64> {
        let range = self.take(width)?;
        Ok(self.bytes[range].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads up to the end of the line, which is left out.
    fn line(&mut self) -> Result<Range<usize>> {
        let left = &self.bytes[self.at..];
        let length = left.iter().position(|&byte| byte == b'\n');
        let range = self.take(length.unwrap_or(left.len()) as u64 + 1)?;
        Ok(range.start..range.end - 1)
    }

    fn natural(&mut self, width: u64) -> Result<()> {
        let number = self.number(width)?;
        self.push(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
        Ok(())
    }

    /// Reads a decimal number; the booleans of protocol 0 are `00` and `01`.
    fn decimal(&mut self) -> Result<()> {
        let line = self.line()?;
        let text = str::from_utf8(&self.bytes[line]).unwrap_or_default().trim_end_matches('L');
        let value = match text {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            text => text.parse().map_or(Value::Other, Value::Int),
        };
        self.push(value);
        Ok(())
    }

    fn decimal_key(&mut self) -> Result<u64> {
        let line = self.line()?;
        let text = str::from_utf8(&self.bytes[line]).unwrap_or_default();
        text.parse().map_err(|_| damaged("expected a number of the memo, got other bytes"))
    }

    /// Reads a number of any size in two's complement, least byte first.
    fn long(&mut self, width: u64) -> Result<()> {
        let length = self.number(width)?;
        let range = self.take(length)?;
        let bytes = &self.bytes[range];
        let value = match bytes.len() {
            0..=8 => {
                let fill = if bytes.last().is_some_and(|&last| last > 127) { 0xff } else { 0 };
                let mut whole = [fill; 8];
                whole[..bytes.len()].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(whole))
            }
            _ => Value::Other,
        };
        self.push(value);
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        self.take(length)?;
        self.push(Value::Other);
        Ok(())
    }

    fn sized_bytes(&mut self, width: u64) -> Result<()> {
        let length = self.number(width)?;
        self.skip(length)
    }

    /// Reads a text with its length before it.
    fn text(&mut self, width: u64) -> Result<()> {
        let length = self.number(width)?;
        let range = self.take(length)?;
        // Bytes of Python 2, and the lone surrogates that Python 3 writes, are no name of a tensor.
        match str::from_utf8(&self.bytes[range.clone()]) {
            Ok(_) => self.push_text(range),
            Err(_) => self.push(Value::Other),
        }
        Ok(())
    }

    /// Reads a text in quotes, as protocol 0 writes it. One with escapes is no name of a tensor.
    fn quoted(&mut self) -> Result<()> {
        let line = self.line()?;
        let text = &self.bytes[line.clone()];
        let is_plain = text.len() >= 2 && text.first() == text.last() && !text.contains(&b'\\') && text.is_ascii();
        match is_plain {
            true => self.push_text(line.start + 1..line.end - 1),
            false => self.push(Value::Other),
        }
        Ok(())
    }

    // The stack.

    fn push(&mut self, value: Value) {
        self.values += 1;
        self.stack.push(value);
    }

    fn push_text(&mut self, range: Range<usize>) {
        let text = Heap::add(&mut self.heap.texts, range);
        self.push(Value::Text(text));
    }

    fn push_list(&mut self, items: Vec<Value>) {
        let list = Heap::add(&mut self.heap.lists, items);
        self.push(Value::List(list));
    }

    fn push_tuple(&mut self, items: Vec<Value>) {
        let tuple = Heap::add(&mut self.heap.tuples, items);
        self.push(Value::Tuple(tuple));
    }

    fn push_dict(&mut self, pairs: Vec<(Value, Value)>) {
        let dict = Heap::add(&mut self.heap.dicts, pairs);
        self.push(Value::Dict(dict));
    }

    /// Whether no mark is above `height` of the stack.
    fn is_open(&self, height: usize) -> bool {
        self.marks.last().is_none_or(|&mark| mark <= height)
    }

    fn pop(&mut self) -> Result<Value> {
        let height = self.stack.len().checked_sub(1).filter(|&height| self.is_open(height)).ok_or_else(too_few)?;
        let top = self.stack[height];
        self.stack.truncate(height);
        Ok(top)
    }

    fn top(&self) -> Result<Value> {
        self.stack.last().copied().ok_or_else(too_few)
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or_else(too_few)?;
        Ok(self.stack.split_off(mark))
    }

    fn memoize(&mut self, key: u64) -> Result<()> {
        let top = self.top()?;
        self.values += 1;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let value = self.memo.get(&key).copied();
        let value = value.ok_or_else(|| damaged(format!("expected value {key} of the memo, got none")))?;
        self.push(value);
        Ok(())
    }

    fn append(&mut self, items: &[Value]) -> Result<()> {
        match self.top()? {
            Value::List(at) => self.heap.lists[at].extend_from_slice(items),
            Value::Other => {}
            other => return Err(damaged(format!("expected a list to append to, got {}", other.what()))),
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: Vec<(Value, Value)>) -> Result<()> {
        match self.top()? {
            Value::Dict(at) => self.heap.dicts[at].extend(pairs),
            Value::Other => {}
            other => return Err(damaged(format!("expected a dict to fill, got {}", other.what()))),
        }
        Ok(())
    }
}

/// Returns keys and values that stand one after the other.
fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(damaged("expected a value for each key, got a key alone")),
    }
}

fn too_few() -> Error {
    damaged("expected a value on the stack, got none; the file is damaged")
}
