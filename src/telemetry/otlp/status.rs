//! What a collector's answer means, in gRPC's numbers and messages.

use std::time::Duration;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use prost::Message;

/// What to do about a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Ok,
    Again,
    Lost,
}

/// Of a `grpc-status` (OTLP specification, "Failures"). One that is out of resources may be asked
/// again only where it says when.
pub fn meaning(code: u32, says_when: bool) -> Meaning {
    match code {
        0 => Meaning::Ok,
        // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
        1 | 4 | 10 | 11 | 14 | 15 => Meaning::Again,
        8 if says_when => Meaning::Again,
        _ => Meaning::Lost,
    }
}

/// `Export*ServiceResponse`: of all signals the same fields.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected: i64,
}

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// When to try again, as `grpc-status-details-bin` says.
pub fn retry_delay(details: &HeaderValue) -> Option<Duration> {
    const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = ANY_PADDING.decode(details.as_bytes()).ok()?;
    let status = Status::decode(&*bytes).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD_NO_PAD;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in 0..20 {
            let expected = match code {
                0 => Meaning::Ok,
                1 | 4 | 10 | 11 | 14 | 15 => Meaning::Again,
                _ => Meaning::Lost,
            };
            assert_eq!(meaning(code, false), expected, "{code}");
        }
        assert_eq!(meaning(8, true), Meaning::Again);
    }

    #[test]
    fn a_collector_says_when_to_come_back() {
        let info = RetryInfo { delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec(),
        };
        let status = Status { details: vec![any] };
        let text = BASE64_STANDARD_NO_PAD.encode(status.encode_to_vec());
        let header = HeaderValue::from_str(&text).unwrap();
        assert_eq!(retry_delay(&header), Some(Duration::from_millis(2500)));
        assert_eq!(retry_delay(&HeaderValue::from_static("nonsense!")), None);
    }
}
