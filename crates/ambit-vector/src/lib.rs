//! Vector kernels with their slow oracles: inner product, euclidean distance, norms
