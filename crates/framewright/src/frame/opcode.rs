//! The 4-bit opcode (RFC 6455, section 5.2 and registry 11.8).

/// What the payload data of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "every other value fails the connection (section 5.2)")]
#[repr(u8)]
pub enum OpCode {
    /// `0x0`: the next fragment of a message (section 5.4).
    Continuation = 0x0,
    /// `0x1`: a text message or its first fragment (section 5.6).
    Text = 0x1,
    /// `0x2`: a binary message or its first fragment (section 5.6).
    Binary = 0x2,
    /// `0x8`: the closing handshake (section 5.5.1).
    Close = 0x8,
    /// `0x9`: asks for a Pong (section 5.5.2).
    Ping = 0x9,
    /// `0xA`: answers a Ping, or is unsolicited (section 5.5.3).
    Pong = 0xA,
}

impl OpCode {
    /// The opcode with this value, or `None` for the ten values that section 5.2 reserves.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<OpCode> {
        match bits {
            0x0 => Some(OpCode::Continuation),
            0x1 => Some(OpCode::Text),
            0x2 => Some(OpCode::Binary),
            0x8 => Some(OpCode::Close),
            0x9 => Some(OpCode::Ping),
            0xA => Some(OpCode::Pong),
            _ => None,
        }
    }

    /// The value on the wire, in the low four bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether this is a control frame: "opcodes where the most significant bit of the opcode is 1"
    /// (section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// The longest payload of a control frame, in bytes (section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;
