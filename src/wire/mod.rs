//! The Kafka protocol's bytes: frames, headers, requests, responses. Pure: no sockets, no storage.
//!
//! What is ours and what the `kafka-protocol` crate does, for those who write an API:
//!
//! | | ours | the crate |
//! |---|---|---|
//! | frames, headers | [`frame`], [`header`] | |
//! | requests | all, by hand over [`read::Reader`]: they are hostile bytes, and the crate allocates what they announce | in tests, to check ours; in `client`, responses |
//! | responses | versions the crate lacks, over [`write::Writer`] and [`encode::response_with`] | all others, by [`encode::response`]; their topic ids by [`uuid()`] |
//! | Fetch responses | [`fetch_body`]: a list of chunks around slices of the log | |
//! | stored records | `read`, `write`, in the layer that owns the record | |
//!
//! An API's file under `api/` states its facts once, in an [`ApiSpec`]: the header's form, the table of APIs and the
//! tests follow from it. A decoder reads the fields in the order of Kafka's schema with `version` comparisons where a
//! version brought or dropped one, calls [`read::Reader::end`] (or `tags`) at the end of every structure, and never
//! asks whether the version is flexible: the reader knows. Strings and bytes share the frame's memory; what outlives
//! the request must be copied, or one name keeps a whole receive alive.

pub mod encode;
pub mod fetch_body;
pub mod frame;
pub mod generate;
pub mod header;
pub mod read;
mod received;
pub mod service;
pub mod write;

pub use encode::{Chunk, EncodeError, Reply, uuid};
pub use header::{ApiSpec, RequestHeader, RequestStart};
pub use read::{DecodeError, Reader, StrBytes};
pub use write::Writer;
