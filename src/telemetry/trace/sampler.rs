//! Which requests are recorded: decided from 56 random bits and, of a trusted proxy, its word.
//!
//! As the OpenTelemetry specification says of sampling by trace id: a trace is recorded where its
//! randomness is not below a threshold, so that whatever one ratio records a larger one records
//! too. The decision is made before anything of a span exists. A stranger's word and a stranger's
//! id decide nothing: else whoever asks could have everything recorded, or nothing. In their place
//! stands the id that the request would have been given.
//!
//! Pure: the one number that a sampler is fits into an atomic, see [`Sampler::to_bits`].

use super::context::{Flags, TraceParent};

/// Random bits of a decision.
const BITS: u32 = 56;
const NEVER: u64 = 1 << BITS;
const BELIEVES: u64 = 1 << 63;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Randomness below it is not recorded.
    threshold: u64,
    /// What a trusted proxy decided holds here too.
    believes: bool,
}

impl Sampler {
    /// `ratio` from 0 to 1.
    pub fn ratio(ratio: f64) -> Self {
        let recorded = (ratio.clamp(0.0, 1.0) * NEVER as f64).round() as u64;
        Self { threshold: NEVER - recorded.min(NEVER), believes: false }
    }

    /// The same for what no trusted proxy has decided.
    pub fn based_on_parent(self) -> Self {
        Self { believes: true, ..self }
    }

    pub fn never() -> Self {
        Self::ratio(0.0)
    }

    /// `parent`: what a trusted proxy said. `randomness`: of its trace id, or of ours.
    pub fn decides(self, parent: Option<&TraceParent>, randomness: u64) -> bool {
        match parent {
            Some(TraceParent { flags: Flags { sampled, .. }, .. }) if self.believes => *sampled,
            _ => randomness >= self.threshold,
        }
    }

    pub fn to_bits(self) -> u64 {
        self.threshold | if self.believes { BELIEVES } else { 0 }
    }

    pub fn from_bits(bits: u64) -> Self {
        Self { threshold: bits & !BELIEVES, believes: bits & BELIEVES != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::request_id::Generator;
    use crate::telemetry::trace::context::TraceId;
    use proptest::prelude::*;

    #[test]
    fn all_and_nothing_are_exact() {
        for randomness in [0, 1, NEVER / 2, NEVER - 1] {
            assert!(Sampler::ratio(1.0).decides(None, randomness));
            assert!(!Sampler::ratio(0.0).decides(None, randomness));
        }
    }

    #[test]
    fn a_ratio_is_met_over_many_ids() {
        let generator = Generator::seeded([3; 16]);
        let sampler = Sampler::ratio(0.01);
        let count = (0..100_000)
            .filter(|_| sampler.decides(None, TraceId::new(generator.next()).randomness()))
            .count();
        assert!((850..1150).contains(&count), "{count}");
    }

    #[test]
    fn a_trusted_proxy_is_believed_where_that_is_wanted() {
        let say = |sampled: &str| {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{sampled}");
            TraceParent::parse(text.as_bytes()).unwrap()
        };
        let (yes, no) = (say("01"), say("00"));
        let never = Sampler::never().based_on_parent();
        assert!(never.decides(Some(&yes), 0));
        assert!(!never.decides(None, NEVER - 1));
        assert!(!Sampler::ratio(1.0).based_on_parent().decides(Some(&no), NEVER - 1));
        assert!(Sampler::ratio(1.0).decides(Some(&no), 0));
    }

    proptest! {
        #[test]
        fn what_a_ratio_records_a_larger_one_records_too(
            one in 0.0..=1.0, other in 0.0..=1.0, randomness in 0..NEVER,
        ) {
            let (small, large) = if one < other { (one, other) } else { (other, one) };
            if Sampler::ratio(small).decides(None, randomness) {
                prop_assert!(Sampler::ratio(large).decides(None, randomness));
            }
        }

        #[test]
        fn a_sampler_is_the_same_after_an_atomic(ratio in 0.0..=1.0, believes: bool) {
            let sampler = Sampler { believes, ..Sampler::ratio(ratio) };
            prop_assert_eq!(Sampler::from_bits(sampler.to_bits()), sampler);
        }
    }
}
