//! Tenantry
