//! Follows DDL through the log. Pure.
