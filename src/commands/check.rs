//! `rowferry check`: looks at both ends without changing them.

use super::{FOUND, OK, chosen, ends, print_json, say};
use crate::cli::PipelineArgs;
use crate::config::{Config, PipelineConfig};
use crate::pipeline::forms;
use rowferry_api::{Error, Finding, Severity, SourceTable};
use serde::Serialize;

#[derive(Serialize)]
struct Report {
    pipelines: Vec<PipelineReport>,
}

#[derive(Serialize)]
struct PipelineReport {
    name: String,
    tables: usize,
    findings: Vec<Finding>,
}

pub(super) async fn run(config: &Config, args: &PipelineArgs, json: bool) -> Result<u8, Error> {
    let mut pipelines = Vec::new();
    for pipeline in chosen(config, args)? {
        pipelines.push(look(pipeline).await);
    }
    let report = Report { pipelines };
    let blocked = report.pipelines.iter().flat_map(|pipeline| &pipeline.findings).any(is_blocked);
    if json {
        print_json(&report);
    } else {
        report.pipelines.iter().for_each(print);
    }
    Ok(if blocked { FOUND } else { OK })
}

fn is_blocked(finding: &Finding) -> bool {
    finding.severity == Severity::Blocked
}

/// An end that cannot be looked at is a finding too: the other end is looked at all the same.
async fn look(pipeline: &PipelineConfig) -> PipelineReport {
    let mut findings = Vec::new();
    let mut tables = 0;
    match look_closely(pipeline, &mut findings).await {
        Ok(count) => tables = count,
        Err(error) => findings.push(as_finding("pipeline", &error)),
    }
    PipelineReport { name: pipeline.name.clone(), tables, findings }
}

async fn look_closely(pipeline: &PipelineConfig, findings: &mut Vec<Finding>) -> Result<usize, Error> {
    let (source, target) = ends(pipeline)?;
    let chosen = match source.tables().await.and_then(|tables| {
        forms::refuse_missing(&tables, pipeline, |_| false)?;
        forms::choose(&tables, pipeline, &*target)
    }) {
        Ok(chosen) => chosen,
        Err(error) => {
            findings.push(as_finding("source", &error));
            Vec::new()
        }
    };
    let tables: Vec<SourceTable> = chosen.iter().map(|table| table.source.clone()).collect();
    let forms: Vec<_> = chosen.iter().map(|table| (*table.target).clone()).collect();
    if findings.is_empty() {
        match source.check(&tables).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(as_finding("source", &error)),
        }
    }
    match target.check(&forms).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(as_finding("target", &error)),
    }
    if chosen.is_empty() && !findings.iter().any(is_blocked) {
        findings.push(Finding::blocked(
            "tables",
            "no table of the source matches `tables`",
            "patterns are written \"schema.table\"; * stands for any characters",
        ));
    }
    Ok(chosen.len())
}

fn as_finding(subject: &str, error: &Error) -> Finding {
    Finding::blocked(subject, error.to_string(), error.hint_text().unwrap_or("see the message"))
}

fn print(report: &PipelineReport) {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    println!("pipeline {}: {} tables", report.name, report.tables);
    for finding in &report.findings {
        let mark = match finding.severity {
            Severity::Ok => "ok     ",
            Severity::Warning => "warning",
            Severity::Blocked => "BLOCKED",
        };
        println!("  {mark}  {}: {}", finding.subject, finding.what);
        for line in finding.mend.iter().flat_map(|mend| mend.lines()) {
            println!("             {line}");
        }
    }
    let (blocked, warnings) = (count(Severity::Blocked), count(Severity::Warning));
    if blocked > 0 {
        say(&format!("pipeline {} cannot start: {blocked} blocked, {warnings} warnings", report.name));
    } else {
        say(&format!("pipeline {} can start: {warnings} warnings", report.name));
    }
}
