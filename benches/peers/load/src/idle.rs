//! Many open WebSockets that have said one thing each and then hold still.

use tokio::task::JoinSet;

use crate::args::{Args, Result};
use crate::client::{Stream, Target, Tickets, exchange, open_websocket, patiently};
use crate::report::pause;

/// How many connections are being opened at a time.
const OPENING: u64 = 32;

pub async fn run(args: &Args) -> Result<()> {
    let target = Target::from_args(args)?;
    let connections: u64 = args.get("connections")?;
    pause("{\"event\":\"ready\"}")?;

    let connector = target.connector(Tickets::Refused)?;
    let mut opening: JoinSet<std::result::Result<Stream, String>> = JoinSet::new();
    let mut open = Vec::new();
    for number in 0..connections {
        if number >= OPENING {
            open.push(opening.join_next().await.ok_or("no task left")???);
        }
        let (target, connector) = (target.clone(), connector.clone());
        opening.spawn(async move {
            open_one(&target, &connector, number).await.map_err(|error| error.to_string())
        });
    }
    while let Some(stream) = opening.join_next().await {
        open.push(stream??);
    }
    pause(&format!("{{\"event\":\"done\",\"ok\":{},\"failed\":0}}", open.len()))?;

    // A connection that was lost while it held still would make the proxy look frugal.
    for (number, stream) in open.iter_mut().enumerate() {
        let again = exchange(stream, (number as u64) | 1 << 40);
        patiently("an echo after the pause", again).await?;
    }
    Ok(())
}

async fn open_one(
    target: &Target,
    connector: &tokio_rustls::TlsConnector,
    number: u64,
) -> Result<Stream> {
    patiently("an idle connection", async {
        let mut stream = open_websocket(target, connector).await?;
        exchange(&mut stream, number).await?;
        Ok(stream)
    })
    .await
}
