//! Webhooks that leave the house: how they are signed and sent.

pub mod sign;
