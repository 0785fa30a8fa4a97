//! Bytes of an event file: protobuf fields inside TFRecord frames.

/// A protobuf message under construction. Only what events need: fields in the order they are added.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A whole number; negative ones are not used here.
    pub(super) fn varint(self, field: u32, value: u64) -> Self {
        self.key(field, 0).raw_varint(value)
    }

    pub(super) fn double(mut self, field: u32, value: f64) -> Self {
        self = self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn float(mut self, field: u32, value: f32) -> Self {
        self = self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self = self.key(field, 2).raw_varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(super) fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn key(self, field: u32, wire_type: u32) -> Self {
        self.raw_varint(u64::from(field << 3 | wire_type))
    }

    fn raw_varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// The message as a TFRecord: its length, the length's checksum, itself, its checksum.
    pub(super) fn framed(&self) -> Vec<u8> {
        let len = (self.0.len() as u64).to_le_bytes();
        let mut frame = Vec::with_capacity(self.0.len() + 16);
        frame.extend(len);
        frame.extend(masked_crc(&len).to_le_bytes());
        frame.extend(&self.0);
        frame.extend(masked_crc(&self.0).to_le_bytes());
        frame
    }
}

/// A checksum that is stored beside what it covers is turned and shifted, so that a checksum over both is not degenerate.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 with Castagnoli's polynomial (RFC 3720, appendix B.4), a byte at a time: a record has a few hundred of them.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn fields_are_those_of_the_protobuf_manual() {
        assert_eq!(Message::default().varint(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().bytes(2, b"testing").0, b"\x12\x07testing");
        let inner = Message::default().varint(1, 150);
        assert_eq!(Message::default().message(3, &inner).0, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::default().float(16, 1.0).0, [0x85, 0x01, 0, 0, 0x80, 0x3f]);
    }
}
