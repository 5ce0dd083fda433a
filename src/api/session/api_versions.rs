//! ApiVersions (key 18), versions 0 to 4: which APIs the broker has, in which versions, and its features.
//!
//! v3 the client's software name and version, and the flexible form, though never in the response header; v4 features
//! whose minimum is 0 may be told (S11). A version above 4 is answered as v0 with error 35 and this API's own range,
//! from the first 8 bytes of the header alone: the body is not read (S3). A software name or version that is not
//! alphanumeric with inner `-` and `.` is refused with 42 (S6). The response lists what the API table offers.

use std::net::SocketAddr;

use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};

use crate::api::{Call, Outcome, Responder, Started, done, table};
use crate::types::ErrorCode;
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

/// The metadata level that clients see: what UIs read as "Kafka 4.3" (4.3-IV0).
const METADATA_VERSION: i16 = 30;
/// The lowest metadata level that Kafka 4 knows.
const METADATA_VERSION_MIN: i16 = 7;

/// Transactions whose end raises the epoch (KIP-890); clients follow the level, not the APIs' versions (S55).
const TRANSACTION_VERSION: i16 = 2;

/// Tells what this broker speaks, from the table.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    if call.version >= 3 {
        if !is_software_name(&request.client_software_name)
            || !is_software_name(&request.client_software_version)
        {
            let refusal = ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
            return Ok(done(call.responder.reply(&refusal)));
        }
        let own = |text: &StrBytes| StrBytes::from_string(text.to_string());
        call.session.software =
            Some((own(&request.client_software_name), own(&request.client_software_version)));
    }
    let keys = table::TABLE.iter().map(|row| key(row.spec.key, row.offered_min, row.spec.max)).collect();
    let mut response = ApiVersionsResponse::default().with_api_keys(keys);
    if call.version >= 3 {
        let features = [
            ("metadata.version", METADATA_VERSION_MIN, METADATA_VERSION),
            ("transaction.version", 0, TRANSACTION_VERSION),
        ];
        // Before v4 clients cannot read a range from 0 (S11).
        let told = features.iter().filter(|(_, min, _)| *min > 0 || call.version >= 4);
        let supported = told.map(|(name, min, max)| {
            SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str(name))
                .with_min_version(*min)
                .with_max_version(*max)
        });
        let finalized = features.iter().map(|(name, _, level)| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_static_str(name))
                .with_min_version_level(*level)
                .with_max_version_level(*level)
        });
        response = response
            .with_supported_features(supported.collect())
            .with_finalized_features_epoch(0)
            .with_finalized_features(finalized.collect());
    }
    Ok(done(call.responder.reply(&response)))
}

/// The answer to a version that this broker does not know: in version 0, with the one key that the client must look
/// at (S3).
pub(crate) fn unsupported(correlation_id: i32, client: SocketAddr) -> Outcome {
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(vec![key(SPEC.key, SPEC.min, SPEC.max)]);
    Responder { spec: &SPEC, version: 0, correlation_id, client }.reply(&response)
}

fn key(api_key: i16, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(api_key).with_min_version(min).with_max_version(max)
}

/// Letters and digits, with `-` and `.` between them (S6).
fn is_software_name(text: &str) -> bool {
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_software_names_begin_and_end_alphanumeric() {
        for good in ["a", "librdkafka", "apache-kafka-java", "2.16.0", "4-SNAPSHOT"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".a", "a b", "a_b", "naïve"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
