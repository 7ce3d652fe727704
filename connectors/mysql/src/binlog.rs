//! Decodes the binary log: events, rows, values. Pure.
