//! What a browser adds to the client: a frame of the host page that shows one chat, with the
//! session that it was given and the redirects that it follows.

use super::Outcome;
use super::client::{Answer, Client};
use crate::demo::persona::Persona;

/// More than any launch takes.
const REDIRECTS: usize = 4;

pub struct Frame<'c> {
    pub client: &'c Client,
    pub persona: Persona,
    cookies: Vec<(String, String)>,
}

impl<'c> Frame<'c> {
    /// An empty frame.
    pub fn new(client: &'c Client, persona: Persona) -> Self {
        Self { client, persona, cookies: Vec::new() }
    }

    /// A frame that shows the chat of this user, or why it does not. Whoever checks something else
    /// goes on with the frame, and says so where that fails.
    pub async fn of(client: &'c Client, persona: Persona, user_id: &str) -> (Self, Outcome) {
        let mut frame = Self::new(client, persona);
        let launched = frame.launch(user_id).await;
        (frame, launched)
    }

    /// Loads the chat as the host page's URL fallback does.
    pub async fn launch(&mut self, user_id: &str) -> Outcome {
        let target = format!("/?mode={}&user_id={user_id}", self.persona.name());
        self.load(&target).await?.with_status(200).map(drop)
    }

    /// Navigates, and goes where it is sent.
    pub async fn load(&mut self, target: &str) -> Result<Answer, String> {
        let mut target = target.to_owned();
        for _ in 0..REDIRECTS {
            let answer = self.navigate(&target).await?;
            match answer.header("location") {
                Some(location) if answer.status == 303 => target = location.to_owned(),
                _ => return Ok(answer),
            }
        }
        Err("redirected without end".into())
    }

    /// One navigation of the frame. What it sets is kept.
    pub async fn navigate(&mut self, target: &str) -> Result<Answer, String> {
        let lines = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                     Sec-Fetch-Site: cross-site\r\n";
        let answer = self.get(target, lines).await?;
        for cookie in answer.all("set-cookie") {
            self.keep(cookie);
        }
        Ok(answer)
    }

    /// What a script of the page asks for.
    pub async fn get(&self, target: &str, lines: &str) -> Result<Answer, String> {
        let lines = [&self.cookie(), lines].concat();
        self.client.get(self.persona.host(), target, &lines).await
    }

    /// What a script of the page posts.
    pub async fn post(&self, target: &str, body: &str) -> Result<Answer, String> {
        let lines = format!("{}Origin: {}\r\n", self.cookie(), self.origin());
        self.client.post_json(self.persona.host(), target, &lines, body).await
    }

    /// The same, and what it sets is kept: as the bridge posts.
    pub async fn configure(&mut self, payload: &str) -> Result<Answer, String> {
        let answer = self.post("/.vestibule/config", payload).await?;
        for cookie in answer.all("set-cookie") {
            self.keep(cookie);
        }
        Ok(answer)
    }

    pub fn origin(&self) -> String {
        self.client.origin(self.persona.host())
    }

    /// The Cookie line, with its CRLF; empty without cookies.
    pub fn cookie(&self) -> String {
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { String::new() } else { format!("Cookie: {}\r\n", pairs.join("; ")) }
    }

    /// Name and value of the first cookie.
    pub fn session(&self) -> Result<(&str, &str), String> {
        let first = self.cookies.first().ok_or("no cookie was set")?;
        Ok((&first.0, &first.1))
    }

    /// Takes another session into the frame, as somebody who stole or kept it would.
    pub fn take(&mut self, name: &str, value: &str) {
        self.cookies = vec![(name.to_owned(), value.to_owned())];
    }

    fn keep(&mut self, set_cookie: &str) {
        let pair = set_cookie.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=') else { return };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        match self.cookies.iter_mut().find(|(other, _)| *other == name) {
            Some(kept) => kept.1 = value,
            None => self.cookies.push((name, value)),
        }
    }
}
