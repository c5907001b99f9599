//! The pickle machine: opcodes of protocols 0–5 as far as `torch.save` writes them, and no way to call anything
//! outside [`Global`].
//!
//! Opcodes: CPython, `Lib/pickletools.py`.

use std::collections::HashMap;
use std::rc::Rc;

use super::globals::Global;
use super::storage::persistent;
use super::value::{Arena, StorageRef, TensorRef, Value, count};
use super::{Problem, Result, damaged};

/// A finished pickle: its object and the containers that it refers to.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) root: Value,
    pub(super) arena: Arena,
    /// Storages of the tensors, as named in the pickle.
    pub(super) storages: Vec<Rc<StorageRef>>,
    /// Length of the pickle in bytes.
    pub(super) len: usize,
}

/// Largest pickle in bytes. A network's takes a few hundred bytes per tensor; each byte may become a value of fifty.
const MAX_BYTES: usize = 16 << 20;

/// Most arguments that a function on the list uses.
const MAX_ARGUMENTS: usize = 4;

/// Runs the pickle at the start of `bytes`. The size of what it builds is bounded by its length.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle> {
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let mut machine = Machine {
        input: Input { bytes, at: 0 },
        ..Machine::default()
    };
    while !machine.step()? {}
    Ok(Pickle {
        root: machine.pop()?,
        len: machine.input.at,
        arena: machine.arena,
        storages: machine.storages,
    })
}

#[derive(Default)]
struct Machine<'a> {
    input: Input<'a>,
    stack: Vec<Value>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    arena: Arena,
    storages: Vec<Rc<StorageRef>>,
    /// Entries of dicts built from lists, the only copies that do not take one opcode each.
    copied: usize,
}

impl Machine<'_> {
    /// Runs one opcode; returns true after the last.
    fn step(&mut self) -> Result<bool> {
        let code = self.input.byte()?;
        match code {
            b'.' => return Ok(true),
            0x80 => drop(self.input.take(1)?),
            0x95 => drop(self.input.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => self.push(self.top()?.clone()),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(code)?,
            b'}' | b']' | b')' | b'd' | b'l' | b't' | 0x85..=0x87 => self.container(code)?,
            b's' | b'u' | b'a' | b'e' => self.fill(code)?,
            b'c' => self.global_by_lines()?,
            0x93 => self.global_by_stack()?,
            b'R' => self.reduce()?,
            // State of an object: a state dict's versions. Nothing here has attributes, so it is dropped.
            b'b' => drop(self.pop()?),
            b'Q' => self.persistent()?,
            _ => {
                let scalar = self.input.scalar(code)?;
                self.push(scalar);
            }
        }
        Ok(false)
    }

    fn memo(&mut self, code: u8) -> Result<()> {
        match code {
            b'h' | b'j' => {
                let key = self.input.index(code == b'j')?;
                match self.memo.get(&key).cloned() {
                    Some(value) => self.push(value),
                    None => return damaged("a pickle recalls a value that it never stored"),
                }
            }
            _ => {
                let key = match code {
                    0x94 => self.memo.len(),
                    _ => self.input.index(code == b'r')?,
                };
                self.memo.insert(key, self.top()?.clone());
            }
        }
        Ok(())
    }

    fn container(&mut self, code: u8) -> Result<()> {
        let made = match code {
            b'}' => self.arena.dict(vec![]),
            b']' | b')' => self.arena.sequence(vec![]),
            b'd' => {
                let entries = pairs(self.pop_mark()?)?;
                self.arena.dict(entries)
            }
            b'l' | b't' => {
                let items = self.pop_mark()?;
                self.arena.sequence(items)
            }
            _ => {
                let items = self.pop_many(usize::from(code - 0x84))?;
                self.arena.sequence(items)
            }
        };
        self.push(made);
        Ok(())
    }

    fn fill(&mut self, code: u8) -> Result<()> {
        let items = match code {
            b's' => self.pop_many(2)?,
            b'a' => self.pop_many(1)?,
            _ => self.pop_mark()?,
        };
        let target = self.top()?.clone();
        let filled = match code {
            b's' | b'u' => {
                let entries = pairs(items)?;
                self.arena.entries_mut(&target).map(|d| d.extend(entries))
            }
            _ => self.arena.items_mut(&target).map(|l| l.extend(items)),
        };
        filled.map_or_else(
            || damaged("a pickle adds items to a value that is not a container"),
            Ok,
        )
    }

    fn global_by_lines(&mut self) -> Result<()> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        self.global(&module, &name)
    }

    fn global_by_stack(&mut self) -> Result<()> {
        match self.pop_many(2)?.as_slice() {
            [Value::Text(module), Value::Text(name)] => self.global(module, name),
            _ => damaged("a pickle names a global by a value that is not text"),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let global = Global::find(module, name)
            .ok_or_else(|| Problem::Global(format!("{module}.{name}")))?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let Value::Global(global) = called else {
            return damaged("a pickle calls a value that is not a function");
        };
        let Some(arguments) = self.arena.items(&arguments) else {
            return damaged("a pickle calls a function without arguments");
        };
        // A call with a tuple of a million must cost no more than one with four.
        let arguments = arguments[..arguments.len().min(MAX_ARGUMENTS)].to_vec();
        let made = self.call(global, &arguments)?;
        self.push(made);
        Ok(())
    }

    fn call(&mut self, global: Global, arguments: &[Value]) -> Result<Value> {
        match (global, arguments) {
            (Global::OrderedDict, []) => Ok(self.arena.dict(vec![])),
            (Global::OrderedDict, [list]) => self.dict_of_pairs(list),
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                self.tensor(storage, offset, shape, strides)
            }
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
            (Global::Size, [sizes @ Value::Sequence(_)]) => Ok(sizes.clone()),
            _ => damaged(format!("{global:?} is called with unknown arguments")),
        }
    }

    /// An ordered dict in the form that Python 2 wrote in protocol 2.
    fn dict_of_pairs(&mut self, list: &Value) -> Result<Value> {
        let pair = |item: &Value| match self.arena.items(item) {
            Some([key, value]) => Some((key.clone(), value.clone())),
            _ => None,
        };
        let items = self.arena.items(list);
        let entries = items.and_then(|items| items.iter().map(pair).collect::<Option<Vec<_>>>());
        self.copied += entries.as_ref().map_or(0, Vec::len);
        if self.copied > self.input.bytes.len() {
            return damaged("a pickle copies lists too many times");
        }
        match entries {
            Some(entries) => Ok(self.arena.dict(entries)),
            None => damaged("an ordered dict is built from items that are not pairs"),
        }
    }

    fn tensor(
        &self,
        storage: &Value,
        offset: &Value,
        shape: &Value,
        strides: &Value,
    ) -> Result<Value> {
        let Value::Storage(storage) = storage else {
            return damaged("a tensor has no storage");
        };
        let parts = (
            count(offset),
            self.arena.counts(shape),
            self.arena.counts(strides),
        );
        let (Some(offset), Some(shape), Some(strides)) = parts else {
            return damaged("a tensor's shape is not a list of counts");
        };
        Ok(Value::Tensor(Rc::new(TensorRef {
            storage: storage.clone(),
            offset,
            shape,
            strides,
        })))
    }

    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let storage = Rc::new(persistent(self.arena.items(&id).unwrap_or_default())?);
        self.storages.push(storage.clone());
        self.push(Value::Storage(storage));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn top(&self) -> Result<&Value> {
        self.stack.last().map_or_else(|| damaged(EMPTY), Ok)
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().map_or_else(|| damaged(EMPTY), Ok)
    }

    fn pop_many(&mut self, n: usize) -> Result<Vec<Value>> {
        match self.stack.len().checked_sub(n) {
            Some(height) => Ok(self.stack.split_off(height)),
            None => damaged(EMPTY),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => damaged("a pickle lacks a mark"),
        }
    }
}

const EMPTY: &str = "a pickle pops more values than it has pushed";

fn pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs
            .iter()
            .map(|[key, value]| (key.clone(), value.clone()))
            .collect()),
        _ => damaged("a dict has a key without a value"),
    }
}

/// The bytes and the read position.
#[derive(Default)]
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return damaged("a pickle ends early");
        };
        self.at += n;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// An unsigned number of `n` ≤ 8 bytes, low byte first.
    fn unsigned(&mut self, n: usize) -> Result<u64> {
        let bytes = self.take(n)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn size(&mut self, n: usize) -> Result<usize> {
        let size = self.unsigned(n)?;
        usize::try_from(size).map_or_else(|_| damaged("a size exceeds the address space"), Ok)
    }

    fn index(&mut self, long: bool) -> Result<usize> {
        self.size(if long { 4 } else { 1 })
    }

    fn line(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(len) = rest.iter().position(|b| *b == b'\n') else {
            return damaged("a pickle ends early");
        };
        let line = self.take(len + 1)?;
        text(&line[..len]).map(|t| t.to_string())
    }

    fn scalar(&mut self, code: u8) -> Result<Value> {
        Ok(match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(self.unsigned(4)? as u32 as i32)),
            b'K' => Value::Int(self.unsigned(1)? as i64),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            b'G' => Value::Float(f64::from_bits(self.unsigned(8)?.swap_bytes())),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' => self.raw(4)?,
            b'C' => self.raw(1)?,
            0x8e => self.raw(8)?,
            _ => {
                return Err(Problem::Unsupported(format!(
                    "its pickle has opcode {code:#04x}, which state dicts do not need"
                )));
            }
        })
    }

    /// A signed integer of any length; one of more than 64 bits is kept as bytes.
    fn long(&mut self, len_bytes: usize) -> Result<Value> {
        let len = self.size(len_bytes)?;
        let bytes = self.take(len)?;
        if len > 8 {
            return Ok(Value::Bytes(bytes.into()));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole[..len].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    fn text(&mut self, len_bytes: usize) -> Result<Value> {
        let len = self.size(len_bytes)?;
        text(self.take(len)?).map(|t| Value::Text(t.into()))
    }

    fn raw(&mut self, len_bytes: usize) -> Result<Value> {
        let len = self.size(len_bytes)?;
        Ok(Value::Bytes(self.take(len)?.into()))
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_or_else(|_| damaged("a text is not UTF-8"), Ok)
}
