//! Everything that can go wrong, sorted by whose fault it is, and the one table from fault to close
//! code (RFC 6455, section 7.4.1).

use crate::frame::{CloseCode, OpCode};
use std::error;
use std::fmt;

/// Why a connection ended, if not by a completed closing handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule of the protocol.
    Peer(PeerMisbehaved),
    /// The peer exceeded one of this endpoint's limits.
    Limit(LimitExceeded),
    /// A deadline passed.
    Timeout(Timeout),
    /// The transport ended without a Close frame from the peer (section 7.2.1): end of stream,
    /// reset, or an error.
    TransportLost,
    /// This endpoint's application called `fail` with this code.
    Failed(CloseCode),
    /// This endpoint's application dropped the connection, as `abort` does.
    Aborted,
}

impl Error {
    /// The code of the Close frame that is sent for this error, or `None` if none is sent.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Error::Peer(rule) => Some(rule.close_code()),
            Error::Limit(limit) => Some(limit.close_code()),
            Error::Timeout(timeout) => timeout.close_code(),
            Error::Failed(code) => Some(*code),
            Error::TransportLost | Error::Aborted => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Peer(rule) => write!(f, "protocol violation by the peer: {rule}"),
            Error::Limit(limit) => write!(f, "limit exceeded by the peer: {limit}"),
            Error::Timeout(timeout) => write!(f, "timed out: {timeout}"),
            Error::TransportLost => f.write_str("the transport ended without a Close frame"),
            Error::Failed(code) => write!(f, "failed by the application with {code}"),
            Error::Aborted => f.write_str("aborted by the application"),
        }
    }
}

impl error::Error for Error {}

/// A rule that the peer broke. Each names its section of RFC 6455, or of RFC 7692 where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A client sent a frame without masking it (section 5.1).
    UnmaskedFrame,
    /// A server sent a masked frame (section 5.1).
    MaskedFrame,
    /// RSV bits (bits 2 to 0 are RSV1 to RSV3) that no negotiated extension defines (section 5.2).
    ReservedBits(u8),
    /// An opcode that section 5.2 reserves.
    UnknownOpcode(u8),
    /// A payload length in a longer form than it needs (section 5.2).
    NonMinimalLength(u64),
    /// A 64-bit payload length with its most significant bit set (section 5.2).
    LengthTopBit,
    /// A control frame without FIN (section 5.5).
    FragmentedControl(OpCode),
    /// A control frame with more than 125 bytes (section 5.5).
    ControlTooLong(OpCode),
    /// A continuation frame outside a message (section 5.4).
    UnexpectedContinuation,
    /// A new message before the last fragment of the one in progress (section 5.4).
    InterleavedMessage,
    /// A text message that is not UTF-8 (sections 5.6 and 8.1).
    InvalidUtf8,
    /// RSV1, the "Per-Message Compressed" bit, on a frame that is not the first one of a message
    /// (RFC 7692, section 6.1).
    MisplacedRsv1(OpCode),
    /// A compressed message that is not valid DEFLATE data (RFC 7692, section 7.2.2).
    InvalidDeflate,
    /// A compressed message that refers to an earlier message which is no longer kept, though its
    /// sender agreed to refer to none (`no_context_takeover`; RFC 7692, sections 7.1.1.1 and
    /// 7.1.1.2).
    ///
    /// An earlier message is not kept in these cases:
    ///
    /// - The peer has kept to its agreement before.
    /// - There was no memory ([`DeflateMemory`](crate::deflate::DeflateMemory)).
    /// - The peer was silent for long, and other connections needed the memory.
    ForgottenContext,
    /// A Close frame whose body is one byte long (section 5.5.1).
    CloseBodyOneOctet,
    /// A Close frame with a code that must not be sent (section 7.4).
    InvalidCloseCode(u16),
    /// A Close frame whose reason is not UTF-8 (section 5.5.1).
    CloseReasonNotUtf8,
}

impl PeerMisbehaved {
    /// The code of the Close frame that is sent for this fault (section 7.4.1).
    ///
    /// It is 1007 for invalid UTF-8 and for compressed data that cannot be inflated, and 1002 for
    /// the rest.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            PeerMisbehaved::InvalidUtf8
            | PeerMisbehaved::CloseReasonNotUtf8
            | PeerMisbehaved::InvalidDeflate
            | PeerMisbehaved::ForgottenContext => CloseCode::INVALID_DATA,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The number of the RFC that states the rule: 6455, or 7692 for permessage-deflate.
    #[must_use]
    pub const fn rfc(self) -> u16 {
        match self {
            PeerMisbehaved::MisplacedRsv1(_)
            | PeerMisbehaved::InvalidDeflate
            | PeerMisbehaved::ForgottenContext => 7692,
            _ => 6455,
        }
    }

    /// The section that states the rule, in the RFC that [`rfc`](PeerMisbehaved::rfc) names.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            PeerMisbehaved::UnmaskedFrame | PeerMisbehaved::MaskedFrame => "5.1",
            PeerMisbehaved::ReservedBits(_)
            | PeerMisbehaved::UnknownOpcode(_)
            | PeerMisbehaved::NonMinimalLength(_)
            | PeerMisbehaved::LengthTopBit => "5.2",
            PeerMisbehaved::UnexpectedContinuation | PeerMisbehaved::InterleavedMessage => "5.4",
            PeerMisbehaved::FragmentedControl(_) | PeerMisbehaved::ControlTooLong(_) => "5.5",
            PeerMisbehaved::CloseBodyOneOctet | PeerMisbehaved::CloseReasonNotUtf8 => "5.5.1",
            PeerMisbehaved::InvalidCloseCode(_) => "7.4",
            PeerMisbehaved::InvalidUtf8 => "8.1",
            PeerMisbehaved::MisplacedRsv1(_) => "6.1",
            PeerMisbehaved::InvalidDeflate => "7.2.2",
            PeerMisbehaved::ForgottenContext => "7.1.1",
        }
    }

    /// The reason that the Close frame carries: the rule in a few words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            PeerMisbehaved::UnmaskedFrame => "unmasked frame from a client",
            PeerMisbehaved::MaskedFrame => "masked frame from a server",
            PeerMisbehaved::ReservedBits(_) => "reserved bits set",
            PeerMisbehaved::UnknownOpcode(_) => "unknown opcode",
            PeerMisbehaved::NonMinimalLength(_) => "payload length not minimal",
            PeerMisbehaved::LengthTopBit => "payload length with its top bit set",
            PeerMisbehaved::FragmentedControl(_) => "fragmented control frame",
            PeerMisbehaved::ControlTooLong(_) => "control frame over 125 octets",
            PeerMisbehaved::UnexpectedContinuation => "continuation frame outside a message",
            PeerMisbehaved::InterleavedMessage => "new message inside a fragmented one",
            PeerMisbehaved::InvalidUtf8 => "text is not UTF-8",
            PeerMisbehaved::MisplacedRsv1(_) => "RSV1 on other than the first frame of a message",
            PeerMisbehaved::InvalidDeflate => "compressed data is not DEFLATE",
            PeerMisbehaved::ForgottenContext => {
                "reference to an earlier message, against no_context_takeover"
            }
            PeerMisbehaved::CloseBodyOneOctet => "Close body of one octet",
            PeerMisbehaved::InvalidCloseCode(_) => "invalid close code",
            PeerMisbehaved::CloseReasonNotUtf8 => "close reason is not UTF-8",
        }
    }
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            PeerMisbehaved::ReservedBits(bits) => write!(f, " ({bits:#05b})")?,
            PeerMisbehaved::UnknownOpcode(opcode) => write!(f, " ({opcode:#x})")?,
            PeerMisbehaved::NonMinimalLength(len) => write!(f, " ({len})")?,
            PeerMisbehaved::FragmentedControl(opcode)
            | PeerMisbehaved::ControlTooLong(opcode)
            | PeerMisbehaved::MisplacedRsv1(opcode) => {
                write!(f, " ({opcode:?})")?;
            }
            PeerMisbehaved::InvalidCloseCode(code) => write!(f, " ({code})")?,
            _ => {}
        }
        write!(f, ", RFC {} section {}", self.rfc(), self.section())
    }
}

impl error::Error for PeerMisbehaved {}

/// A limit of this endpoint that the peer exceeded. Most are fields of [`Config`](crate::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// A frame header announced more than [`Config::max_frame`](crate::Config::max_frame) bytes.
    FrameTooLarge {
        /// Bytes announced.
        announced: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The fragments of a message add up to more than
    /// [`Config::max_message`](crate::Config::max_message) bytes, or a compressed message inflates
    /// to more.
    MessageTooLarge {
        /// Bytes received and announced, or inflated when the limit was exceeded.
        announced: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A message has more tiny fragments than
    /// [`Config::small_frame_budget`](crate::Config::small_frame_budget) allows.
    SmallFrames {
        /// Tiny fragments allowed.
        limit: u32,
    },
    /// A compressed message inflates to more than `DeflateConfig::max_ratio` bytes for each of its
    /// compressed bytes.
    InflationRatio {
        /// Bytes allowed for each compressed byte.
        limit: u32,
    },
    /// There is no memory left for inflating a message while it arrives. See
    /// [`DeflateMemory`](crate::deflate::DeflateMemory).
    ///
    /// Either too many other messages are arriving, or this one arrived so slowly that its memory
    /// was given to another.
    DeflateMemory,
    /// All connections together have reached their memory limit, and the driver chose this one to
    /// fail: of those that hold the most, it made the least use of its memory. See
    /// [`DriverAccess::fail_for_memory`](crate::connection::DriverAccess::fail_for_memory).
    Memory,
}

impl LimitExceeded {
    /// The code of the Close frame that is sent for this limit.
    ///
    /// - 1009 for a frame or a message that is too large, or inflates too much.
    /// - 1008 for too many tiny fragments.
    /// - 1013 for a lack of memory: the peer may try again later.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            LimitExceeded::FrameTooLarge { .. } | LimitExceeded::MessageTooLarge { .. } => CloseCode::TOO_BIG,
            LimitExceeded::SmallFrames { .. } => CloseCode::POLICY_VIOLATION,
            LimitExceeded::InflationRatio { .. } => CloseCode::TOO_BIG,
            LimitExceeded::DeflateMemory | LimitExceeded::Memory => CloseCode::TRY_AGAIN_LATER,
        }
    }

    /// The reason that the Close frame carries.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            LimitExceeded::FrameTooLarge { .. } => "frame too large",
            LimitExceeded::MessageTooLarge { .. } => "message too large",
            LimitExceeded::SmallFrames { .. } => "too many tiny fragments",
            LimitExceeded::InflationRatio { .. } => "message inflates too much",
            LimitExceeded::DeflateMemory => "no memory to inflate",
            LimitExceeded::Memory => "no memory",
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            LimitExceeded::FrameTooLarge { announced, limit }
            | LimitExceeded::MessageTooLarge { announced, limit } => {
                write!(f, ": {announced} octets, limit {limit}")
            }
            LimitExceeded::SmallFrames { limit } => write!(f, ": limit {limit} in a message"),
            LimitExceeded::InflationRatio { limit } => write!(f, ": limit {limit} octets for each"),
            LimitExceeded::DeflateMemory | LimitExceeded::Memory => Ok(()),
        }
    }
}

impl error::Error for LimitExceeded {}

/// A deadline that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// No frame was received for [`Config::idle_timeout`](crate::Config::idle_timeout).
    Idle,
    /// A keep-alive Ping was not answered: nothing was received for
    /// [`Config::keep_alive_timeout`](crate::Config::keep_alive_timeout), or no Pong for 20 times
    /// as long.
    KeepAlive,
    /// The closing handshake was not completed within
    /// [`Config::close_timeout`](crate::Config::close_timeout).
    Close,
    /// The peer took none of the bytes queued for
    /// [`Config::write_timeout`](crate::Config::write_timeout).
    Write,
    /// A message being received neither ended nor grew by
    /// [`Config::message_progress`](crate::Config::message_progress) bytes within
    /// [`Config::message_timeout`](crate::Config::message_timeout).
    Message,
}

impl Timeout {
    /// The code of the Close frame, or `None` if none is sent: the peer does not read, or a Close
    /// frame was sent already.
    #[must_use]
    pub const fn close_code(self) -> Option<CloseCode> {
        match self {
            Timeout::Idle => Some(CloseCode::GOING_AWAY),
            Timeout::KeepAlive => Some(CloseCode::INTERNAL_ERROR),
            Timeout::Message => Some(CloseCode::POLICY_VIOLATION),
            Timeout::Close | Timeout::Write => None,
        }
    }

    /// The reason that the Close frame carries.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Timeout::Idle => "idle timeout",
            Timeout::KeepAlive => "keep-alive timeout",
            Timeout::Close => "close timeout",
            Timeout::Write => "write timeout",
            Timeout::Message => "message timeout",
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl error::Error for Timeout {}

/// Why a command was refused. Nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A Close frame was sent or the connection has ended (section 5.5.1: nothing may follow a
    /// Close).
    Closed,
    /// The bytes queued have reached [`Config::high_water`](crate::Config::high_water). Wait for
    /// `Event::Writable` (in the server: `Handler::on_writable`).
    Full,
    /// A message is being sent in fragments; its last fragment has to be sent first (section 5.4).
    FragmentInProgress,
    /// The fragment's type is not that of the message in progress.
    FragmentType,
    /// A Ping or Pong with more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A close reason with more than 123 bytes, or a reason without a code (section 5.5.1).
    CloseReason,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed => "the connection is closing or closed (RFC 6455 section 5.5.1)",
            SendError::Full => "too much waits to be sent (Config::high_water)",
            SendError::FragmentInProgress => {
                "a fragmented message is not complete yet (RFC 6455 section 5.4)"
            }
            SendError::FragmentType => "a fragment of another type than its message's (RFC 6455 section 5.4)",
            SendError::ControlTooLong => "a control frame over 125 octets (RFC 6455 section 5.5)",
            SendError::CloseReason => {
                "a close reason over 123 octets, or one without a code (RFC 6455 section 5.5.1)"
            }
        })
    }
}

impl error::Error for SendError {}
