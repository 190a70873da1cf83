//! Header and trailer fields in one buffer.
//!
//! Names and values keep their bytes, order and case. Each name is classified once, when it is
//! added; later stages compare an enum, not strings.

/// Names that some stage treats specially.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Known {
    Accept,
    AcceptEncoding,
    /// `Access-Control-*`, of requests and of answers.
    AccessControl,
    Authorization,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    Location,
    Origin,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Proxy,
    Range,
    SecFetchDest,
    SecFetchMode,
    SecFetchSite,
    SecWebSocketAccept,
    SecWebSocketKey,
    SecWebSocketProtocol,
    SecWebSocketVersion,
    Server,
    SetCookie,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    /// `X-Forwarded-` and something else: Prefix, Ssl, User and their like.
    XForwardedOther,
    XRealIp,
    XRequestId,
    /// `X-Vestibule-*`: only we may say these.
    Identity,
    /// A name that some servers would read as one of the above: what CGI turns into `_` for `-`.
    Disguised,
    Other,
}

impl Known {
    /// The class of a field name, in any case.
    pub fn classify(name: &[u8]) -> Known {
        let mut plain = [0; LONGEST];
        let shown = name.len().min(LONGEST);
        let mut seen = 0;
        for (to, from) in plain.iter_mut().zip(name) {
            *to = PLAIN[usize::from(*from)];
            seen |= *to;
        }
        seen = name[shown..].iter().fold(seen, |seen, byte| seen | PLAIN[usize::from(*byte)]);
        let is_disguised = seen & ODD != 0;
        if is_disguised {
            plain.iter_mut().for_each(|byte| *byte &= !ODD);
        }
        match Self::classify_plain(&plain[..shown], name.len()) {
            Known::Other => Known::Other,
            // Nobody reads another name into one that is too long for it.
            known if is_disguised && (shown == name.len() || known == Known::Identity) => {
                Known::Disguised
            }
            _ if is_disguised => Known::Other,
            known => known,
        }
    }

    /// `name` is in lower case, has no separators but `-`, and is cut at [`LONGEST`].
    fn classify_plain(name: &[u8], length: usize) -> Known {
        use Known::*;
        let candidates: &[(&str, Known)] = match length {
            2 => &[("te", Te)],
            4 => &[("host", Host), ("date", Date)],
            5 => &[("proxy", Proxy), ("range", Range)],
            6 => &[
                ("accept", Accept),
                ("cookie", Cookie),
                ("origin", Origin),
                ("expect", Expect),
                ("server", Server),
            ],
            7 => &[("upgrade", Upgrade), ("trailer", Trailer)],
            8 => &[("location", Location)],
            9 => &[("forwarded", Forwarded), ("x-real-ip", XRealIp)],
            10 => &[
                ("connection", Connection),
                ("set-cookie", SetCookie),
                ("keep-alive", KeepAlive),
                ("tracestate", Tracestate),
            ],
            11 => &[("traceparent", Traceparent)],
            12 => &[("content-type", ContentType), ("x-request-id", XRequestId)],
            14 => &[
                ("content-length", ContentLength),
                ("http2-settings", Http2Settings),
                ("sec-fetch-mode", SecFetchMode),
                ("sec-fetch-dest", SecFetchDest),
                ("sec-fetch-site", SecFetchSite),
            ],
            15 => &[("x-forwarded-for", XForwardedFor), ("accept-encoding", AcceptEncoding)],
            13 => &[("authorization", Authorization)],
            16 => &[
                ("content-encoding", ContentEncoding),
                ("x-forwarded-host", XForwardedHost),
                ("x-forwarded-port", XForwardedPort),
                ("proxy-connection", ProxyConnection),
            ],
            17 => &[
                ("transfer-encoding", TransferEncoding),
                ("x-forwarded-proto", XForwardedProto),
                ("sec-websocket-key", SecWebSocketKey),
            ],
            18 => &[("proxy-authenticate", ProxyAuthenticate)],
            19 => &[("proxy-authorization", ProxyAuthorization)],
            20 => &[("sec-websocket-accept", SecWebSocketAccept)],
            21 => &[("sec-websocket-version", SecWebSocketVersion)],
            22 => &[("sec-websocket-protocol", SecWebSocketProtocol)],
            _ => &[],
        };
        for (candidate, known) in candidates {
            // Byte by byte, as they were written: a wider look would wait for them.
            if name.iter().eq(candidate.as_bytes()) {
                return *known;
            }
        }
        if name.starts_with(b"x-vestibule-") {
            Identity
        } else if name.starts_with(b"x-forwarded-") {
            XForwardedOther
        } else if name.starts_with(b"access-control-") {
            AccessControl
        } else {
            Other
        }
    }

    /// Fields that describe one connection and never pass a proxy (RFC 9110, section 7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::ProxyAuthenticate
                | Known::ProxyAuthorization
                | Known::Te
                | Known::TransferEncoding
                | Known::Upgrade
                | Known::Http2Settings
        )
    }
}

/// More of a name decides nothing.
const LONGEST: usize = 32;

/// Marks what some servers read as `-`.
const ODD: u8 = 0x80;

/// How a byte of a name is read: letters in lower case, digits and `-` as they are, the rest as `-`
/// with a mark.
const PLAIN: [u8; 256] = {
    let mut plain = [b'-' | ODD; 256];
    plain[b'-' as usize] = b'-';
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() {
            plain[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    plain
};

#[derive(Debug, Clone, Copy)]
struct Entry {
    known: Known,
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
}

/// One field, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Field<'f> {
    pub known: Known,
    pub name: &'f [u8],
    pub value: &'f [u8],
}

/// An ordered list of fields.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    raw: Vec<u8>,
    index: Vec<Entry>,
}

impl Fields {
    pub fn clear(&mut self) {
        self.raw.clear();
        self.index.clear();
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes that the names and values have room for.
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }

    /// Makes room for so many more fields, which have so many bytes.
    pub fn reserve(&mut self, fields: usize, bytes: usize) {
        self.index.reserve(fields);
        self.raw.reserve(bytes);
    }

    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_known(Known::classify(name), name, value);
    }

    pub fn push_known(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let start = self.raw.len() as u32;
        self.raw.extend_from_slice(name);
        self.raw.extend_from_slice(value);
        self.index.push(Entry {
            known,
            name: start,
            name_len: name.len() as u32,
            value: start + name.len() as u32,
            value_len: value.len() as u32,
        });
    }

    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.index.iter().map(|entry| self.field(entry))
    }

    fn field(&self, entry: &Entry) -> Field<'_> {
        let at = |start: u32, len: u32| &self.raw[start as usize..(start + len) as usize];
        Field {
            known: entry.known,
            name: at(entry.name, entry.name_len),
            value: at(entry.value, entry.value_len),
        }
    }

    /// The value of the first field of that name.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        self.all(known).next()
    }

    /// All values of that name, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.index
            .iter()
            .filter(move |entry| entry.known == known)
            .map(|entry| self.field(entry).value)
    }

    /// The value, where there is exactly one field of that name.
    pub fn single(&self, known: Known) -> Option<&[u8]> {
        let mut all = self.all(known);
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// The value of the first field with this name; for names without a class.
    pub fn named(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|f| f.name.eq_ignore_ascii_case(name.as_bytes())).map(|f| f.value)
    }
}

/// The members of a comma-separated list, trimmed; empty members are skipped (RFC 9110, 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_classified_in_every_case_and_disguise() {
        for (name, expected) in [
            ("Host", Known::Host),
            ("hOST", Known::Host),
            ("Content-Length", Known::ContentLength),
            ("content_length", Known::Disguised),
            ("X-Vestibule-User-Id", Known::Identity),
            ("x-VESTIBULE-anything-at-all-however-long-it-may-be", Known::Identity),
            ("X_Vestibule_User_Id", Known::Disguised),
            ("X_Vestibule-anything-at-all-however-long-it-may-be", Known::Disguised),
            ("X-Vestibule_User-Id", Known::Identity),
            ("X-Forwarded_For", Known::Disguised),
            ("x.vestibule.user.id", Known::Disguised),
            ("X-Forwarded-User", Known::XForwardedOther),
            ("x-custom_header", Known::Other),
            ("x-custom", Known::Other),
            ("x-vestibul", Known::Other),
        ] {
            let known = Known::classify(name.as_bytes());
            let removed = |k| matches!(k, Known::Identity | Known::Disguised);
            assert!(
                known == expected || (removed(known) && removed(expected)),
                "{name}: {known:?} instead of {expected:?}"
            );
        }
    }

    #[test]
    fn fields_keep_order_case_and_repetition() {
        let mut fields = Fields::default();
        for (name, value) in [("A", "1"), ("Cookie", "x"), ("a", "2"), ("cookie", "y")] {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let seen: Vec<_> = fields.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
        assert_eq!(seen[0], (b"A".to_vec(), b"1".to_vec()));
        assert_eq!(seen[2], (b"a".to_vec(), b"2".to_vec()));
        assert_eq!(fields.all(Known::Cookie).collect::<Vec<_>>(), [b"x", b"y"]);
        assert_eq!(fields.single(Known::Cookie), None);
        assert_eq!(fields.named("A"), Some(&b"1"[..]));
    }
}
