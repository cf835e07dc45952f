//! `MessagePack`, read: one value's head at a time, with what it promises held against what is there.

use super::{Array, Limits, Refusal, Timestamp, ext};

/// The head of a value, with its bytes where it has some.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    /// Said to be UTF-8, which nobody checked.
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// So many values follow.
    Array(usize),
    /// So many pairs of values follow.
    Map(usize),
    Extension(i8, &'a [u8]),
}

/// Goes through a payload.
#[derive(Debug)]
pub struct Walk<'a> {
    payload: &'a [u8],
    at: usize,
    /// Values that the containers so far have promised and that have not come yet. Each takes a byte at least: where that
    /// is more than what is left, memory is not allocated for them, however they are nested.
    owed: usize,
    /// How many values containers may promise yet.
    values: usize,
    limits: Limits,
}

impl<'a> Walk<'a> {
    pub fn new(payload: &'a [u8], limits: Limits) -> Self {
        Self { payload, at: 0, owed: 1, values: limits.values(), limits }
    }

    /// Where the next value begins.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    #[cold]
    pub fn refusal(&self, what: &'static str) -> Refusal {
        Refusal::Payload { what, at: self.at }
    }

    #[cold]
    fn short(&self) -> Refusal {
        self.refusal("it is cut short")
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let found = self.payload.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or_else(|| self.short())?;
        self.at += N;
        Ok(*found)
    }

    #[inline]
    fn byte(&mut self) -> Result<usize, Refusal> {
        self.array().map(|[byte]| byte.into())
    }

    #[inline]
    fn short_length(&mut self) -> Result<usize, Refusal> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    #[inline]
    fn length(&mut self) -> Result<usize, Refusal> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    #[inline]
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let found = self.payload.get(self.at..).and_then(|rest| rest.get(..length)).ok_or_else(|| self.short())?;
        self.at += length;
        Ok(found)
    }

    fn extension(&mut self, length: usize) -> Result<Token<'a>, Refusal> {
        let [kind] = self.array()?;
        Ok(Token::Extension(kind.cast_signed(), self.bytes(length)?))
    }

    #[inline]
    fn promise(&mut self, values: usize) -> Result<(), Refusal> {
        self.owed += values;
        if self.owed > self.payload.len() - self.at {
            return Err(self.refusal("a container that says it holds more than there is"));
        }
        match self.values.checked_sub(values) {
            Some(left) => self.values = left,
            None => return Err(Refusal::TooMany { limit: self.limits.values() }),
        }
        Ok(())
    }

    #[inline]
    fn list(&mut self, length: usize) -> Result<Token<'a>, Refusal> {
        self.promise(length)?;
        Ok(Token::Array(length))
    }

    #[inline]
    fn map(&mut self, length: usize) -> Result<Token<'a>, Refusal> {
        self.promise(length.saturating_mul(2))?;
        Ok(Token::Map(length))
    }

    /// The next value, or the next head of a container. To be called once for each value that is promised; depth is the
    /// caller's to check, who recurs.
    #[inline]
    pub fn token(&mut self) -> Result<Token<'a>, Refusal> {
        let [kind] = self.array()?;
        self.owed = self.owed.saturating_sub(1);
        Ok(match kind {
            0xa0..=0xbf => Token::Text(self.bytes((kind & 0x1f).into())?),
            0x00..=0x7f => Token::Integer(kind.into()),
            0x80..=0x8f => self.map((kind & 0xf).into())?,
            0x90..=0x9f => self.list((kind & 0xf).into())?,
            0xe0..=0xff => Token::Integer(kind.cast_signed().into()),
            0xc0 => Token::Nil,
            0xc2 => Token::Boolean(false),
            0xc3 => Token::Boolean(true),
            0xd9 => {
                let length = self.byte()?;
                Token::Text(self.bytes(length)?)
            }
            0xda => {
                let length = self.short_length()?;
                Token::Text(self.bytes(length)?)
            }
            0xdb => {
                let length = self.length()?;
                Token::Text(self.bytes(length)?)
            }
            0xc4 => {
                let length = self.byte()?;
                Token::Binary(self.bytes(length)?)
            }
            0xc5 => {
                let length = self.short_length()?;
                Token::Binary(self.bytes(length)?)
            }
            0xc6 => {
                let length = self.length()?;
                Token::Binary(self.bytes(length)?)
            }
            0xc7 => {
                let length = self.byte()?;
                self.extension(length)?
            }
            0xc8 => {
                let length = self.short_length()?;
                self.extension(length)?
            }
            0xc9 => {
                let length = self.length()?;
                self.extension(length)?
            }
            0xca => Token::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Integer(u8::from_be_bytes(self.array()?).into()),
            0xcd => Token::Integer(u16::from_be_bytes(self.array()?).into()),
            0xce => Token::Integer(u32::from_be_bytes(self.array()?).into()),
            0xcf => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => Token::Integer(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Token::Integer(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Token::Integer(i32::from_be_bytes(self.array()?).into()),
            0xd3 => Token::Integer(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => self.extension(1 << (kind - 0xd4))?,
            0xdc => {
                let length = self.short_length()?;
                self.list(length)?
            }
            0xdd => {
                let length = self.length()?;
                self.list(length)?
            }
            0xde => {
                let length = self.short_length()?;
                self.map(length)?
            }
            0xdf => {
                let length = self.length()?;
                self.map(length)?
            }
            0xc1 => return Err(self.refusal("a byte that MessagePack does not use")),
        })
    }

    /// Whether everything was read.
    pub fn end(&self) -> Result<(), Refusal> {
        if self.at == self.payload.len() { Ok(()) } else { Err(self.refusal("bytes after the object")) }
    }
}

/// Whether a payload is one object that a frame may hold; how many values it has. Linear; allocates nothing.
pub fn validate(payload: &[u8], limits: Limits) -> Result<usize, Refusal> {
    let mut walk = Walk::new(payload, limits);
    let values = value(&mut walk, 0)?;
    walk.end()?;
    Ok(values)
}

fn value(walk: &mut Walk<'_>, depth: usize) -> Result<usize, Refusal> {
    let at = walk.at();
    let mut values = 1;
    match walk.token()? {
        Token::Text(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| Refusal::Payload { what: "text that is not UTF-8", at })?;
        }
        Token::Array(length) => {
            let depth = Limits::deeper(depth)?;
            for _ in 0..length {
                values += value(walk, depth)?;
            }
        }
        Token::Map(length) => {
            let depth = Limits::deeper(depth)?;
            for _ in 0..length {
                values += value(walk, depth)? + value(walk, depth)?;
            }
        }
        Token::Extension(ext::TIMESTAMP, bytes) => drop(Timestamp::parse(bytes, at)?),
        Token::Extension(ext::ARRAY, bytes) => drop(Array::parse(bytes, at)?),
        Token::Extension(ext::INTEGER, bytes) if bytes.len() >= ext::INTEGER_BYTES => {}
        Token::Extension(..) => return Err(Refusal::Payload { what: "an extension of an unknown type", at }),
        _ => {}
    }
    Ok(values)
}
