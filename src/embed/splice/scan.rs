//! What stands before the head of a document, read as the HTML standard's tokenizer reads it
//! (WHATWG HTML, sections 13.2.5 and 13.2.6.4.1 to 13.2.6.4.3).

/// The longest token that is recognised by its first bytes: `<head`.
pub const TOKEN: usize = 5;

/// Where in the document we are; it goes on with the next piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scan {
    /// At the first byte, where alone a byte order mark means something.
    #[default]
    Start,
    /// Between tokens.
    Between,
    /// After `<!`.
    Declaration,
    /// After `<!-`.
    DeclarationDash,
    Comment {
        /// How many dashes came just now; two are as good as more.
        dashes: u8,
        /// Nothing but dashes yet: `<!-->` and `<!--->` are whole comments.
        fresh: bool,
    },
    /// After `--!` in a comment.
    CommentBang,
    /// Until the next `>`, whatever comes: a doctype, a processing instruction, `<!anything`.
    UntilGreater,
    /// In the start tag of `<html>` or `<head>`.
    Tag(Tag, Attribute),
    /// A document in UTF-16: nothing of it is read.
    Wide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Html,
    Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// Before a name, and after a quoted value.
    Before,
    Name,
    AfterName,
    /// After `=`.
    BeforeValue,
    Unquoted,
    Quoted(u8),
}

/// What a piece came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It has passed whole.
    Nothing,
    /// The tag goes behind what has passed.
    Place,
    /// What is left is the beginning of a token, shorter than [`TOKEN`] and one.
    Cut,
}

/// What bytes that begin at a token begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// More bytes are needed to tell.
    Cut,
    /// A token that comes before the head; its first bytes, this many, are read.
    Token(usize),
    /// Something that makes the head begin.
    Place,
}

impl Scan {
    /// Reads on; answers how much of `piece` may pass before what was found.
    pub fn run(&mut self, piece: &[u8]) -> (usize, Found) {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if matches!(self, Self::Start | Self::Between) && !is_space(byte) {
                match self.open(&piece[at..]) {
                    Opening::Cut => return (at, Found::Cut),
                    Opening::Place => return (at, Found::Place),
                    Opening::Token(len) => at += len,
                }
                continue;
            }
            at += 1;
            let is_head = matches!(self, Self::Tag(Tag::Head, _));
            *self = self.after(byte);
            if is_head && *self == Self::Between {
                return (at, Found::Place);
            }
        }
        (at, Found::Nothing)
    }

    /// Tells what a token is by its first bytes, `white space` excluded.
    pub fn open(&mut self, bytes: &[u8]) -> Opening {
        const MARKS: [(&[u8], Scan); 3] = [
            (b"\xEF\xBB\xBF", Scan::Between),
            (b"\xFE\xFF", Scan::Wide),
            (b"\xFF\xFE", Scan::Wide),
        ];
        let token = |scan: &mut Self, len, after| {
            *scan = after;
            Opening::Token(len)
        };
        if *self == Self::Start {
            for (mark, after) in MARKS {
                if bytes.starts_with(mark) {
                    return token(self, mark.len(), after);
                }
                if mark.starts_with(bytes) {
                    return Opening::Cut;
                }
            }
        }
        match bytes {
            [b'<'] => Opening::Cut,
            [b'<', b'!', ..] => token(self, 2, Self::Declaration),
            [b'<', b'?', ..] => token(self, 2, Self::UntilGreater),
            [b'<', ..] => match start_tag(bytes) {
                Name::Cut => Opening::Cut,
                Name::Is(tag) => token(self, TOKEN, Self::Tag(tag, Attribute::Before)),
                Name::Other => Opening::Place,
            },
            _ => Opening::Place,
        }
    }

    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start | Self::Between, _) => Self::Between,
            (Self::Declaration, b'-') => Self::DeclarationDash,
            (Self::DeclarationDash, b'-') => Self::Comment { dashes: 0, fresh: true },
            (Self::Declaration | Self::DeclarationDash | Self::UntilGreater, b'>') => Self::Between,
            (Self::Declaration | Self::DeclarationDash | Self::UntilGreater, _) => {
                Self::UntilGreater
            }
            (Self::Comment { dashes, fresh }, b'>') if dashes >= 2 || fresh => Self::Between,
            (Self::Comment { dashes, fresh }, b'-') => {
                Self::Comment { dashes: (dashes + 1).min(2), fresh }
            }
            (Self::Comment { dashes: 2, .. }, b'!') => Self::CommentBang,
            (Self::CommentBang, b'>') => Self::Between,
            (Self::CommentBang, b'-') => Self::Comment { dashes: 1, fresh: false },
            (Self::Comment { .. } | Self::CommentBang, _) => {
                Self::Comment { dashes: 0, fresh: false }
            }
            (Self::Tag(tag, attribute), byte) => match attribute.after(byte) {
                Some(attribute) => Self::Tag(tag, attribute),
                None => Self::Between,
            },
            (Self::Wide, _) => Self::Wide,
        }
    }
}

impl Attribute {
    /// `None` where the tag ends.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Quoted(quote), byte) if byte == quote => Self::Before,
            (Self::Quoted(_), _) => self,
            (_, b'>') => return None,
            (Self::BeforeValue, b'"' | b'\'') => Self::Quoted(byte),
            (Self::BeforeValue, byte) if is_space(byte) => self,
            (Self::BeforeValue, _) => Self::Unquoted,
            (Self::Unquoted | Self::Before, byte) if is_space(byte) => Self::Before,
            (Self::Unquoted, _) => self,
            (_, b'/') => Self::Before,
            (Self::Name | Self::AfterName, b'=') => Self::BeforeValue,
            (Self::Name | Self::AfterName, byte) if is_space(byte) => Self::AfterName,
            // An equals sign before a name is its first letter.
            (Self::Before | Self::Name | Self::AfterName, _) => Self::Name,
        })
    }
}

enum Name {
    Cut,
    Is(Tag),
    Other,
}

/// Which start tag begins here; the byte after its name tells that the name is over.
fn start_tag(bytes: &[u8]) -> Name {
    for (tag, token) in [(Tag::Html, b"<html"), (Tag::Head, b"<head")] {
        let len = bytes.len().min(token.len());
        if !bytes[..len].eq_ignore_ascii_case(&token[..len]) {
            continue;
        }
        return match bytes.get(token.len()) {
            None => Name::Cut,
            Some(&byte) if is_space(byte) || matches!(byte, b'/' | b'>') => Name::Is(tag),
            Some(_) => Name::Other,
        };
    }
    Name::Other
}

/// White space of HTML. The standard turns CR into LF before it looks.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0C')
}
