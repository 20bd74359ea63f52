//! Inflating (RFC 1951, and RFC 7692, section 7.2.2) the slow and obvious way: bit by bit, with the
//! whole payload at hand.
//!
//! It tells what no library does: which octet proves a fault, whether the payload ends where a
//! block does, and how far back the farthest distance reaches. Shares no code with the crate under
//! test.

#[cfg(feature = "deflate")]
use framewright::{Role, deflate::DeflateParams};

/// What a sender removes from the end of each message.
pub const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The largest window of DEFLATE.
const LARGEST_WINDOW: usize = 32 << 10;

/// What the compressed messages of one direction may refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inflation {
    takeover: bool,
    window: usize,
    history: Vec<u8>,
    /// Where none may be referred to, and it is not known yet that none is: the points that speak
    /// for it. `history` is kept then.
    doubt: Option<u32>,
}

/// What a payload, or the beginning of one, comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// The octets of the message.
    pub octets: Vec<u8>,
    /// Where the payload ends, or why it was read no further.
    pub end: End,
    /// The farthest distance.
    pub farthest: usize,
    /// A distance was too far.
    too_far: bool,
    /// It refers to earlier messages, though it was agreed that none does.
    refers: bool,
}

/// Where reading has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the end, between two blocks.
    Between,
    /// At the end, behind a block with BFINAL and its padding.
    Final,
    /// At the end, within a block or its header.
    Within,
    /// At a fault.
    Corrupt,
    /// There are more octets than were asked for.
    TooLong,
}

impl Inflation {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new(takeover: bool, window: usize) -> Inflation {
        Inflation { takeover, window, history: Vec::new(), doubt: None }
    }

    /// That of the messages of `sender`.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn of(params: &DeflateParams, sender: Role) -> Inflation {
        match sender {
            Role::Server => {
                Inflation::new(!params.server_no_context_takeover, params.server_max_window_bits.size())
            }
            Role::Client => {
                Inflation::new(!params.client_no_context_takeover, params.client_max_window_bits.size())
            }
        }
    }

    /// The inflation of a receiver that does not rely on what was negotiated. A sender may refer to
    /// earlier messages nevertheless, so the last octets are kept from its first compressed message on.
    /// They are dropped after 32 messages that refer to none, or three of which two begin as one
    /// before them has.
    #[must_use]
    pub fn doubting(self) -> Inflation {
        Inflation { doubt: Some(0), ..self }
    }

    /// The size of the window that was agreed on.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// The beginning of a message's payload, up to one octet of message more than `most`.
    ///
    /// A distance may reach back to the start of the message, or of what follows its last final
    /// block, and from there as far as the window that is taken over.
    #[must_use]
    pub fn begun(&self, payload: &[u8], most: usize) -> Inflated {
        if self.takeover {
            return self.begun_behind(&self.history, self.window, payload, most);
        }
        let alone = self.begun_behind(&[], LARGEST_WINDOW, payload, most);
        if !alone.too_far || self.doubt.is_none() {
            return alone;
        }
        Inflated { refers: true, ..self.begun_behind(&self.history, self.window, payload, most) }
    }

    fn begun_behind(&self, history: &[u8], window: usize, payload: &[u8], most: usize) -> Inflated {
        let mut reader = Reader {
            input: payload,
            at: 0,
            out: history.to_vec(),
            before: history.len(),
            reach: history.len().saturating_sub(window),
            most,
            farthest: 0,
            too_far: false,
        };
        let end = loop {
            if reader.at == 8 * payload.len() {
                break End::Between;
            }
            match reader.block() {
                Err(end) => break end,
                Ok(false) => {}
                Ok(true) => {
                    reader.at = reader.at.next_multiple_of(8);
                    reader.reach = reader.out.len().saturating_sub(window);
                    if reader.at == 8 * payload.len() {
                        break End::Final;
                    }
                }
            }
        };
        let mut octets = reader.out.split_off(reader.before);
        octets.truncate(most.saturating_add(1));
        Inflated { octets, end, farthest: reader.farthest, too_far: reader.too_far, refers: false }
    }

    /// The whole payload of a message: good if it ends behind a final block, or if with the four
    /// octets that its sender has removed it ends between two blocks.
    #[must_use]
    pub fn complete(&self, payload: &[u8], most: usize) -> Inflated {
        let begun = self.begun(payload, most);
        if begun.end == End::Final { begun } else { self.begun(&[payload, &TAIL].concat(), most) }
    }

    /// The whole payload of a message, as a receiver takes it. Where each message stands by itself, one without octets is
    /// empty, and the four octets may be left on behind a block. That is so up to the message that
    /// is the first to refer to another.
    #[must_use]
    pub fn received(&self, payload: &[u8], most: usize) -> Inflated {
        let complete = self.complete(payload, most);
        let begun = self.begun(payload, most);
        let left_on = payload.is_empty() || (payload.ends_with(&TAIL) && begun.end == End::Between);
        if !complete.is_whole() && !self.takeover && left_on { begun } else { complete }
    }

    /// Notes what [`complete`](Inflation::complete) or [`received`](Inflation::received) came to.
    pub fn learn(&mut self, message: &Inflated) {
        let Some(points) = self.doubt.filter(|_| !self.takeover) else {
            return self.remember(&message.octets);
        };
        if message.refers {
            self.takeover = true;
        } else {
            let start = &message.octets[..message.octets.len().min(8)];
            let comparable = start.len() >= 4 && message.octets.len() <= LARGEST_WINDOW;
            let alike = comparable && self.history.windows(start.len()).any(|part| part == start);
            self.doubt = Some(points + if alike { 16 } else { 1 }).filter(|points| *points < 32);
        }
        if self.doubt.is_none() {
            self.history.clear();
            return;
        }
        self.history.extend_from_slice(&message.octets);
        self.history.drain(..self.history.len().saturating_sub(self.window));
    }

    /// Notes a message, which the following ones may refer to if that was agreed on.
    pub fn remember(&mut self, message: &[u8]) {
        if self.takeover {
            self.history.extend_from_slice(message);
            self.history.drain(..self.history.len().saturating_sub(self.window));
        }
    }
}

impl Inflated {
    /// Whether a payload that came to this is that of a message.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.end, End::Between | End::Final)
    }
}

struct Reader<'a> {
    input: &'a [u8],
    /// The next bit.
    at: usize,
    /// What came before, and what is inflated.
    out: Vec<u8>,
    /// How much of `out` came before.
    before: usize,
    /// The first octet of `out` that a distance may reach.
    reach: usize,
    most: usize,
    farthest: usize,
    too_far: bool,
}

impl Reader<'_> {
    /// Reads a block; whether it was a final one.
    fn block(&mut self) -> Result<bool, End> {
        let last = self.bits(1)? == 1;
        match self.bits(2)? {
            0 => self.stored()?,
            1 => {
                let lengths = [&[8; 144][..], &[9; 112], &[7; 24], &[8; 8]].concat();
                self.compressed(&Code::new(&lengths), &Code::new(&[5; 32]))?;
            }
            2 => {
                let (literals, distances) = self.codes()?;
                self.compressed(&literals, &distances)?;
            }
            _ => return Err(End::Corrupt),
        }
        Ok(last)
    }

    fn stored(&mut self) -> Result<(), End> {
        self.at = self.at.next_multiple_of(8);
        let (len, complement) = (self.bits(16)?, self.bits(16)?);
        if len != complement ^ 0xffff {
            return Err(End::Corrupt);
        }
        for _ in 0..len {
            let octet = self.bits(8)?;
            self.push(octet)?;
        }
        Ok(())
    }

    /// The codes of a block that has its own (RFC 1951, section 3.2.7).
    fn codes(&mut self) -> Result<(Code, Code), End> {
        let (literals, distances) = (self.bits(5)? + 257, self.bits(5)? + 1);
        let count = self.bits(4)? + 4;
        if literals > 286 || distances > 30 {
            return Err(End::Corrupt);
        }
        let mut lengths = vec![0; 19];
        for &symbol in &[16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15][..count] {
            lengths[symbol] = self.bits(3)?;
        }
        let code = Code::new(&lengths);
        if code.symbols.is_empty() {
            // As zlib has it: all lengths are 0, in a bit each, and there is no end of block among
            // them.
            self.bits(literals + distances)?;
        }
        if code.unused != 0 {
            return Err(End::Corrupt);
        }
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (length, times) = match self.symbol(&code)? {
                16 => {
                    let times = 3 + self.bits(2)?;
                    (*lengths.last().ok_or(End::Corrupt)?, times)
                }
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length, 1),
            };
            lengths.extend(std::iter::repeat_n(length, times));
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return Err(End::Corrupt);
        }
        let (literals, distances) = lengths.split_at(literals);
        let (literals, distances) = (Code::new(literals), Code::new(distances));
        if literals.is_usable() && distances.is_usable() {
            Ok((literals, distances))
        } else {
            Err(End::Corrupt)
        }
    }

    fn compressed(&mut self, literals: &Code, distances: &Code) -> Result<(), End> {
        loop {
            match self.symbol(literals)? {
                256 => return Ok(()),
                octet @ 0..256 => self.push(octet)?,
                symbol => {
                    let &(base, extra) = LENGTHS.get(symbol - 257).ok_or(End::Corrupt)?;
                    let len = base + self.bits(extra)?;
                    let symbol = self.symbol(distances)?;
                    let &base = DISTANCES.get(symbol).ok_or(End::Corrupt)?;
                    let distance = base + self.bits((symbol / 2).saturating_sub(1))?;
                    if distance > self.out.len() - self.reach {
                        self.too_far = true;
                        return Err(End::Corrupt);
                    }
                    self.farthest = self.farthest.max(distance);
                    for _ in 0..len {
                        let octet = self.out[self.out.len() - distance];
                        self.push(octet.into())?;
                    }
                }
            }
        }
    }

    fn push(&mut self, octet: usize) -> Result<(), End> {
        self.out.push(u8::try_from(octet).expect("an octet"));
        if self.out.len() - self.before > self.most { Err(End::TooLong) } else { Ok(()) }
    }

    /// The next bits as a number, the first one the least significant.
    fn bits(&mut self, count: usize) -> Result<usize, End> {
        let mut number = 0;
        for place in 0..u32::try_from(count).expect("a few") {
            let octet = self.input.get(self.at / 8).ok_or(End::Within)?;
            number |= usize::from(octet >> (self.at % 8) & 1).checked_shl(place).unwrap_or(0);
            self.at += 1;
        }
        Ok(number)
    }

    fn symbol(&mut self, code: &Code) -> Result<usize, End> {
        let (mut number, mut first, mut index) = (0, 0, 0);
        for &count in &code.counts {
            number = 2 * number + self.bits(1)?;
            first *= 2;
            if number < first + count {
                return Ok(code.symbols[index + number - first]);
            }
            first += count;
            index += count;
            if index == code.symbols.len() {
                break;
            }
        }
        Err(End::Corrupt)
    }
}

/// A prefix code (RFC 1951, section 3.2.2).
struct Code {
    /// How many symbols have a code of 1 bit, of 2, ...
    counts: [usize; 15],
    /// In the order of their codes.
    symbols: Vec<usize>,
    /// Of 2^15: how many codes of 15 bits belong to no symbol. Negative if there are too few codes
    /// for the symbols.
    unused: isize,
}

impl Code {
    fn new(lengths: &[usize]) -> Code {
        let mut code = Code { counts: [0; 15], symbols: Vec::new(), unused: 1 << 15 };
        for length in 1..=15 {
            let symbols = (0..lengths.len()).filter(|&symbol| lengths[symbol] == length);
            let before = code.symbols.len();
            code.symbols.extend(symbols);
            code.counts[length - 1] = code.symbols.len() - before;
            code.unused -= isize::try_from(code.counts[length - 1] << (15 - length)).expect("small");
        }
        code
    }

    /// Whether each code belongs to one symbol. A single symbol has a code of one bit, with the
    /// other one unused, and of distances there may be none.
    fn is_usable(&self) -> bool {
        self.unused == 0 || self.symbols.is_empty() || (self.symbols.len() == 1 && self.counts[0] == 1)
    }
}

/// The least length of each symbol from 257 on, and how many bits are added (RFC 1951, section
/// 3.2.5).
const LENGTHS: [(usize, usize); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The least distance of each symbol; symbol n has n / 2 - 1 bits more.
const DISTANCES: [usize; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::{Deflater, compressible, payload_in_blocks};
    use crate::rng::SplitMix64;
    use miniz_oxide::inflate::decompress_to_vec;

    fn whole(inflation: &Inflation, payload: &[u8]) -> Option<Vec<u8>> {
        let inflated = inflation.complete(payload, 1 << 20);
        inflated.is_whole().then_some(inflated.octets)
    }

    #[test]
    fn what_another_library_compresses_and_inflates_is_inflated_the_same() {
        let mut rng = SplitMix64::new(1951);
        for level in 0..=10 {
            for len in [0, 1, 5, 300, 70_000] {
                let message = compressible(&mut rng, len);
                let payload = Deflater::new(level).message(&message);
                assert_eq!(whole(&Inflation::new(false, 1 << 15), &payload).as_ref(), Some(&message));
                let stream = [&payload[..], &TAIL, &[0x03, 0x00]].concat();
                assert_eq!(decompress_to_vec(&stream).as_ref().ok(), Some(&message), "with a final block");
                let payload = payload_in_blocks(&mut rng, &message);
                assert_eq!(whole(&Inflation::new(false, 1 << 15), &payload), Some(message));
            }
        }
    }

    #[test]
    fn a_prefix_comes_to_a_prefix_and_is_not_whole() {
        let mut rng = SplitMix64::new(3);
        let message = compressible(&mut rng, 2000);
        let payload = Deflater::new(6).message(&message);
        let inflation = Inflation::new(false, 1 << 15);
        for len in 0..payload.len() {
            let begun = inflation.begun(&payload[..len], 1 << 20);
            assert!(message.starts_with(&begun.octets) && begun.end != End::Corrupt);
            assert_eq!(whole(&inflation, &payload[..len]), None, "cut after {len} octets");
        }
    }

    #[test]
    fn distances_reach_as_far_as_was_agreed() {
        let copy = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let mut inflation = Inflation::new(true, 256);
        assert_eq!(whole(&inflation, &copy), None);
        inflation.remember(b"Hello");
        assert_eq!(whole(&inflation, &copy).as_deref(), Some(&b"Hello"[..]));
        assert_eq!(inflation.complete(&copy, 100).farthest, 5);
        let mut forgetful = Inflation::new(false, 256);
        forgetful.remember(b"Hello");
        assert_eq!(whole(&forgetful, &copy), None);
        let ended = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(
            whole(&forgetful, &[&ended[..], &copy].concat()).as_deref(),
            Some(&b"HelloHello"[..]),
            "what comes before a final block is not forgotten"
        );
    }

    #[test]
    fn no_more_is_inflated_than_was_asked_for() {
        let payload = Deflater::new(9).message(&[0; 10_000]);
        let inflated = Inflation::new(false, 1 << 15).complete(&payload, 100);
        assert_eq!((inflated.octets.len(), inflated.end), (101, End::TooLong));
    }
}
