//! Text in, vector out: the built-in static embedder
