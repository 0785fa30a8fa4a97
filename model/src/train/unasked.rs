//! A record on its way through a checkpoint: to the last bit, which JSON alone would not keep.

use serde::{Deserialize, Serialize};

use crate::telemetry::{Health, Record};

/// The record of a step whose probe was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unasked {
    record: Record,
    /// Its doubles, whose last bit a reader of JSON may lose, as they are in memory.
    bits: Vec<u64>,
}

impl Unasked {
    pub fn new(mut record: Record) -> Self {
        let bits = doubles(&mut record).map(|x| std::mem::take(x).to_bits()).collect();
        Self { record, bits }
    }

    pub fn into_record(mut self) -> Record {
        doubles(&mut self.record).zip(&self.bits).for_each(|(x, bits)| *x = f64::from_bits(*bits));
        self.record
    }
}

/// Every double that a record holds before it is probed.
fn doubles(record: &mut Record) -> impl Iterator<Item = &mut f64> {
    let Record { grad_norm, lr, weight_decay, tau, health, .. } = record;
    [grad_norm, lr, weight_decay, tau].into_iter().chain(health.iter_mut().flat_map(Health::numbers_mut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::CodesHealth;

    #[test]
    fn a_record_goes_through_json_to_the_last_bit() {
        let seventh = |k: u32| f64::from(k) / 7e3;
        let mut health = Health { codes: Some(CodesHealth::default()), ..Health::default() };
        health.numbers_mut().zip(1..).for_each(|(x, k)| *x = seventh(k));
        let record = Record {
            step: 3,
            loss: 1.0 / 3.0,
            grad_norm: seventh(50),
            lr: seventh(51),
            weight_decay: seventh(52),
            tau: seventh(53),
            health: Some(health),
            ..Record::default()
        };
        let json = serde_json::to_string(&Unasked::new(record.clone())).unwrap();
        let back: Unasked = serde_json::from_str(&json).unwrap();
        assert_eq!(back.into_record(), record);
    }
}
