//! The operator's page, and what it is told: plain HTTP on loopback, as a browser on this machine
//! would ask.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Answer, parse};
use super::{Outcome, Report, expect};

/// A first overview takes a second: rates are differences.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn check(address: Option<SocketAddr>, report: &mut Report) {
    report.line(
        "the operator's page is served, and may load nothing from elsewhere",
        page(address).await,
    );
    report
        .line("it is told about every persona, and of the refusals above", overview(address).await);
    report.line("a page of another origin may not ask what it asks", foreign(address).await);
}

async fn page(address: Option<SocketAddr>) -> Outcome {
    let answer = get(address, "/", "").await?.with_status(200)?;
    let policy = answer.header("content-security-policy").unwrap_or("no policy");
    expect(policy.starts_with("default-src 'none'"), || policy.to_owned())?;
    expect(answer.text().contains("<title>Vestibule</title>"), || "another page".to_owned())
}

async fn overview(address: Option<SocketAddr>) -> Outcome {
    let told = get(address, "/overview", "").await?.with_status(200)?.json()?;
    let personas = told["personas"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = personas.iter().filter(|one| one["persona"].is_string()).count();
    expect(named == 4, || format!("{named} personas"))?;
    let refusals = told["recent_rejections"].as_array().map_or(0, Vec::len);
    expect(refusals > 0, || "no refusals".to_owned())
}

async fn foreign(address: Option<SocketAddr>) -> Outcome {
    let lines = "Origin: https://elsewhere.example\r\nSec-Fetch-Site: cross-site\r\n";
    get(address, "/overview", lines).await?.with_status(403).map(|_| ())
}

async fn get(address: Option<SocketAddr>, path: &str, lines: &str) -> Result<Answer, String> {
    let address = address.ok_or("there is no listener for operators")?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    let bytes = tokio::time::timeout(PATIENCE, exchange).await;
    let bytes = bytes
        .map_err(|_| "no answer in time")?
        .map_err(|error: std::io::Error| error.to_string())?;
    let (answer, _) = parse(&bytes)?.ok_or("no whole answer")?;
    Ok(answer)
}
