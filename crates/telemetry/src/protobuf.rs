//! The wire format of Protocol Buffers (<https://protobuf.dev/programming-guides/encoding/>), as far as a few
//! messages need it: fields one after another, lent from the bytes. Groups are refused.

/// Reads the fields of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    rest: &'a [u8],
}

/// One value on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Message { rest: bytes }
    }

    fn field(&mut self) -> Result<(u32, Wire<'a>), Malformed> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        if number == 0 {
            return Err(Malformed);
        }
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Wire::Bytes(self.bytes(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<(u32, Wire<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Wire<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(crate) fn message(self) -> Result<Message<'a>, Malformed> {
        Ok(Message::new(self.bytes()?))
    }

    /// A varint or a fixed number.
    pub(crate) fn number(self) -> Result<u64, Malformed> {
        match self {
            Wire::Varint(number) | Wire::Fixed64(number) => Ok(number),
            Wire::Fixed32(number) => Ok(number.into()),
            Wire::Bytes(_) => Err(Malformed),
        }
    }
}

/// Adds a number; 0 is said by leaving it out.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    if number != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, number);
    }
}

/// Adds bytes, a text or a message.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back() {
        for number in [1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, 3, number);
            put_bytes(&mut bytes, 2000, b"words");
            let fields: Result<Vec<_>, _> = Message::new(&bytes).collect();
            assert_eq!(
                fields,
                Ok(vec![(3, Wire::Varint(number)), (2000, Wire::Bytes(b"words"))])
            );
        }
    }

    #[test]
    fn what_is_no_message() {
        let check = |bytes: &[u8]| assert!(Message::new(bytes).any(|field| field.is_err()), "{bytes:?}");
        check(b"\x08");
        check(b"\x08\x80");
        check(b"\x00\x01");
        check(b"\x09\x01");
        check(b"\x0a\x05abc");
        check(b"\x0b\x0c");
        check(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
        check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a");
    }
}
