//! `vestibule reload`, `status`, `drain`: what an operator tells a running server, by its admin
//! listener.
//!
//! Address and token come from the file that the server runs with; nothing else in that file
//! matters here, so that a server can be told to reload a file that is wrong, and says why.

mod client;
mod print;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::ConfigFile;
use client::{Client, Failure, Reply};

#[derive(Debug, clap::Args)]
pub struct StatusArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON: /status and /connections of the admin listener as one document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DrainArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Whose streams are to end
    #[arg(value_name = "TENANT[/PERSONA]")]
    whose: String,
    /// Over how long, "30s"; default: close_within of the server
    #[arg(long, value_name = "DURATION")]
    within: Option<String>,
}

/// 0: the configuration serves, 1: it was refused, or there is no server, 2: a part is held back.
pub fn reload(file: &ConfigFile) -> ExitCode {
    report("reload", || {
        let reply = Client::of(&file.config)?.post("/reload", &json!({}))?;
        // Refused is an answer too.
        if reply.document["outcome"].is_null() {
            return Err(reply.unexpected());
        }
        print::reload(&reply.document);
        Ok(match reply.document["outcome"].as_str() {
            Some("refused") => ExitCode::FAILURE,
            _ if is_some(&reply.document["held_back"]) => ExitCode::from(2),
            _ => ExitCode::SUCCESS,
        })
    })
}

pub fn status(arguments: &StatusArguments) -> ExitCode {
    report("status", || {
        let client = Client::of(&arguments.file.config)?;
        let mut status = client.get("/status")?.good()?;
        let mut connections = client.get("/connections")?.good()?;
        if arguments.json {
            status["holders"] = connections["holders"].take();
            print::json(&status);
        } else {
            print::status(&status, &connections, client.address());
        }
        Ok(ExitCode::SUCCESS)
    })
}

pub fn drain(arguments: &DrainArguments) -> ExitCode {
    report("drain", || {
        let client = Client::of(&arguments.file.config)?;
        let (tenant, persona) = match arguments.whose.split_once('/') {
            Some((tenant, persona)) => (tenant, Some(persona)),
            None => (&*arguments.whose, None),
        };
        let ask = |role: &str| {
            let mut asked = json!({ "tenant": tenant });
            if let Some(name) = persona {
                asked[role] = name.into();
            }
            if let Some(within) = &arguments.within {
                asked["within"] = within.as_str().into();
            }
            client.post("/drain", &asked)
        };
        let mut reply = ask("persona")?;
        if reply.is_not_found() && persona.is_some() {
            // Sites are drained by the same words.
            reply = ask("site")?;
        }
        if reply.is_not_found() {
            let what = if persona.is_some() { "persona or site" } else { "tenant" };
            return Err(Failure(format!("the server has no {what} {:?}", arguments.whose)));
        }
        print::drain(&reply.good()?, &arguments.whose);
        Ok(ExitCode::SUCCESS)
    })
}

fn report(command: &str, run: impl FnOnce() -> Result<ExitCode, Failure>) -> ExitCode {
    run().unwrap_or_else(|Failure(text)| {
        eprintln!("vestibule {command}: {text}");
        ExitCode::FAILURE
    })
}

fn is_some(list: &Value) -> bool {
    list.as_array().is_some_and(|list| !list.is_empty())
}

impl Reply {
    /// The document of a request that was done.
    fn good(self) -> Result<Value, Failure> {
        if self.status == 200 { Ok(self.document) } else { Err(self.unexpected()) }
    }

    fn is_not_found(&self) -> bool {
        self.status == 404 && self.document["code"] == "not_found"
    }

    fn unexpected(&self) -> Failure {
        let word = |key: &str| self.document[key].as_str().unwrap_or_default().to_owned();
        let (title, detail) = (word("title"), word("detail"));
        Failure(match self.document["code"].as_str() {
            Some("token_invalid") => {
                "the server does not know the token; it is `token` in [admin] of the file that the \
                 server runs with"
                    .to_owned()
            }
            Some(_) if detail.is_empty() => format!("the server says: {title}"),
            Some(_) => format!("the server says: {title} {detail}"),
            None => format!("what answers there is no Vestibule: status {}", self.status),
        })
    }
}
