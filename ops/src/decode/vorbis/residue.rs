//! Residues: the fine structure of a spectrum, in partitions and passes. Source: Vorbis I specification, 8.

use super::bits::Bits;
use super::codebook::Codebook;

pub(super) struct Residue {
    /// 0: strided vectors, 1: vectors in sequence, 2: as 1 over the channels interleaved.
    pub(super) kind: u32,
    begin: usize,
    end: usize,
    partition: usize,
    classbook: usize,
    /// The book of each pass, by class.
    classes: Vec<[Option<usize>; 8]>,
    /// Passes that any class has.
    n_passes: usize,
}

impl Residue {
    pub(super) fn read(bits: &mut Bits<'_>, kind: u32, books: &[Codebook]) -> Option<Self> {
        let (begin, end, partition) = (bits.index(24)?, bits.index(24)?, bits.index(24)? + 1);
        let n_classes = bits.index(6)? + 1;
        let classbook = bits.index(8)?;
        let mut cascades = Vec::with_capacity(n_classes);
        for _ in 0..n_classes {
            let low = bits.take(3)?;
            cascades.push(if bits.flag()? { bits.take(5)? << 3 | low } else { low });
        }
        let mut classes = Vec::with_capacity(n_classes);
        for cascade in cascades {
            let mut passes = [None; 8];
            for slot in passes.iter_mut().enumerate().filter(|(pass, _)| cascade >> pass & 1 == 1).map(|(_, slot)| slot)
            {
                let book = bits.index(8)?;
                // A vector must tile a partition, as every encoder's does, and strides need it.
                let fits = books.get(book).is_some_and(|book| book.has_vectors() && partition % book.dims == 0);
                *slot = fits.then_some(book);
                slot.as_ref()?;
            }
            classes.push(passes);
        }
        let n_passes =
            (0..8).rev().find(|&pass| classes.iter().any(|class| class[pass].is_some())).map_or(0, |p| p + 1);
        (kind <= 2 && books.get(classbook)?.dims > 0).then_some(Self {
            kind,
            begin,
            end,
            partition,
            classbook,
            classes,
            n_passes,
        })
    }

    /// Adds the residue to every vector of `targets`, all of one length. The end of the packet ends it without a fault.
    pub(super) fn add(
        &self,
        bits: &mut Bits<'_>,
        books: &[Codebook],
        targets: &mut [&mut [f32]],
        chosen: &mut Vec<u8>,
    ) -> Option<()> {
        let len = targets.first()?.len();
        let (begin, end) = (self.begin.min(len), self.end.min(len));
        let n_partitions = end.saturating_sub(begin) / self.partition;
        let classbook = &books[self.classbook];
        let n_words = classbook.dims;
        let stride = n_partitions.next_multiple_of(n_words);
        chosen.clear();
        chosen.resize(stride * targets.len(), 0);
        for pass in 0..self.n_passes {
            for group in (0..n_partitions).step_by(n_words) {
                if pass == 0 {
                    for chosen in chosen.chunks_exact_mut(stride) {
                        let mut word = classbook.scalar(bits)?;
                        for class in chosen[group..group + n_words].iter_mut().rev() {
                            *class = (word % self.classes.len()) as u8;
                            word /= self.classes.len();
                        }
                    }
                }
                for i in group..(group + n_words).min(n_partitions) {
                    for (target, chosen) in targets.iter_mut().zip(chosen.chunks_exact(stride)) {
                        if let Some(book) = self.classes[usize::from(chosen[i])][pass] {
                            let at = begin + i * self.partition;
                            add_partition(&books[book], bits, self.kind, &mut target[at..at + self.partition])?;
                        }
                    }
                }
            }
        }
        Some(())
    }
}

fn add_partition(book: &Codebook, bits: &mut Bits<'_>, kind: u32, out: &mut [f32]) -> Option<()> {
    if kind == 0 {
        let stride = out.len() / book.dims;
        for i in 0..stride {
            let vector = book.vector(bits)?;
            out[i..].iter_mut().step_by(stride).zip(vector).for_each(|(slot, x)| *slot += x);
        }
        return Some(());
    }
    match book.dims {
        1 => add_vectors::<1>(book, bits, out),
        2 => add_vectors::<2>(book, bits, out),
        4 => add_vectors::<4>(book, bits, out),
        8 => add_vectors::<8>(book, bits, out),
        n => {
            for part in out.chunks_exact_mut(n) {
                part.iter_mut().zip(book.vector(bits)?).for_each(|(slot, x)| *slot += x);
            }
            Some(())
        }
    }
}

/// For the lengths that encoders use, known to the compiler.
fn add_vectors<const N: usize>(book: &Codebook, bits: &mut Bits<'_>, out: &mut [f32]) -> Option<()> {
    let (parts, _) = out.as_chunks_mut::<N>();
    for part in parts {
        let vector: &[f32; N] = book.vector(bits)?.first_chunk()?;
        part.iter_mut().zip(vector).for_each(|(slot, x)| *slot += x);
    }
    Some(())
}
