//! Rows in temporary tables, from where one statement writes them: those of a range, and those that one of two appliers which take
//! turns brings while the other writes the batch before.

use super::applier::{MysqlApplier, guarded};
use super::load::Place;
use super::shape::{Shape, Values};
use crate::native::in_definition;
use rowferry_api::{Error, ErrorKind, Result, Staged, Staging, Step};

/// Rows from which bringing them ahead pays.
const STAGE_FROM: usize = 1_000;

/// Whether a temporary table finds its rows by their key, or keeps them as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyed {
    Yes,
    No,
}

/// An empty temporary table of the columns that are written, named by their places. Outside of a transaction: servers whose
/// log counts transactions refuse it inside.
pub(super) async fn make(applier: &mut MysqlApplier, shape: &Shape, stage: &str, keyed: Keyed) -> Result<()> {
    let columns = shape.columns.iter().enumerate().map(|(index, column)| {
        let (null, default) = if column.is_key { ("NOT NULL", "") } else { ("NULL", " DEFAULT NULL") };
        let is_timestamp = column.is_key && column.native.starts_with("timestamp");
        let default = if is_timestamp { " DEFAULT '0000-00-00 00:00:00'" } else { default };
        format!("c{index} {} {null}{default}", in_definition(&column.native))
    });
    let key: Vec<String> = shape.key.iter().map(|index| format!("c{index}")).collect();
    let key = match keyed {
        Keyed::Yes => format!("PRIMARY KEY ({})", key.join(", ")),
        // A server may ask for a key of every table.
        Keyed::No => "n bigint AUTO_INCREMENT PRIMARY KEY".into(),
    };
    let columns = columns.chain([key]).collect::<Vec<_>>().join(", ");
    // A DELETE over two tables names its table by an alias, which is looked for in the database that is in use.
    applier.run(&format!("USE {}", shape.database)).await?;
    applier.run(&format!("DROP TEMPORARY TABLE IF EXISTS {stage}")).await?;
    applier.run(&format!("CREATE TEMPORARY TABLE {stage} ({columns}) ENGINE = InnoDB")).await
}

/// Where its rows go.
pub(super) fn place(shape: &Shape, stage: &str) -> Place {
    Place { table: stage.to_owned(), columns: names(shape, "") }
}

/// Writes all rows of a temporary table into the table.
pub(super) async fn upsert_from(applier: &mut MysqlApplier, shape: &Shape, stage: &str) -> Result<()> {
    let (columns, staged, tail) = (shape.names(), names(shape, "s."), shape.upsert_tail(Values::Stage));
    let upsert = format!("INSERT INTO {} ({columns}) SELECT {staged} FROM {stage} AS s{tail}", shape.table);
    applier.session.run(&shape.context, upsert).await.map(drop).map_err(|error| guarded(shape, error))
}

fn names(shape: &Shape, prefix: &str) -> String {
    (0..shape.columns.len()).map(|index| format!("{prefix}c{index}")).collect::<Vec<_>>().join(", ")
}

impl MysqlApplier {
    /// Brings the rows of large upserts into temporary tables, which no other connection sees.
    pub(super) async fn bring(&mut self, steps: &[Step]) -> Result<bool> {
        if !self.session.is_usable() {
            return Err(Error::new(ErrorKind::Unreachable, "stage rows at the target: the connection was lost"));
        }
        self.follow_forms();
        self.drop_stages().await?;
        let large = Staging::worthwhile(steps, STAGE_FROM);
        for (number, rows) in &large {
            let shape = self.shape(&rows.table).await?;
            let table = shape.stage(&format!("rowferry_next_{number}"));
            // No row is refused yet.
            let made = make(self, &shape, &table, Keyed::No).await;
            made.map_err(|error| Error::new(ErrorKind::Schema, error.to_string()))?;
            self.stages.push(table.clone());
            self.put_new(&shape, &place(&shape, &table), &rows.upserts).await?;
            self.staging.put(*number, Staged { table, rows: rows.upserts.len() });
        }
        Ok(!large.is_empty())
    }

    /// Frees what the batch before last has used.
    async fn drop_stages(&mut self) -> Result<()> {
        self.staging.forget();
        let stages = std::mem::take(&mut self.stages);
        if stages.is_empty() {
            return Ok(());
        }
        self.run(&format!("DROP TEMPORARY TABLE IF EXISTS {}", stages.join(", "))).await
    }
}
