//! What do all rows of a segment share? The modes: forms with their codes.
//!
//! A row's record begins with the number of its mode. A mode has a shape, one code for each class
//! of dimensions, which dimensions have their signs turned, and for forms with residuals one more
//! code behind the others. A model is a few hundred bytes to a few kilobytes; read back, it also
//! holds the tables that decode ([`tables`](super::tables)).

use super::error::{LosslessError, corrupt};
use super::form::{Form, MAX_LOW, Shape};
use super::numbers::{Digits, Origin};
use super::prefix::{MAX_SYMBOLS, PrefixCode};
use super::tables::{Tables, base};

/// Modes that a model may have; the numbers above are taken by modes without codes.
pub(super) const MAX_MODES: usize = 12;
/// Classes of dimensions that a mode may have.
pub(super) const MAX_CLASSES: usize = 16;

/// A form with its codes.
#[derive(Debug, Clone)]
pub(super) struct Mode {
    pub(super) origin: Origin,
    pub(super) shape: Shape,
    /// The class of each dimension; empty if there is one class.
    pub(super) classes: Vec<u8>,
    /// The sign bit for dimensions whose signs are turned, else 0. Empty if signs are no symbols.
    pub(super) flips: Vec<u32>,
    /// A code for each class, and one for residuals.
    pub(super) codes: Vec<PrefixCode>,
}

impl Mode {
    /// The sign flip of a dimension.
    #[inline(always)]
    pub(super) fn flip(&self, dim: usize) -> u32 {
        self.flips.get(dim).copied().unwrap_or(0)
    }

    /// The class of a dimension.
    #[inline(always)]
    pub(super) fn class(&self, dim: usize) -> usize {
        self.classes.get(dim).map_or(0, |class| usize::from(*class))
    }

    /// Classes of dimensions.
    pub(super) fn class_count(&self) -> usize {
        self.codes.len() - usize::from(self.has_residuals())
    }

    pub(super) fn has_residuals(&self) -> bool {
        matches!(self.origin.form, Form::Residual { .. })
    }

    /// Bytes of the scalar in a record.
    pub(super) fn scale_len(&self) -> usize {
        let exponent = usize::from(matches!(self.origin.form, Form::Integer { .. }));
        usize::from(self.origin.scale_bytes) + exponent * usize::from(self.origin.form.has_scale())
    }

    /// Appends the mode to a model.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (kind, parameter) = match self.origin.form {
            Form::Float { kept } => (0, kept),
            Form::Scaled { kept } => (1, kept),
            Form::Residual { kept } => (2, kept),
            Form::Integer { bits } => (3, bits),
            Form::Decimal { low } => (4, low),
        };
        let digits = match self.origin.digits {
            None => 0,
            Some(Digits::Significant(digits)) => digits,
            Some(Digits::Places(places)) => 128 | places,
        };
        let cut = self.shape.top | u8::from(self.shape.signed) << 2 | self.origin.scale_bytes << 3;
        let classes = self.class_count();
        out.extend([kind, parameter, digits, cut, classes as u8]);
        if classes > 1 {
            out.extend(
                self.classes
                    .chunks(2)
                    .map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)),
            );
        }
        out.extend(self.flips.chunks(8).map(|flips| {
            flips.iter().zip(0..).fold(0u8, |byte, (flip, bit)| byte | ((flip >> 31) as u8) << bit)
        }));
        self.codes.iter().for_each(|code| code.write(out));
    }

    fn read(bytes: &mut &[u8], dim: usize) -> Result<Self, LosslessError> {
        let [kind, parameter, digits, cut, classes] = *take(bytes, 5)? else {
            return Err(corrupt("mode"));
        };
        let classes = usize::from(classes);
        let form = match (kind, parameter) {
            (0, kept @ 0..=23) => Form::Float { kept },
            (1, kept @ 0..=23) => Form::Scaled { kept },
            (2, kept @ 0..=23) => Form::Residual { kept },
            (3, bits @ 2..=16) => Form::Integer { bits },
            (4, low @ 0..=MAX_LOW) => Form::Decimal { low },
            _ => return Err(corrupt("form")),
        };
        let digits = match (form, digits) {
            (Form::Decimal { .. }, 128..) => Some(Digits::Places(digits - 128)),
            (Form::Decimal { .. }, _) => Some(Digits::Significant(digits)),
            (_, 0) => None,
            _ => return Err(corrupt("digits")),
        };
        let shape = Shape { form, top: cut & 3, signed: cut & 4 != 0 };
        let scale_bytes = cut >> 3;
        let scale_fits =
            if form.has_scale() { (3..=6).contains(&scale_bytes) } else { scale_bytes == 0 };
        let cut_fits = form.kept().map_or(cut & 7 == 0, |kept| shape.top <= kept);
        if !scale_fits || !cut_fits || !(1..=MAX_CLASSES).contains(&classes) {
            return Err(corrupt("mode"));
        }
        let map = if classes > 1 { take(bytes, dim.div_ceil(2))? } else { &[] };
        let map: Vec<u8> = map.iter().flat_map(|pair| [pair & 15, pair >> 4]).take(dim).collect();
        if map.iter().any(|class| usize::from(*class) >= classes) {
            return Err(corrupt("class"));
        }
        let flips = if shape.signed { take(bytes, dim.div_ceil(8))? } else { &[] };
        let flips =
            flips.iter().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit) << 31));
        let flips: Vec<u32> = flips.take(dim).collect();
        let origin = Origin { form, digits, scale_bytes };
        let mut mode = Self { origin, shape, classes: map, flips, codes: Vec::new() };
        for _ in 0..classes + usize::from(mode.has_residuals()) {
            mode.codes.push(PrefixCode::read(bytes)?);
        }
        Ok(mode)
    }
}

/// The modes of a segment, ready to decode.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) dim: usize,
    pub(super) modes: Vec<Ready>,
}

/// A mode with what its decoding looks up.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) mode: Mode,
    pub(super) tables: Tables,
    /// Where each dimension's code is in the tables, then the residuals' codes; empty if one
    /// code serves all.
    pub(super) bases: Vec<u32>,
}

impl Ready {
    fn new(mode: Mode, dim: usize) -> Self {
        let tables = Tables::new(&mode.codes);
        let mut bases = Vec::new();
        if mode.codes.len() > 1 {
            bases.extend((0..dim).map(|dim| base(mode.class(dim))));
            if mode.has_residuals() {
                let residuals = dim.div_ceil(super::form::RESIDUALS);
                bases.extend(std::iter::repeat_n(base(mode.codes.len() - 1), residuals));
            }
        }
        Self { mode, tables, bases }
    }
}

impl Model {
    /// Builds the tables of `modes`.
    pub(super) fn new(modes: Vec<Mode>, dim: usize) -> Self {
        Self { dim, modes: modes.into_iter().map(|mode| Ready::new(mode, dim)).collect() }
    }

    /// Reads a model for vectors of `dim` numbers; `bytes` must end with it.
    pub(super) fn read(mut bytes: &[u8], dim: usize) -> Result<Self, LosslessError> {
        let count = take(&mut bytes, 1)?.first().copied().unwrap_or(0);
        if usize::from(count) > MAX_MODES {
            return Err(corrupt("number of modes"));
        }
        let modes = (0..count).map(|_| Mode::read(&mut bytes, dim)).collect::<Result<_, _>>()?;
        if !bytes.is_empty() {
            return Err(corrupt("end of the model"));
        }
        Ok(Self::new(modes, dim))
    }

    /// Bytes of modes that [`Model::read`] reads.
    pub(super) fn write<'m>(modes: impl ExactSizeIterator<Item = &'m Mode>) -> Vec<u8> {
        let mut out = vec![modes.len() as u8];
        modes.for_each(|mode| mode.write(&mut out));
        out
    }

    /// The most that a model of `len` bytes holds.
    pub(super) const fn max_held_bytes(len: usize, dim: usize) -> usize {
        // A code is at least 5 bytes, a symbol at least half a byte of them.
        let most_codes = MAX_MODES * (MAX_CLASSES + 1);
        let codes = if len / 5 < most_codes { len / 5 } else { most_codes };
        let most_symbols = codes * MAX_SYMBOLS;
        let symbols = if 2 * len < most_symbols { 2 * len } else { most_symbols };
        MAX_MODES * (size_of::<Ready>() + super::tables::table_bytes(1) + 10 * dim)
            + codes * (super::tables::table_bytes(2) / 2 + size_of::<PrefixCode>())
            + symbols * 8
    }

    /// Bytes that the model holds.
    pub(super) fn held_bytes(&self) -> usize {
        let one = |ready: &Ready| {
            let symbols: usize = ready.mode.codes.iter().map(|code| code.lengths().len()).sum();
            size_of::<Ready>()
                + super::tables::table_bytes(ready.mode.codes.len())
                + symbols * 8
                + ready.mode.codes.len() * size_of::<PrefixCode>()
                + ready.mode.classes.len()
                + 4 * (ready.mode.flips.len() + ready.bases.len())
        };
        self.modes.iter().map(one).sum()
    }
}

/// The first `len` of `bytes`.
pub(super) fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], LosslessError> {
    let (head, rest) = bytes.split_at_checked(len).ok_or(corrupt("length"))?;
    *bytes = rest;
    Ok(head)
}
