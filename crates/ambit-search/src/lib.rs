//! What is nearest: exact search in f64-checked order
