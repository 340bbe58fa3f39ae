//! Sales leads: whoever wants more than self-serve offers, and asks to be called. One begins as `new`.

mod api;
pub mod pages;
mod store;

pub use api::routes;
