//! The reader's generating mode: a seed in, a valid request out, with the decoder itself as the schema.
//!
//! A decoder over [`super::read::Reader::generating`] asks for field after field; each is invented here in the form
//! asked for, handed to the decoder as if it had come from the wire, and appended to what
//! [`Generator::into_bytes`] gives in the end. Only tests and fuzz seeds use it.

use std::cell::{Cell, OnceCell, RefCell};

use bytes::Bytes;

/// Invents the bytes that a decoder reads and keeps them.
#[derive(Debug)]
pub struct Generator {
    random: Cell<u64>,
    nothing: Bytes,
    first: OnceCell<Box<Piece>>,
    out: RefCell<Vec<u8>>,
    tagged: Cell<bool>,
}

/// One field's bytes. Pieces live as long as the generator, so the decoder may borrow from them.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    next: OnceCell<Box<Self>>,
}

/// What kind of field a decoder asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Bool,
    Number { bytes: usize },
    Varint { bits: u32 },
    String { nullable: bool },
    Bytes { nullable: bool },
    Array { nullable: bool },
    Presence,
}

/// Where the next piece of a generator goes.
#[derive(Debug)]
pub(super) struct Supply<'a> {
    generator: &'a Generator,
    next: &'a OnceCell<Box<Piece>>,
}

/// The tagged fields that a structure ends with.
#[derive(Debug)]
pub(super) struct Tags {
    pub(super) known: Vec<u32>,
    unknown: bool,
    begin: usize,
}

impl Generator {
    /// A generator that gives the same bytes for the same seed and decoder.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Cell::new(seed),
            nothing: Bytes::new(),
            first: OnceCell::new(),
            out: RefCell::default(),
            tagged: Cell::new(false),
        }
    }

    /// Whether a known tagged field was written: an encoder leaves such a field out when it has its default.
    pub fn wrote_known_tags(&self) -> bool {
        self.tagged.get()
    }

    /// All that the decoder was given.
    pub fn into_bytes(self) -> Bytes {
        self.out.take().into()
    }

    pub(super) fn choose_tags(&self, known: &[u32]) -> Tags {
        let known: Vec<u32> = known.iter().copied().filter(|_| self.below(3) == 0).collect();
        let unknown = self.below(6) == 0;
        self.tagged.set(self.tagged.get() || !known.is_empty());
        Tags { known, unknown, begin: self.out.borrow().len() }
    }

    pub(super) fn begin_tag(&self) -> usize {
        self.out.borrow().len()
    }

    /// Puts tag and size before the value that was written since `begin`.
    pub(super) fn end_tag(&self, tag: u32, begin: usize) {
        let mut out = self.out.borrow_mut();
        let mut head = Vec::new();
        put_uvarint(&mut head, tag.into());
        let size = out.len() - begin;
        put_uvarint(&mut head, size as u64);
        out.splice(begin..begin, head);
    }

    pub(super) fn end_tags(&self, tags: Tags) {
        let mut out = self.out.borrow_mut();
        let mut count = tags.known.len() as u64;
        if tags.unknown {
            count += 1;
            put_uvarint(&mut out, 1000);
            put_uvarint(&mut out, 3);
            out.extend([1, 2, 3]);
        }
        let mut head = Vec::new();
        put_uvarint(&mut head, count);
        out.splice(tags.begin..tags.begin, head);
    }

    fn invent(&self, shape: Shape, flexible: bool) -> Vec<u8> {
        let mut out = Vec::new();
        match shape {
            Shape::Bool => out.push(u8::from(self.below(2) == 1)),
            Shape::Presence => out.push(if self.below(2) == 1 { 1 } else { 0xff }),
            Shape::Number { bytes } => {
                let number = self.number().to_be_bytes();
                // Wider than the number: a UUID, of which every byte counts.
                out.extend((8..bytes.max(8)).map(|_| self.random().to_be_bytes()[0]));
                out.extend(number.get(8_usize.saturating_sub(bytes)..).unwrap_or_default());
            }
            Shape::Varint { bits } => put_uvarint(&mut out, self.number().cast_unsigned() >> (64 - bits)),
            Shape::String { nullable } => {
                let text = self.text();
                let text = (!nullable || self.below(4) > 0).then_some(text.as_bytes());
                put_length(&mut out, 2, flexible, text.map(<[u8]>::len));
                out.extend(text.unwrap_or_default());
            }
            Shape::Bytes { nullable } => {
                let bytes: Vec<u8> = (0..self.below(40)).map(|_| self.random().to_be_bytes()[0]).collect();
                let bytes = (!nullable || self.below(4) > 0).then_some(bytes);
                put_length(&mut out, 4, flexible, bytes.as_ref().map(Vec::len));
                out.extend(bytes.unwrap_or_default());
            }
            Shape::Array { nullable } => {
                let count = usize::try_from(self.below(4)).unwrap_or(0);
                put_length(&mut out, 4, flexible, (!nullable || self.below(4) > 0).then_some(count));
            }
        }
        out
    }

    /// Often one of the values that mean something, else any.
    fn number(&self) -> i64 {
        match self.below(8) {
            0 => 0,
            1 => -1,
            2 => 1,
            3 => i64::from(self.random().to_be_bytes()[0]),
            _ => self.random().cast_signed(),
        }
    }

    fn text(&self) -> String {
        const LETTERS: [char; 8] = ['a', 'b', 'Z', '0', '.', '-', 'é', '水'];
        let letter = || LETTERS.get(usize::try_from(self.below(8)).unwrap_or(0)).copied().unwrap_or('a');
        let len = if self.below(12) == 0 { 200 } else { self.below(12) };
        (0..len).map(|_| letter()).collect()
    }

    fn below(&self, bound: u64) -> u64 {
        (self.random() >> 8) % bound
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl<'a> Supply<'a> {
    pub(super) fn new(generator: &'a Generator) -> Self {
        Self { generator, next: &generator.first }
    }

    pub(super) fn generator(&self) -> &'a Generator {
        self.generator
    }

    pub(super) fn nothing(&self) -> &'a Bytes {
        &self.generator.nothing
    }

    pub(super) fn next(&mut self, shape: Shape, flexible: bool) -> &'a Bytes {
        let piece = self.next.get_or_init(|| {
            let bytes = self.generator.invent(shape, flexible);
            self.generator.out.borrow_mut().extend(&bytes);
            Box::new(Piece { bytes: bytes.into(), next: OnceCell::new() })
        });
        self.next = &piece.next;
        &piece.bytes
    }
}

impl Drop for Generator {
    /// One piece after the other, since the compiler's own way is a recursion as deep as the list is long.
    fn drop(&mut self) {
        let mut piece = self.first.take();
        while let Some(mut owned) = piece {
            piece = owned.next.take();
        }
    }
}

fn put_length(out: &mut Vec<u8>, classic_bytes: usize, flexible: bool, len: Option<usize>) {
    if flexible {
        put_uvarint(out, len.map_or(0, |len| len as u64 + 1));
    } else {
        let len = len.and_then(|len| i64::try_from(len).ok()).unwrap_or(-1);
        out.extend(len.to_be_bytes().get(8 - classic_bytes..).unwrap_or_default());
    }
}

fn put_uvarint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).unwrap_or(0));
}
