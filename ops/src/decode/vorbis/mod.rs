//! Vorbis, for one reason: who wants the mean of two channels needs one inverse transform, not two.
//!
//! Both channels of a block have the same size and window, so mixing spectra and mixing samples are the same but for the
//! order in which sums are rounded. Source: Vorbis I specification.

mod bits;
mod codebook;
mod floor;
mod plan;
mod residue;
mod setup;

use symphonia::core::packet::Packet;

use super::imdct::Work;
use bits::{Bits, ilog};
use plan::Plan;
use setup::{Mapping, Setup};

/// A stream of one or two channels.
pub(super) struct VorbisDecoder {
    setup: Setup,
    mono: bool,
    /// By channel, as long as the longest spectrum: the envelope, which becomes the spectrum.
    curves: Vec<Vec<f32>>,
    residues: Vec<Vec<f32>>,
    /// Residues of type 2, before they are taken apart.
    interleaved: Vec<f32>,
    /// Classes of the partitions.
    chosen: Vec<u8>,
    work: Work,
    first: Vec<f32>,
    /// By channel that comes out, the second half of a block: of the last one, and of this one.
    laps: Vec<[Vec<f32>; 2]>,
    /// Whether the last block was long; `None` before the first.
    last_long: Option<bool>,
    plane: Vec<Vec<f32>>,
}

impl VorbisDecoder {
    /// From a demuxer's private data; `None` where the setup is one that is not decoded here.
    pub(super) fn new(private: &[u8], mono: bool) -> Option<Self> {
        let setup = Setup::read(private)?;
        let n = setup.plans[1].n();
        let (n_in, n_out) = (setup.channels, if mono { 1 } else { setup.channels });
        Some(Self {
            setup,
            mono,
            curves: vec![vec![0.0; n]; n_in],
            residues: vec![vec![0.0; n]; n_in],
            interleaved: Vec::new(),
            chosen: Vec::new(),
            work: Work::default(),
            first: vec![0.0; n],
            laps: vec![[vec![0.0; n], vec![0.0; n]]; n_out],
            last_long: None,
            plane: vec![Vec::new(); n_out],
        })
    }

    pub(super) fn rate_hz(&self) -> u32 {
        self.setup.rate_hz
    }

    /// Channels of the file, whatever comes out.
    pub(super) fn channels(&self) -> usize {
        self.setup.channels
    }

    /// Forgets what came before, as after a seek.
    pub(super) fn reset(&mut self) {
        self.last_long = None;
    }

    /// Appends the samples of one packet to `out`; returns the frames, of which the first packet has none. `None` for a
    /// damaged packet.
    pub(super) fn decode(&mut self, packet: &Packet, out: &mut Vec<f32>) -> Option<usize> {
        let bits = &mut Bits::new(&packet.data);
        if bits.flag()? {
            return None;
        }
        let mode = self.setup.modes.get(bits.index(ilog(self.setup.modes.len() - 1))?)?;
        let (long, mapping) = (mode.long, mode.mapping);
        if long {
            // Both neighbours' sizes, which are known from the neighbours.
            bits.take(2)?;
        }
        let n = self.setup.plans[usize::from(long)].n();
        self.read_spectra(bits, mapping, n);
        if self.mono && self.setup.channels == 2 {
            let [left, right] = &mut self.curves[..] else { return None };
            left[..n].iter_mut().zip(&right[..n]).for_each(|(l, r)| *l = (*l + r) * 0.5);
        }
        self.synthesize(long);
        let n_frames = if self.last_long.replace(long).is_some() { self.plane[0].len() } else { 0 };
        let front = (packet.trim_start.get() as usize).min(n_frames);
        let end = n_frames.saturating_sub(packet.trim_end.get() as usize).max(front);
        match &self.plane[..] {
            [left, right] => {
                out.extend(left[front..end].iter().zip(&right[front..end]).flat_map(|(&l, &r)| [l, r]));
            }
            planes => out.extend_from_slice(&planes[0][front..end]),
        }
        Some(end - front)
    }

    /// Leaves the spectrum of every channel in `curves`.
    fn read_spectra(&mut self, bits: &mut Bits<'_>, mapping: usize, n: usize) {
        let Self { setup, curves, residues, interleaved, chosen, .. } = self;
        let Setup { books, floors, mappings, .. } = setup;
        let mapping = &mappings[mapping];
        let mut sounds = [false; 2];
        for (channel, &submap) in mapping.mux.iter().enumerate() {
            let curve = &mut curves[channel][..n];
            sounds[channel] = floors[mapping.submaps[submap].floor].draw(bits, books, curve).is_some();
            if !sounds[channel] {
                curve.fill(0.0);
            }
        }
        // Half of a pair may be silent, but its residue is coded.
        let mut coded = sounds;
        for pair in &mapping.couplings {
            let either = coded[pair.magnitude] || coded[pair.angle];
            (coded[pair.magnitude], coded[pair.angle]) = (either, either);
        }
        for residue in residues.iter_mut() {
            residue[..n].fill(0.0);
        }
        for (i, submap) in mapping.submaps.iter().enumerate() {
            let residue = &setup.residues[submap.residue];
            // The end of a packet may come early: what was read stands, and so `add` is not asked for its end.
            if residue.kind == 2 && mapping.mux == [i, i] {
                if let [left, right] = &mut residues[..]
                    && coded.contains(&true)
                {
                    interleaved.clear();
                    interleaved.resize(2 * n, 0.0);
                    let _ended = residue.add(bits, books, &mut [&mut interleaved[..]], chosen);
                    let (pairs, _) = interleaved.as_chunks::<2>();
                    for ((l, r), pair) in left.iter_mut().zip(right).zip(pairs) {
                        [*l, *r] = *pair;
                    }
                }
                continue;
            }
            let members = residues.iter_mut().enumerate().filter(|&(c, _)| mapping.mux[c] == i && coded[c]);
            let mut members: Vec<&mut [f32]> = members.map(|(_, residue)| &mut residue[..n]).collect();
            let _ended = residue.add(bits, books, &mut members, chosen);
        }
        decouple(mapping, residues, n);
        for (curve, residue) in curves.iter_mut().zip(residues) {
            curve[..n].iter_mut().zip(&residue[..n]).for_each(|(curve, x)| *curve *= x);
        }
    }

    /// Transforms, windows and overlaps: leaves what is complete in `plane`.
    fn synthesize(&mut self, long: bool) {
        let plan = self.setup.plans[usize::from(long)];
        let last = self.setup.plans[usize::from(self.last_long.unwrap_or(long))];
        let n = plan.n();
        for ((laps, curve), plane) in self.laps.iter_mut().zip(&self.curves).zip(&mut self.plane) {
            let [old, new] = laps;
            plan.transform(&curve[..n], &mut self.work, &mut self.first[..n], &mut new[..n]);
            plane.clear();
            overlap(&old[..last.n()], &self.first[..n], last, plan, plane);
            laps.swap(0, 1);
        }
    }
}

/// Turns magnitudes and angles back into two channels.
fn decouple(mapping: &Mapping, residues: &mut [Vec<f32>], n: usize) {
    for pair in mapping.couplings.iter().rev() {
        let Ok([magnitudes, angles]) = residues.get_disjoint_mut([pair.magnitude, pair.angle]) else { continue };
        for (magnitude, angle) in magnitudes[..n].iter_mut().zip(&mut angles[..n]) {
            let (m, a) = (*magnitude, *angle);
            // Of the two, the one the angle points away from is the magnitude; written so that it vectorises.
            let other = if m > 0.0 { m - a.abs() } else { m + a.abs() };
            (*magnitude, *angle) = if a > 0.0 { (m, other) } else { (other, m) };
        }
    }
}

/// Appends the samples between the middles of two blocks: the second half of one fades out, the first half of the next in.
fn overlap(old: &[f32], new: &[f32], last: &Plan, plan: &Plan, out: &mut Vec<f32>) {
    let slope = if last.n() < plan.n() { &last.slope } else { &plan.slope };
    let n = slope.len();
    let (old_flat, new_flat) = ((old.len() - n) / 2, (new.len() - n) / 2);
    out.extend_from_slice(&old[..old_flat]);
    let (old, rising) = (&old[old_flat..old_flat + n], &new[new_flat..new_flat + n]);
    let falling = old.iter().zip(slope.iter().rev());
    out.extend(falling.zip(rising.iter().zip(slope)).map(|((&a, &down), (&b, &up))| a * down + b * up));
    out.extend_from_slice(&new[new_flat + n..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use setup::Coupling;

    #[test]
    fn couples_as_the_specification_says() {
        let mapping =
            Mapping { couplings: vec![Coupling { magnitude: 0, angle: 1 }], mux: vec![0; 2], submaps: vec![] };
        // All four quadrants: (M, A) to (left, right), by 4.3.5.
        let mut pairs = [vec![3.0, 3.0, -3.0, -3.0], vec![1.0, -1.0, 1.0, -1.0]];
        decouple(&mapping, &mut pairs, 4);
        assert_eq!(pairs, [vec![3.0, 2.0, -3.0, -2.0], vec![2.0, 3.0, -2.0, -3.0]]);
    }

    #[test]
    fn overlaps_between_the_middles() {
        let (short, long) = (Plan::of(6).unwrap(), Plan::of(8).unwrap());
        for (a, b) in [(short, short), (short, long), (long, short), (long, long)] {
            let (old, new, mut out) = (vec![1.0; a.n()], vec![1.0; b.n()], Vec::new());
            overlap(&old, &new, a, b, &mut out);
            assert_eq!(out.len(), usize::midpoint(a.n(), b.n()));
            // Outside the slope each block stands alone.
            assert!(out[..(a.n() - a.n().min(b.n())) / 2].iter().all(|&x| x == 1.0));
            assert!(out.iter().all(|&x| (0.999..1.42).contains(&x)));
        }
    }
}
