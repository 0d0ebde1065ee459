//! What should a kernel have said? Slow, obvious scores in f64, one element at a time.
//!
//! Tests and benchmarks hold every kernel against these. They share no code with the kernels.

/// The inner product, left to right.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0;
    for i in 0..a.len().min(b.len()) {
        sum += f64::from(a[i]) * f64::from(b[i]);
    }
    sum
}

/// The squared euclidean distance, left to right.
pub fn l2sq(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0;
    for i in 0..a.len().min(b.len()) {
        let difference = f64::from(a[i]) - f64::from(b[i]);
        sum += difference * difference;
    }
    sum
}

/// The squared euclidean norm, left to right.
pub fn norm_sq(a: &[f32]) -> f64 {
    dot(a, a)
}
