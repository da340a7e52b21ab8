//! Every reader, with what fuzzing has found and with bytes that no program would write.

mod corpus;
mod properties;
