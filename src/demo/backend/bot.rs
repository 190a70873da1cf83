//! The demo's chat partner: a handful of rules that talk about the request they came with.
//!
//! It must not claim what it cannot know: a user id is worth what Vestibule says it is worth, and an
//! asserted one is the page's word, which Vestibule has passed on.

use super::seen::{Seen, Transport};

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
    let who = seen.caller.user_id.as_deref().map_or(String::new(), |id| format!(", {id}"));
    format!(
        "Hello{who}! I am the {} desk of Jasser Knows. Ask me what just happened: I see your \
         request from the far side of the door.",
        seen.caller.persona.name()
    )
}

fn identity(seen: &Seen) -> String {
    let caller = &seen.caller;
    let session = match &caller.session {
        Some(session) => format!(" All of it is about session {session}, and ends with it."),
        None => String::new(),
    };
    match (&caller.user_id, caller.assurance.as_deref()) {
        (Some(id), Some("generated")) => format!(
            "You gave no name, so Vestibule made one up: {id}. It is the same for as long as your \
             session lives, and no account has it.{session}"
        ),
        (Some(id), assurance) => format!(
            "Vestibule says you are {id}, and how much that is worth: {}. The page around me said \
             so, and anyone who can write a page could have said the same. Good enough for a demo, \
             not for a bank. What your URL or your message says about you, I do not read.{session}",
            assurance.unwrap_or("not said")
        ),
        (None, _) => "Vestibule gave me no user id for you, and as a visitor you need none.".into(),
    }
}

fn headers(seen: &Seen) -> String {
    let show = |name: &str, value: &Option<String>| {
        format!("{name}: {}", value.as_deref().unwrap_or("(not sent)"))
    };
    let caller = &seen.caller;
    let lines = [
        show("Host", &seen.host),
        show("X-Forwarded-For", &seen.forwarded_for),
        show("X-Forwarded-Proto", &seen.forwarded_proto),
        show("X-Request-Id", &seen.request_id),
        show("X-Vestibule-Tenant", &caller.tenant),
        show("X-Vestibule-Persona", &Some(caller.persona.name().to_owned())),
        show("X-Vestibule-Mode", &caller.mode),
        show("X-Vestibule-User-Id", &caller.user_id),
        show("X-Vestibule-Assurance", &caller.assurance),
        show("X-Vestibule-Session", &caller.session),
    ];
    format!(
        "These are the ones the front door is responsible for:\n{}\nA browser that sends one of \
         them itself sends it in vain.",
        lines.join("\n")
    )
}

fn journey(seen: &Seen) -> String {
    let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not said)".to_owned());
    let caller = &seen.caller;
    let who = match &caller.user_id {
        Some(id) => format!("user {id} ({})", told(&caller.assurance)),
        None => "a visitor without a name".to_owned(),
    };
    format!(
        "Vestibule took your {} on {} over {}, matched the host to persona {} of tenant {}, found \
         that your session is {who}, threw away whatever else claimed to say so, wrote down that \
         you come from {}, called the request {}, and handed it to me in plain HTTP.",
        match seen.transport {
            Transport::Http => "POST",
            Transport::Sse => "event stream",
            Transport::WebSocket => "WebSocket",
        },
        told(&seen.host),
        told(&seen.forwarded_proto),
        caller.persona.name(),
        told(&caller.tenant),
        told(&seen.forwarded_for),
        told(&seen.request_id),
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
            "You and I share a WebSocket. Vestibule checked its handshake, told me whose it is, and \
             has kept out of the conversation since. It closes the socket when your session ends."
        }
    }
    .into()
}

fn persona(seen: &Seen) -> String {
    format!(
        "I am the {} persona. The host name decided that, not the page: a page that says another \
         mode is turned away. Four of us share this one process, and only the door tells us apart.",
        seen.caller.persona.name()
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
    use crate::demo::backend::caller::Caller;

    fn seen(assurance: &str) -> Seen {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "chat-customer.localhost:8443"),
            ("x-request-id", "abc"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-vestibule-tenant", "jasser"),
            ("x-vestibule-persona", "customer"),
            ("x-vestibule-user-id", "12345"),
            ("x-vestibule-assurance", assurance),
            ("x-vestibule-session", "5e55"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let caller = Caller::of(&headers).unwrap();
        Seen::new(caller, Transport::Http, &headers)
    }

    #[test]
    fn the_bot_says_what_the_door_did() {
        let answer = reply("What just happened?", &seen("asserted"));
        for fact in [
            "chat-customer.localhost:8443",
            "https",
            "customer",
            "jasser",
            "12345",
            "asserted",
            "127.0.0.1",
            "abc",
        ] {
            assert!(answer.contains(fact), "{fact} is missing: {answer}");
        }
    }

    #[test]
    fn the_bot_says_where_the_identity_comes_from() {
        assert!(reply("who am I", &seen("asserted")).contains("asserted"));
        assert!(reply("who am I", &seen("generated")).contains("made one up"));
        assert!(reply("headers", &seen("asserted")).contains("X-Vestibule-Session: 5e55"));
    }

    #[test]
    fn an_asserted_identity_is_never_called_verified() {
        for rule in RULES {
            let answer = reply(rule.words[0], &seen("asserted")).to_lowercase();
            assert!(!answer.contains("verified") && !answer.contains("authenticated"), "{answer}");
        }
    }

    #[test]
    fn words_match_whole_and_tokens_join_to_the_reply() {
        assert!(
            reply("this thing", &seen("asserted")).contains("small rules"),
            "“hi” is not in “this”"
        );
        let reply = reply("headers", &seen("asserted"));
        assert_eq!(tokens(&reply).collect::<String>(), reply);
        assert!(tokens(&reply).count() > 10);
    }
}
