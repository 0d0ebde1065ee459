//! Which instructions does this processor have, and how does a job run with them?

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use super::{lanes::Wide, portable::Portable};

/// Work that is compiled for each instruction set.
///
/// `run` and what it calls are marked `#[inline(always)]`, so that they are compiled with the
/// instructions of the caller.
pub(crate) trait Job {
    /// What comes out.
    type Output;

    /// Does the work with the instructions of `wide`.
    fn run<W: Wide>(self, wide: W) -> Self::Output;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kind {
    /// All that were compiled, fastest first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Portable,
    ];

    fn detected(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
        }
    }
}

/// An instruction set that this processor has.
///
/// Invariant: made by [`Set::best`] and [`Set::available`] alone, after detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set(Kind);

impl Set {
    /// The fastest one, chosen at the first call.
    pub(crate) fn best() -> Self {
        static CHOSEN: OnceLock<Set> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let best = Kind::ALL.iter().find(|kind| kind.detected());
            Self(best.copied().unwrap_or(Kind::Portable))
        })
    }

    /// All of them, fastest first; the last one is portable.
    #[cfg(test)]
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        Kind::ALL.iter().copied().filter(|kind| kind.detected()).map(Self)
    }

    /// Runs `job` with these instructions.
    #[inline]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        match self.0 {
            // SAFETY: this value exists, so AVX-512F was detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { run_avx512(job) },
            // SAFETY: this value exists, so AVX2 and FMA were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { run_avx2(job) },
            // SAFETY: this value exists, so NEON was detected.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { run_neon(job) },
            Kind::Portable => job.run(Portable),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512<J: Job>(job: J) -> J::Output {
    // SAFETY: this function runs only where AVX-512F is present.
    job.run(unsafe { Avx512::assume() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<J: Job>(job: J) -> J::Output {
    // SAFETY: this function runs only where AVX2 and FMA are present.
    job.run(unsafe { Avx2::assume() })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn run_neon<J: Job>(job: J) -> J::Output {
    // SAFETY: this function runs only where NEON is present.
    job.run(unsafe { super::neon::Neon::assume() })
}
