//! The HTTP edge that all slices share.

mod problem;

pub use problem::{FieldError, Problem};
