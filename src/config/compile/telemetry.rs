//! Logs, traces and metrics: where they go.

use std::sync::Arc;

use super::super::error::Wrong;
use super::super::raw::{Root, Telemetry};
use super::super::snapshot::{AccessLog, TelemetrySettings, UserIds};
use super::super::source::Spot;
use super::super::upstream_tls::{Authorities, Trust, client_config};
use super::super::values::{LogTarget, UserIdsAs};
use super::Compiler;
use crate::policy::pseudonym::Pseudonyms;
use crate::policy::session::keys::SessionSecrets;
use crate::telemetry::otlp::settings::{OtlpSettings, Said, Target, settings};

/// Personas and sites with numbers of their own.
const PERSONA_METRICS: u64 = 500;

pub fn compile(
    root: &Root,
    sessions: &SessionSecrets,
    compiler: &mut Compiler<'_>,
) -> TelemetrySettings {
    let default = Telemetry::default();
    let raw = root.telemetry.as_ref().map_or(&default, |at| &at.value);
    let access_log = match raw.access_log.as_ref().map(|at| &at.value) {
        None | Some(LogTarget::Stdout) => AccessLog::Stdout,
        Some(LogTarget::Off) => AccessLog::Off,
        Some(LogTarget::File(path)) => AccessLog::File(compiler.base.join(path)),
    };
    let user_ids = match raw.user_id.as_ref().map(|at| at.value) {
        None | Some(UserIdsAs::Hash) => UserIds::Hashed(Pseudonyms::new(sessions)),
        Some(UserIdsAs::Plain) => UserIds::Plain,
        Some(UserIdsAs::Off) => UserIds::Off,
    };
    let section = root.telemetry.as_ref().map_or(Spot::default(), |at| at.spot);
    let persona_metrics = raw.persona_metrics.as_ref().map_or(PERSONA_METRICS, |at| at.value.0);
    let persona_metrics = persona_metrics as usize;
    let otlp = otlp(raw, section, compiler);
    TelemetrySettings { access_log, user_ids, otlp, persona_metrics }
}

fn otlp(raw: &Telemetry, section: Spot, compiler: &mut Compiler<'_>) -> OtlpSettings {
    let said = Said {
        endpoint: raw.otlp_endpoint.as_ref().map(|at| &*at.value.0),
        ratio: raw.sample_ratio.as_ref().map(|at| at.value.0),
    };
    let (mut settings, complaints) = settings(said, compiler.environment);
    for complaint in complaints {
        let endpoint = raw.otlp_endpoint.as_ref().map_or(section, |at| at.spot);
        let (spot, key, what) = match complaint.variable {
            None => (endpoint, "telemetry.otlp_endpoint", complaint.what),
            Some(variable) => (section, "telemetry", format!("{variable}: {}", complaint.what)),
        };
        let wrong = Wrong::new(what, complaint.remedy);
        match complaint.is_error {
            true => compiler.problems.error(spot, key, wrong),
            false => compiler.problems.warning(spot, key, wrong),
        }
    }
    for target in [&mut settings.traces, &mut settings.metrics].into_iter().flatten() {
        if let Err(why) = set_up_tls(target, compiler) {
            let remedy = "install the system's authorities (Debian: ca-certificates), or name a \
                          PEM file in OTEL_EXPORTER_OTLP_CERTIFICATE";
            compiler.problems.error(section, "telemetry", Wrong::new(why, remedy));
        }
    }
    settings
}

fn set_up_tls(target: &mut Target, compiler: &mut Compiler<'_>) -> Result<(), String> {
    if !target.is_tls {
        return Ok(());
    }
    let authorities = match &target.certificate {
        None => Authorities::System,
        Some(path) => {
            let pem = compiler.sources.read(&compiler.base.join(&**path));
            Authorities::Private(pem.map_err(|error| format!("{path}: {error}"))?.into())
        }
    };
    let config = client_config(&Trust { authorities, client: None })?;
    target.tls = Some(Arc::clone(&config));
    Ok(())
}
