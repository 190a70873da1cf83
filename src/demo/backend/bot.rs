//! The demo's chat partner: a handful of rules that talk about the request they came with.
//!
//! It must not claim what it cannot know. A user id is what the page said, never a verified one;
//! where no proxy left its headers it says that it is being talked to directly.

use super::seen::{Seen, Transport};
use crate::demo::persona::TENANT;

/// The answer to `text`, about the request that brought it.
pub fn reply(text: &str, seen: &Seen) -> String {
    let text = text.to_lowercase();
    let rule = RULES.iter().find(|rule| rule.words.iter().any(|word| has_word(&text, word)));
    match rule {
        Some(rule) => (rule.answer)(seen),
        None => {
            let open = match text.chars().count() {
                0..=12 => "Short and sweet.",
                13..=80 => "Noted.",
                _ => "That was worth the trip.",
            };
            format!(
                "{open} I am a small demo with small rules, so let me tell you what I do know. {} \
                 Try “who am I”, “what are you”, “headers”, “count” or “joke”.",
                journey(seen)
            )
        }
    }
}

/// Pieces of an answer as a model would stream them: words, each with the space before it.
pub fn tokens(reply: &str) -> impl Iterator<Item = &str> {
    let mut rest = reply;
    std::iter::from_fn(move || {
        let letters = rest.find(|c: char| !c.is_whitespace())?;
        let end = rest[letters..].find(char::is_whitespace).map_or(rest.len(), |at| letters + at);
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}

struct Rule {
    words: &'static [&'static str],
    answer: fn(&Seen) -> String,
}

/// The first rule with a word in the message answers.
const RULES: &[Rule] = &[
    Rule { words: &["count"], answer: count },
    Rule { words: &["joke", "funny"], answer: joke },
    Rule {
        words: &["who am i", "my name", "identity", "user id", "من أنا"], answer: identity
    },
    Rule { words: &["header", "headers", "x-forwarded"], answer: headers },
    Rule {
        words: &["what happened", "what just happened", "request", "journey", "ماذا حدث"],
        answer: journey,
    },
    Rule { words: &["sse", "stream", "streaming", "websocket", "transport"], answer: transport },
    Rule { words: &["persona", "mode", "what are you", "who are you"], answer: persona },
    Rule { words: &["help", "مساعدة"], answer: help },
    Rule { words: &["hi", "hello", "hey", "salaam", "مرحبا"], answer: hello },
    Rule {
        words: &["thanks", "thank you", "شكرا"],
        answer: |_| "Any time. The door is open.".into(),
    },
];

/// `word` as a whole word of `text`.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

fn hello(seen: &Seen) -> String {
    let who = seen.user_id.as_deref().map_or(String::new(), |id| format!(", {id}"));
    format!(
        "Hello{who}! I am the {} desk of Jasser Knows. Ask me what just happened: I see your \
         request from the far side of the door.",
        seen.persona
    )
}

fn identity(seen: &Seen) -> String {
    match &seen.user_id {
        Some(id) => format!(
            "The page that embeds me says you are {id}, and I take its word for it. That is an \
             asserted identity: anyone who can write a page could have said the same. Good enough \
             for a demo, not for a bank."
        ),
        None => "I have no user id for you, and as a visitor you need none.".into(),
    }
}

fn headers(seen: &Seen) -> String {
    let show = |name: &str, value: &Option<String>| {
        format!("{name}: {}", value.as_deref().unwrap_or("(not sent)"))
    };
    let lines = [
        show("Host", &seen.host),
        show("X-Forwarded-For", &seen.forwarded_for),
        show("X-Forwarded-Proto", &seen.forwarded_proto),
        show("X-Forwarded-Host", &seen.forwarded_host),
        show("X-Request-Id", &seen.request_id),
    ];
    format!(
        "These are the ones the front door is responsible for:\n{}\nAll of them are at /api/whoami.",
        lines.join("\n")
    )
}

fn journey(seen: &Seen) -> String {
    let host = seen.host.as_deref().unwrap_or("this host");
    let Some(request_id) = &seen.request_id else {
        return format!(
            "Your message reached me straight at {host}, with no request id on it: nobody stands \
             in front of me. Run “vestibule demo” to see the door."
        );
    };
    let from = seen.forwarded_for.as_deref().unwrap_or("an address it kept to itself");
    let proto = seen.forwarded_proto.as_deref().unwrap_or("an unnamed protocol");
    format!(
        "Vestibule took your {} on {host} over {proto}, matched the host to persona {} of tenant \
         {TENANT}, wrote down that you come from {from}, called the request {request_id}, and \
         handed it to me in plain HTTP.",
        match seen.transport {
            Transport::Http => "POST",
            Transport::Sse => "event stream",
            Transport::WebSocket => "WebSocket",
        },
        seen.persona,
    )
}

fn transport(seen: &Seen) -> String {
    match seen.transport {
        Transport::Http => {
            "This came as one HTTP POST and goes back as one answer. Flip the switch above to SSE \
             or WebSocket, ask again, and watch the words arrive one at a time."
        }
        Transport::Sse => {
            "You are watching server-sent events: I write a word, wait, write the next. If a proxy \
             buffered them, all of this would have landed at once."
        }
        Transport::WebSocket => {
            "You and I share a WebSocket. Vestibule checked its handshake and has kept out of the \
             conversation since."
        }
    }
    .into()
}

fn persona(seen: &Seen) -> String {
    format!(
        "I am the {0} persona. The host name decided that, not the page: a page that says another \
         mode is turned away. Four of us share this one process, and only the door tells us apart.",
        seen.persona
    )
}

fn help(_: &Seen) -> String {
    "Ask me: what just happened, who am I, what are you, headers, streaming, count, joke.".into()
}

fn joke(_: &Seen) -> String {
    "A request walks up to a proxy with two Content-Lengths. “Which one is it?” asks the proxy. \
     “Depends who you ask.” “Then you are not coming in.”"
        .into()
}

fn count(_: &Seen) -> String {
    "one two three four five six seven eight".into()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::demo::persona::Persona;

    fn seen(through_the_door: bool) -> Seen {
        let mut headers = HeaderMap::new();
        headers.insert("host", "chat-customer.localhost:8443".parse().unwrap());
        if through_the_door {
            headers.insert("x-request-id", "abc".parse().unwrap());
            headers.insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
            headers.insert("x-forwarded-proto", "https".parse().unwrap());
        }
        let mut seen = Seen::new(Persona::Customer, Transport::Http, &headers);
        seen.user_id = Some("12345".into());
        seen
    }

    #[test]
    fn the_bot_says_what_the_door_did() {
        let answer = reply("What just happened?", &seen(true));
        for fact in
            ["chat-customer.localhost:8443", "https", "customer", "jasser", "127.0.0.1", "abc"]
        {
            assert!(answer.contains(fact), "{fact} is missing: {answer}");
        }
    }

    #[test]
    fn the_bot_notices_that_nobody_stands_in_front() {
        assert!(reply("headers", &seen(false)).contains("(not sent)"));
        assert!(reply("request", &seen(false)).contains("nobody stands in front"));
    }

    #[test]
    fn an_asserted_identity_is_never_called_verified() {
        for rule in RULES {
            let answer = reply(rule.words[0], &seen(true)).to_lowercase();
            assert!(!answer.contains("verified") && !answer.contains("authenticated"), "{answer}");
        }
        assert!(reply("who am I", &seen(true)).contains("asserted"));
    }

    #[test]
    fn words_match_whole_and_tokens_join_to_the_reply() {
        assert!(reply("this thing", &seen(true)).contains("small rules"), "“hi” is not in “this”");
        let reply = reply("headers", &seen(true));
        assert_eq!(tokens(&reply).collect::<String>(), reply);
        assert!(tokens(&reply).count() > 10);
    }
}
