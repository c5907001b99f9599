//! PNG: chunks with a checksum each. The checksums are recomputed, and so are those of the pixel data.

use crate::mutate::{self, number};
use crate::rng::Rng;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Chunk types that a decoder handles.
const KINDS: [&[u8; 4]; 18] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT",
    b"bKGD", b"pHYs", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iTXt",
];

/// An image to be written: size, bits per sample, PNG's colour type, interlacing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bits: u8,
    pub(crate) colour: u8,
    pub(crate) interlaced: bool,
}

#[derive(Clone, Debug)]
struct Chunk {
    kind: [u8; 4],
    data: Vec<u8>,
}

/// An image with pixels of some pattern, and a palette if its colour type has one.
pub(crate) fn picture(header: Header) -> Vec<u8> {
    let ihdr = [
        &header.width.to_be_bytes()[..],
        &header.height.to_be_bytes(),
        &[
            header.bits,
            header.colour,
            0,
            0,
            u8::from(header.interlaced),
        ],
    ];
    let mut chunks = vec![Chunk::new(*b"IHDR", ihdr.concat())];
    if header.colour == 3 {
        let palette = (0..3 << header.bits).map(|i| (i * 37) as u8).collect();
        chunks.push(Chunk::new(*b"PLTE", palette));
    }
    chunks.push(Chunk::new(*b"IDAT", stored(&header.pattern())));
    chunks.push(Chunk::new(*b"IEND", vec![]));
    join(&chunks)
}

impl Header {
    /// Filter bytes and pixels of all rows, in all passes.
    fn pattern(&self) -> Vec<u8> {
        let channels = [1, 0, 3, 1, 2, 0, 4][usize::from(self.colour)];
        let row = |width: u32, y: u32| {
            let bytes = (u64::from(width) * u64::from(self.bits) * channels).div_ceil(8);
            let filter = (y % 5) as u8;
            std::iter::once(filter)
                .chain((0..bytes).map(move |x| (x * 31 + u64::from(y) * 17) as u8))
        };
        self.passes()
            .into_iter()
            .filter(|(width, height)| *width > 0 && *height > 0)
            .flat_map(|(width, height)| (0..height).flat_map(move |y| row(width, y)))
            .collect()
    }

    /// Width and height of each of Adam7's passes, or of the whole image.
    fn passes(&self) -> Vec<(u32, u32)> {
        if !self.interlaced {
            return vec![(self.width, self.height)];
        }
        // Start and step, horizontal and vertical.
        const ADAM7: [[u32; 4]; 7] = [
            [0, 8, 0, 8],
            [4, 8, 0, 8],
            [0, 4, 4, 8],
            [2, 4, 0, 4],
            [0, 2, 2, 4],
            [1, 2, 0, 2],
            [0, 1, 1, 2],
        ];
        let count = |size: u32, start: u32, step: u32| size.saturating_sub(start).div_ceil(step);
        ADAM7
            .iter()
            .map(|[x, dx, y, dy]| (count(self.width, *x, *dx), count(self.height, *y, *dy)))
            .collect()
    }
}

impl Chunk {
    fn new(kind: [u8; 4], data: Vec<u8>) -> Self {
        Self { kind, data }
    }
}

/// Adds, removes, swaps and changes chunks; every checksum is right.
pub(crate) fn mutate(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut chunks = split(bytes);
    loop {
        change(rng, &mut chunks, other);
        if !rng.once_in(3) {
            return join(&chunks);
        }
    }
}

fn change(rng: &mut Rng, chunks: &mut Vec<Chunk>, other: &[u8]) {
    let at = rng.below(chunks.len());
    match rng.below(12) {
        0..=2 => resize(rng, chunks),
        3 | 4 => {
            if let Some(chunk) = chunks.get_mut(at) {
                mutate::bytes(rng, &mut chunk.data, &[], &[]);
            }
        }
        5 | 6 => pixels(rng, chunks),
        7 if !chunks.is_empty() => drop(chunks.remove(at)),
        8 => chunks.extend(chunks.get(at).cloned()),
        9 if !chunks.is_empty() => {
            let with = rng.below(chunks.len());
            chunks.swap(at, with);
        }
        10 => {
            let foreign = split(other);
            let new = rng.pick(&foreign).cloned();
            new.into_iter().for_each(|chunk| chunks.insert(at, chunk));
        }
        _ => {
            let kind = *KINDS[rng.below(KINDS.len())];
            let data = (0..rng.length(64)).map(|_| rng.byte()).collect();
            chunks.insert(at, Chunk::new(kind, data));
        }
    }
}

/// Changes a field of the header: size, bit depth, colour type, interlacing.
fn resize(rng: &mut Rng, chunks: &mut [Chunk]) {
    let Some(
        [
            w0,
            w1,
            w2,
            w3,
            h0,
            h1,
            h2,
            h3,
            bits,
            colour,
            _,
            _,
            interlaced,
        ],
    ) = chunks.first_mut().map(|chunk| chunk.data.as_mut_slice())
    else {
        return;
    };
    let small = rng.below(80) as u32;
    let size = match rng.once_in(2) {
        true => small,
        false => number(rng) as u32,
    };
    let [s0, s1, s2, s3] = size.to_be_bytes();
    match rng.below(5) {
        0 => [*w0, *w1, *w2, *w3] = [s0, s1, s2, s3],
        1 => [*h0, *h1, *h2, *h3] = [s0, s1, s2, s3],
        2 => *bits = [1, 2, 4, 8, 16, 0, 3, 32][rng.below(8)],
        3 => *colour = rng.below(8) as u8,
        _ => *interlaced ^= 1,
    }
}

/// Replaces the pixel data by a valid stream of too many or too few pixels.
fn pixels(rng: &mut Rng, chunks: &mut [Chunk]) {
    let Some(chunk) = chunks.iter_mut().find(|chunk| &chunk.kind == b"IDAT") else {
        return;
    };
    let count = rng.length(20_000);
    let plain: Vec<u8> = match rng.once_in(2) {
        true => vec![rng.byte(); count],
        false => (0..count).map(|_| rng.byte()).collect(),
    };
    chunk.data = stored(&plain);
}

/// The chunks of a file, as far as its lengths are valid.
fn split(bytes: &[u8]) -> Vec<Chunk> {
    let (mut chunks, mut rest) = (vec![], bytes.get(SIGNATURE.len()..).unwrap_or_default());
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let Some((kind, data)) = after
            .split_first_chunk::<4>()
            .filter(|(_, d)| d.len() >= len + 4)
        else {
            break;
        };
        chunks.push(Chunk::new(*kind, data[..len].to_vec()));
        rest = &data[len + 4..];
    }
    chunks
}

fn join(chunks: &[Chunk]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    for Chunk { kind, data } in chunks {
        let mut sum = crc32fast::Hasher::new();
        sum.update(kind);
        sum.update(data);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(kind);
        bytes.extend(data);
        bytes.extend(sum.finalize().to_be_bytes());
    }
    bytes
}

/// A zlib stream of uncompressed bytes (RFC 1950, 1951).
fn stored(plain: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = plain.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        let len = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(len.to_le_bytes());
        stream.extend((!len).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(plain).to_be_bytes());
    stream
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}
