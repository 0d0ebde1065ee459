//! Large arrays that look like real ones: real rows with a little noise.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::data;
use crate::error::BenchError;
use crate::noise::{Noise, normalise};
use crate::npy::{self, Array, Writer};

/// Write a large float32 .npy file, streaming
///
/// Row i is row (i mod n) of the base array, cut to DIM columns, plus NOISE times a normal
/// deviate on every column, divided by its euclidean length. Where there is no base array, or it
/// has fewer columns, rows are normal deviates divided by their length. All draws come from one
/// SplitMix64 stream that starts at SEED, in the order of rows and columns: the same arguments
/// give the same file on the same platform.
#[derive(Debug, Args)]
pub struct Options {
    /// Rows
    #[arg(long, value_name = "N")]
    pub rows: usize,
    /// Columns
    #[arg(long, value_name = "D", default_value_t = 384)]
    pub dim: usize,
    /// Start of the random stream
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Deviation of the noise
    #[arg(long, value_name = "NOISE", default_value_t = 0.01)]
    pub noise: f32,
    /// The base array, float32 [default: minilm/glosses_50k_384_f32.npy of the data directory]
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// File to write
    #[arg(value_name = "OUT.npy")]
    pub out: PathBuf,
}

/// Writes the file that `options` ask for. Memory: the base array and one row.
pub fn run(options: &Options) -> Result<(), BenchError> {
    let base = match &options.from {
        Some(path) => Some(npy::read(path)?),
        None => {
            let path = data::default_directory().join(data::GLOSSES);
            path.exists().then(|| npy::read(&path)).transpose()?
        }
    };
    write(options, base.as_ref(), &options.out)
}

/// Writes the file from a base array that was read already.
pub fn write(options: &Options, base: Option<&Array<f32>>, out: &Path) -> Result<(), BenchError> {
    if options.dim == 0 {
        return Err(BenchError::new("--dim 0: rows need at least one column"));
    }
    let base = base.filter(|base| base.columns >= options.dim && base.rows > 0);
    let mut noise = Noise::new(options.seed);
    let mut writer = Writer::create(out, options.rows, options.dim)?;
    let mut row = vec![0.0f32; options.dim];
    for number in 0..options.rows {
        match base {
            Some(base) => {
                let start = number % base.rows * base.columns;
                row.copy_from_slice(&base.values[start..start + options.dim]);
                row.iter_mut().for_each(|x| *x += options.noise * noise.normal());
            }
            None => row.iter_mut().for_each(|x| *x = noise.normal()),
        }
        normalise(&mut row);
        writer.write(&row)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(out: PathBuf) -> Options {
        Options { rows: 10, dim: 4, seed: 7, noise: 0.01, from: None, out }
    }

    #[test]
    fn the_same_arguments_give_the_same_unit_rows_near_the_base() {
        let directory = tempfile::tempdir().unwrap();
        let base = Array { rows: 3, columns: 5, values: (0..15).map(|x| x as f32).collect() };
        let paths = ["a.npy", "b.npy"].map(|name| directory.path().join(name));
        for path in &paths {
            write(&options(path.clone()), Some(&base), path).unwrap();
        }
        assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
        let made: Array<f32> = npy::read(&paths[0]).unwrap();
        assert_eq!((made.rows, made.columns), (10, 4));
        for (number, row) in made.values.chunks(4).enumerate() {
            let length: f32 = row.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5);
            let mut expected = base.values[number % 3 * 5..number % 3 * 5 + 4].to_vec();
            normalise(&mut expected);
            assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.05));
        }
    }
}
