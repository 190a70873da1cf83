//! `vestibule explain`: what would become of a request, without sending it.

use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;

use crate::explain::{Cookies, Place, Question, explain};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = "config/vestibule.toml")]
    config: PathBuf,
    /// What is asked for, as a browser would have it in its address bar
    url: String,
    #[arg(short = 'X', long, default_value = "GET", value_parser = method)]
    method: Method,
    /// "Name: value", beside or in place of what a browser sends; several are allowed
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// A form's body; makes it a POST
    #[arg(short, long, value_name = "BODY")]
    data: Option<String>,
    /// Where the browser shows it
    #[arg(long, value_enum, default_value = "frame")]
    r#as: As,
    /// What the browser opened before, so that the request is in a session
    #[arg(long, value_name = "URL")]
    launched: Option<String>,
    /// The browser refuses cookies
    #[arg(long)]
    no_cookies: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum As {
    /// A frame in another site's page
    Frame,
    /// A tab of its own
    Tab,
    /// A script's request of the chat's own page
    Fetch,
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "that is no HTTP method".to_owned())
}

pub fn run(arguments: Arguments) -> ExitCode {
    let snapshot = match super::place::load(&arguments.config) {
        Ok(snapshot) => snapshot,
        Err(failure) => return failure.report("explain"),
    };
    let is_form = arguments.data.is_some() && arguments.method == Method::GET;
    let question = Question {
        url: arguments.url,
        method: if is_form { Method::POST } else { arguments.method },
        headers: arguments.headers,
        body: arguments.data,
        place: match arguments.r#as {
            As::Frame => Place::Frame,
            As::Tab => Place::Tab,
            As::Fetch => Place::Fetch,
        },
        cookies: if arguments.no_cookies { Cookies::Refused } else { Cookies::Kept },
        launched: arguments.launched,
        client: None,
    };
    match explain(&snapshot, &question) {
        Ok(explanation) => {
            print!("{explanation}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("vestibule explain: {wrong}");
            ExitCode::from(2)
        }
    }
}
