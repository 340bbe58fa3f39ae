//! Tenantry: the front door of a multi-tenant SaaS.
//!
//! > A tenant is completely there, or it was never there.
//!
//! The tour, in reading order: what every slice stands on ([`clock`], [`db`], [`http`]), then the slices from the noun
//! nobody depends on to the use case that depends on them all.

pub mod clock;
pub mod config;
pub mod db;
pub mod egress;
pub mod http;
pub mod seal;
pub mod telemetry;

pub mod audit;
pub mod mail;
pub mod outbox;

pub mod entitlements;

pub mod identity;
pub mod tenants;

pub mod plans;

pub mod billing;

pub mod catalog;
pub mod content;
pub mod leads;
pub mod storefront;
pub mod team;
pub mod webhooks;

pub mod provisioning;

pub mod signup;

pub mod admin;
pub mod app;
pub mod cli;
pub mod dashboard;
pub mod doctor;
pub mod home;
pub mod preflight;
pub mod schedule;
pub mod serve;
