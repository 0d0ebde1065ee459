//! An embedded store for embeddings and knowledge graphs that stays inside its byte budget
