//! How long a body is (RFC 9112, section 6.3), without any of the choices that the RFC leaves to
//! a lenient reader.

use http::{Method, StatusCode};

use super::HeadError;
use super::fields::{Fields, Known};
use super::head::Version;

/// Where a message body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body at all.
    Empty,
    /// This many bytes; may be zero, where the message said so.
    Length(u64),
    Chunked,
    /// Until the connection ends; responses only.
    UntilClose,
}

impl Framing {
    pub fn has_body(self) -> bool {
        !matches!(self, Framing::Empty | Framing::Length(0))
    }
}

/// The framing of a request.
pub fn of_request(version: Version, fields: &Fields) -> Result<Framing, HeadError> {
    match (coding(version, fields)?, length(fields)?) {
        (true, Some(_)) => Err(HeadError::LengthAndCoding),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::Empty),
    }
}

/// The framing of a response to a request of that method. What the fields say must be sound even
/// where there is no body to frame.
pub fn of_response(
    version: Version,
    method: &Method,
    status: StatusCode,
    fields: &Fields,
) -> Result<Framing, HeadError> {
    let chunked = coding(version, fields)?;
    let length = length(fields)?;
    if chunked && length.is_some() {
        return Err(HeadError::LengthAndCoding);
    }
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if bodiless || *method == Method::HEAD {
        return Ok(Framing::Empty);
    }
    Ok(match (chunked, length) {
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    })
}

/// True for `Transfer-Encoding: chunked` in exactly that form.
fn coding(version: Version, fields: &Fields) -> Result<bool, HeadError> {
    let mut codings = fields.all(Known::TransferEncoding);
    let Some(coding) = codings.next() else { return Ok(false) };
    if codings.next().is_some() || version == Version::Http10 {
        return Err(HeadError::TransferEncoding);
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let is_token = !coding.is_empty() && coding.iter().all(|&byte| is_token(byte));
    let names_chunked = coding.windows(7).any(|part| part.eq_ignore_ascii_case(b"chunked"));
    let is_identity = coding.eq_ignore_ascii_case(b"identity");
    if is_token && !names_chunked && !is_identity {
        return Err(HeadError::UnknownCoding);
    }
    Err(HeadError::TransferEncoding)
}

fn length(fields: &Fields) -> Result<Option<u64>, HeadError> {
    let mut lengths = fields.all(Known::ContentLength);
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(HeadError::ContentLength);
    }
    // 18 digits stay below 2^63, which some parsers take for their limit.
    let odd = length.is_empty()
        || length.len() > 18
        || (length.len() > 1 && length[0] == b'0')
        || !length.iter().all(u8::is_ascii_digit);
    if odd {
        return Err(HeadError::ContentLength);
    }
    Ok(Some(length.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
}

pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    #[test]
    fn a_request_body_has_one_length_or_none() {
        use HeadError::*;
        let v11 = super::super::head::Version::Http11;
        let cases: &[(&[(&str, &str)], Result<Framing, HeadError>)] = &[
            (&[], Ok(Framing::Empty)),
            (&[("Content-Length", "0")], Ok(Framing::Length(0))),
            (&[("content-length", "12")], Ok(Framing::Length(12))),
            (&[("Transfer-Encoding", "Chunked")], Ok(Framing::Chunked)),
            (&[("Content-Length", "5"), ("Content-Length", "5")], Err(ContentLength)),
            (&[("Content-Length", "5, 5")], Err(ContentLength)),
            (&[("Content-Length", "+5")], Err(ContentLength)),
            (&[("Content-Length", "-5")], Err(ContentLength)),
            (&[("Content-Length", "0x5")], Err(ContentLength)),
            (&[("Content-Length", "05")], Err(ContentLength)),
            (&[("Content-Length", "5 ")], Err(ContentLength)),
            (&[("Content-Length", "")], Err(ContentLength)),
            (&[("Content-Length", "9999999999999999999")], Err(ContentLength)),
            (&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")], Err(LengthAndCoding)),
            (&[("Transfer-Encoding", "chunked, chunked")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "gzip, chunked")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "identity")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "xchunked")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "chunked;q=1")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "\x0bchunked")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "")], Err(TransferEncoding)),
            (&[("Transfer-Encoding", "gzip")], Err(UnknownCoding)),
            (
                &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
                Err(TransferEncoding),
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(of_request(v11, &fields(lines)), *expected, "{lines:?}");
        }
        let chunked = fields(&[("Transfer-Encoding", "chunked")]);
        assert_eq!(
            of_request(super::super::head::Version::Http10, &chunked),
            Err(TransferEncoding)
        );
    }

    #[test]
    fn a_response_without_length_runs_until_close() {
        let cases: &[(&str, u16, &[(&str, &str)], Framing)] = &[
            ("GET", 200, &[], Framing::UntilClose),
            ("GET", 200, &[("Content-Length", "3")], Framing::Length(3)),
            ("HEAD", 200, &[("Content-Length", "3")], Framing::Empty),
            ("HEAD", 200, &[("Transfer-Encoding", "chunked")], Framing::Empty),
            ("GET", 204, &[], Framing::Empty),
            ("GET", 304, &[("Content-Length", "3")], Framing::Empty),
            ("GET", 103, &[], Framing::Empty),
            ("POST", 200, &[("Transfer-Encoding", "chunked")], Framing::Chunked),
        ];
        for (method, status, lines, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(*status).unwrap();
            let framing = of_response(Version::Http11, &method, status, &fields(lines));
            assert_eq!(framing, Ok(*expected), "{method} {status} {lines:?}");
        }
    }
}
