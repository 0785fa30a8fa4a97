//! A pickle, parsed. A pickle is a program for a machine with a stack; this is that machine without the two instructions that matter:
//! it imports nothing and calls nothing. Four names are known, because tensors and dictionaries are made by them
//! (`torch._utils._rebuild_tensor`, `_rebuild_tensor_v2`, `_rebuild_parameter`, `collections.OrderedDict`); what any other would
//! make is [`Value::Opaque`].
//!
//! Protocols 0 to 5 as Python's `pickletools` describes them.

use std::collections::HashMap;

use super::value::{Kind, Span, Storage, Tensor, Value, Values};

/// Values on the stack, containers, and memoized values, each: a file of a ViT-B with its optimiser has some thousand.
const MAX_VALUES: usize = 1 << 20;

/// Runs through `bytes`, whose strings stay where they are.
pub(super) fn parse(bytes: Vec<u8>) -> Result<Values, String> {
    let values = Values {
        bytes,
        root: Value::None,
        sequences: Vec::new(),
        dicts: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
    };
    let mut machine = Machine { values, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    while !machine.step()? {}
    machine.values.root = machine.pop()?;
    Ok(machine.values)
}

struct Machine {
    values: Values,
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine {
    /// One instruction; `true` after the last.
    #[expect(clippy::too_many_lines, reason = "a table of instructions")]
    fn step(&mut self) -> Result<bool, String> {
        let at = self.at;
        let [code] = self.take::<1>()?;
        let value = match code {
            b'.' => return Ok(true),
            // PROTO, FRAME
            0x80 => return self.take::<1>().map(|_| false),
            0x95 => return self.take::<8>().map(|_| false),
            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.marks.push(self.stack.len());
                return bounded(self.marks.len()).map(|()| false);
            }
            b'0' => return self.pop().map(|_| false),
            b'1' => return self.pop_marked().map(|_| false),
            b'2' => self.top()?,
            // Numbers
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.take()?))),
            b'K' => Value::Int(i64::from(u8::from_le_bytes(self.take()?))),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.take()?))),
            0x8A => {
                let [len] = self.take::<1>()?;
                self.long(u64::from(len))?
            }
            0x8B => {
                let len = u32::from_le_bytes(self.take()?);
                self.long(u64::from(len))?
            }
            b'G' => Value::Float(f64::from_be_bytes(self.take()?)),
            b'I' | b'L' => {
                let line = self.line()?;
                let number = self.words(line)?.trim_end_matches('L').parse();
                number.map_or(Value::Opaque, Value::Int)
            }
            b'F' => {
                let line = self.line()?;
                self.words(line)?.parse().map_or(Value::Opaque, Value::Float)
            }
            // Texts
            b'X' | b'T' => self.text(u64::from(u32::from_le_bytes(self.peeked()?)), 4)?,
            0x8C | b'U' => self.text(u64::from(u8::from_le_bytes(self.peeked()?)), 1)?,
            0x8D => self.text(u64::from_le_bytes(self.peeked()?), 8)?,
            b'V' => Value::Text(self.line()?),
            b'S' => {
                let Span { at, len } = self.line()?;
                // Between quotes.
                Value::Text(Span { at: at + len.min(1), len: len.saturating_sub(2) })
            }
            // Bytes
            b'C' => self.opaque(u64::from(u8::from_le_bytes(self.peeked()?)), 1)?,
            b'B' => self.opaque(u64::from(u32::from_le_bytes(self.peeked()?)), 4)?,
            0x8E | 0x96 => self.opaque(u64::from_le_bytes(self.peeked()?), 8)?,
            // Tuples
            b')' => self.tuple(0)?,
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b't' => {
                let items = self.pop_marked()?;
                self.sequence(items).map(Value::Tuple)?
            }
            // Lists
            b']' => self.sequence(Vec::new()).map(Value::List)?,
            b'l' => {
                let items = self.pop_marked()?;
                self.sequence(items).map(Value::List)?
            }
            b'a' => {
                let item = self.pop()?;
                return self.append(vec![item]).map(|()| false);
            }
            b'e' => {
                let items = self.pop_marked()?;
                return self.append(items).map(|()| false);
            }
            // Dictionaries
            b'}' => self.dict(Vec::new())?,
            b'd' => {
                let items = self.pop_marked()?;
                self.dict(pairs(&items)?)?
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                return self.set(vec![(key, value)]).map(|()| false);
            }
            b'u' => {
                let items = self.pop_marked()?;
                return self.set(pairs(&items)?).map(|()| false);
            }
            // Sets, of which nothing is needed
            0x8F => Value::Opaque,
            0x90 => return self.pop_marked().map(|_| false),
            0x91 => self.pop_marked().map(|_| Value::Opaque)?,
            // Names
            b'c' => Value::Global(self.line()?, self.line()?),
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => Value::Global(module, name),
                _ => return Err(self.fault(at, "a name that is no text")),
            },
            // What Python would call: INST, OBJ, NEWOBJ, NEWOBJ_EX, REDUCE
            b'i' => {
                self.line()?;
                self.line()?;
                self.pop_marked().map(|_| Value::Opaque)?
            }
            b'o' => self.pop_marked().map(|_| Value::Opaque)?,
            0x81 => self.made(2)?,
            0x92 => self.made(3)?,
            b'R' => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.reduced(callable, args).map_err(|problem| self.fault(at, &problem))?
            }
            // BUILD: a state for the object below, which stays what it is.
            b'b' => return self.pop().and_then(|_| self.top()).map(|_| false),
            // Extensions are registered in Python.
            0x82 => self.take::<1>().map(|_| Value::Opaque)?,
            0x83 => self.take::<2>().map(|_| Value::Opaque)?,
            0x84 => self.take::<4>().map(|_| Value::Opaque)?,
            b'Q' => {
                let id = self.pop()?;
                self.storage(id).map_err(|problem| self.fault(at, &problem))?
            }
            // The memo
            b'q' => return self.take::<1>().and_then(|[slot]| self.memoize(u32::from(slot))).map(|()| false),
            b'r' => {
                let slot = u32::from_le_bytes(self.take()?);
                return self.memoize(slot).map(|()| false);
            }
            b'p' => {
                let slot = self.slot()?;
                return self.memoize(slot).map(|()| false);
            }
            0x94 => {
                let slot = self.memo.len() as u32;
                return self.memoize(slot).map(|()| false);
            }
            b'h' => {
                let [slot] = self.take::<1>()?;
                self.memoized(u32::from(slot))?
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.take()?);
                self.memoized(slot)?
            }
            b'g' => {
                let slot = self.slot()?;
                self.memoized(slot)?
            }
            other => return Err(self.fault(at, &format!("instruction {other:#04x} is not known"))),
        };
        self.stack.push(value);
        bounded(self.stack.len()).map(|()| false)
    }

    fn fault(&self, at: usize, problem: &str) -> String {
        format!("byte {at} of its pickle of {}: {problem}", self.values.bytes.len())
    }

    fn cut(&self) -> String {
        self.fault(self.at, "cut short")
    }

    fn peeked<const N: usize>(&self) -> Result<[u8; N], String> {
        let rest = self.values.bytes.get(self.at..);
        rest.and_then(|rest| rest.first_chunk()).copied().ok_or_else(|| self.cut())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.peeked()?;
        self.at += N;
        Ok(taken)
    }

    /// The next `len` bytes, behind `before` that told it.
    fn span(&mut self, len: u64, before: usize) -> Result<Span, String> {
        let left = self.values.bytes.len() - self.at - before;
        let len = usize::try_from(len).ok().filter(|&len| len <= left).ok_or_else(|| self.cut())?;
        let at = self.at + before;
        self.at = at + len;
        Ok(Span { at, len })
    }

    fn text(&mut self, len: u64, before: usize) -> Result<Value, String> {
        self.span(len, before).map(Value::Text)
    }

    fn opaque(&mut self, len: u64, before: usize) -> Result<Value, String> {
        self.span(len, before).map(|_| Value::Opaque)
    }

    /// A whole number of `len` bytes; one that is too large for anything here is nothing.
    fn long(&mut self, len: u64) -> Result<Value, String> {
        let Span { at, len } = self.span(len, 0)?;
        let bytes = &self.values.bytes[at..at + len];
        if len > 8 {
            return Ok(Value::Opaque);
        }
        let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xFF } else { 0 };
        let mut wide = [sign; 8];
        wide[..len].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    /// Up to the end of the line, which is left out.
    fn line(&mut self) -> Result<Span, String> {
        let at = self.at;
        let len = self.values.bytes[at..].iter().position(|&byte| byte == b'\n').ok_or_else(|| self.cut())?;
        self.at = at + len + 1;
        Ok(Span { at, len })
    }

    fn words(&self, span: Span) -> Result<&str, String> {
        self.values.text(span).ok_or_else(|| self.fault(span.at, "no text"))
    }

    fn slot(&mut self) -> Result<u32, String> {
        let line = self.line()?;
        self.words(line)?.parse().map_err(|_| self.fault(line.at, "no slot of the memo"))
    }

    fn pop(&mut self) -> Result<Value, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.fault(self.at, "nothing is on the stack"));
        }
        Ok(self.stack.pop().unwrap_or(Value::None))
    }

    fn top(&self) -> Result<Value, String> {
        self.stack.last().copied().ok_or_else(|| self.fault(self.at, "nothing is on the stack"))
    }

    fn pop_marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or_else(|| self.fault(self.at, "there is no mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }

    fn sequence(&mut self, items: Vec<Value>) -> Result<usize, String> {
        self.values.sequences.push(items);
        bounded(self.values.sequences.len()).map(|()| self.values.sequences.len() - 1)
    }

    fn tuple(&mut self, n: usize) -> Result<Value, String> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.sequence(items).map(Value::Tuple)
    }

    fn dict(&mut self, pairs: Vec<(Value, Value)>) -> Result<Value, String> {
        self.values.dicts.push(pairs);
        bounded(self.values.dicts.len()).map(|()| Value::Dict(self.values.dicts.len() - 1))
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.top()? {
            Value::List(index) => self.values.sequences[index].extend(items),
            Value::Opaque => {}
            _ => return Err(self.fault(self.at, "items are appended to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, pairs: Vec<(Value, Value)>) -> Result<(), String> {
        match self.top()? {
            Value::Dict(index) => self.values.dicts[index].extend(pairs),
            Value::Opaque => {}
            _ => return Err(self.fault(self.at, "items are set in what is no dictionary")),
        }
        Ok(())
    }

    /// What a class would have made of the uppermost values.
    fn made(&mut self, n: usize) -> Result<Value, String> {
        (0..n).try_for_each(|_| self.pop().map(drop)).map(|()| Value::Opaque)
    }

    fn memoize(&mut self, slot: u32) -> Result<(), String> {
        let value = self.top()?;
        self.memo.insert(slot, value);
        bounded(self.memo.len())
    }

    fn memoized(&self, slot: u32) -> Result<Value, String> {
        self.memo.get(&slot).copied().ok_or_else(|| self.fault(self.at, &format!("slot {slot} of the memo is empty")))
    }

    /// What a call would give, where it is one of the four that are known.
    fn reduced(&mut self, callable: Value, args: Value) -> Result<Value, String> {
        let Value::Global(module, name) = callable else { return Ok(Value::Opaque) };
        let Value::Tuple(args) = args else { return Ok(Value::Opaque) };
        match (self.words(module)?, self.words(name)?) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => self.tensor(args),
            ("torch._utils", "_rebuild_parameter") => {
                Ok(self.values.sequences[args].first().copied().unwrap_or(Value::Opaque))
            }
            ("collections", "OrderedDict") if self.values.sequences[args].is_empty() => self.dict(Vec::new()),
            _ => Ok(Value::Opaque),
        }
    }

    /// `(storage, offset, shape, stride, ...)`.
    fn tensor(&mut self, args: usize) -> Result<Value, String> {
        let (storage, offset, shape, stride) = match self.values.sequences[args][..] {
            // Of a storage that is not known here nothing can be read.
            [Value::Opaque, ..] => return Ok(Value::Opaque),
            [Value::Storage(storage), Value::Int(offset), Value::Tuple(shape), Value::Tuple(stride), ..] => {
                (storage, offset, shape, stride)
            }
            _ => return Err("a tensor is made of something else than storage, offset, shape and stride".to_owned()),
        };
        let lengths = |index: usize| -> Result<Vec<u64>, String> {
            let length = |value: &Value| match value {
                Value::Int(n) => u64::try_from(*n).map_err(|_| format!("a tensor has the length {n}")),
                _ => Err("a tensor has a length that is no number".to_owned()),
            };
            self.values.sequences[index].iter().map(length).collect()
        };
        let (shape, stride) = (lengths(shape)?, lengths(stride)?);
        let shape = shape.into_iter().map(|dim| usize::try_from(dim).map_err(|error| error.to_string()));
        let shape = shape.collect::<Result<Vec<_>, _>>()?;
        let offset = u64::try_from(offset).map_err(|_| format!("a tensor begins at {offset}"))?;
        if shape.len() != stride.len() {
            return Err(format!("a tensor has {} axes and {} strides", shape.len(), stride.len()));
        }
        let tensor = Tensor { storage, offset, shape, stride };
        let len = self.values.storages[storage].len;
        let end = tensor.reach().and_then(|reach| reach.checked_add(offset));
        if tensor.len().is_none() || end.is_none_or(|end| end > len) {
            return Err(format!("a tensor of {:?} reaches beyond the {len} numbers of its storage", tensor.shape));
        }
        self.values.tensors.push(tensor);
        bounded(self.values.tensors.len()).map(|()| Value::Tensor(self.values.tensors.len() - 1))
    }

    /// `('storage', class, key, place, numbers)`: a persistent id, the way tensors refer to their numbers.
    fn storage(&mut self, id: Value) -> Result<Value, String> {
        let Value::Tuple(id) = id else { return Err("a reference to something else than a storage".to_owned()) };
        let (class, key, len) = match self.values.sequences[id][..] {
            [Value::Text(tag), Value::Global(_, class), Value::Text(key), _, Value::Int(len)]
                if self.words(tag)? == "storage" =>
            {
                (class, key, len)
            }
            _ => return Err("a reference to something else than a storage".to_owned()),
        };
        let len = u64::try_from(len).map_err(|_| format!("a storage of {len} numbers"))?;
        let storage = Storage { kind: Kind::of_storage(self.words(class)?), key: self.words(key)?.to_owned(), len };
        self.values.storages.push(storage);
        bounded(self.values.storages.len()).map(|()| Value::Storage(self.values.storages.len() - 1))
    }
}

fn pairs(items: &[Value]) -> Result<Vec<(Value, Value)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        return Ok(pairs.iter().map(|&[key, value]| (key, value)).collect());
    }
    Err("a dictionary in its pickle has a key without a value".to_owned())
}

fn bounded(n: usize) -> Result<(), String> {
    if n <= MAX_VALUES { Ok(()) } else { Err(format!("its pickle has more than {MAX_VALUES} values of one kind")) }
}
