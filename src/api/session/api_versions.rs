//! ApiVersions (key 18), versions 0 to 4: which APIs the broker has, in which versions, and its features.
//!
//! v3 the client's software name and version, and the flexible form, though never in the response header; v4 features
//! whose minimum is 0 may be told (S11). A version above 4 is answered as v0 with error 35 and this API's own range,
//! from the first 8 bytes of the header alone: the body is not read (S3). A software name or version that is not
//! alphanumeric with inner `-` and `.` is refused with 42 (S6). The response lists what the API table offers.

use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 18, name: "ApiVersions", min: 0, max: 4, flexible_from: 3 };

/// An ApiVersions request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the client's software calls itself, e.g. `librdkafka`; empty before v3.
    pub client_software_name: StrBytes,
    /// Its version; empty before v3.
    pub client_software_version: StrBytes,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let mut request =
            Self { client_software_name: StrBytes::new(), client_software_version: StrBytes::new() };
        if version >= 3 {
            request.client_software_name = r.string()?;
            request.client_software_version = r.string()?;
        }
        r.end()?;
        Ok(request)
    }
}
