//! The v2 record batch: view, check, iterate, build. Pure: bytes in, verdicts out.
