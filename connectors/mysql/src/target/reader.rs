//! Reads a target's tables: as a source's are read, once a form says what the columns are here.

use super::catalog::look;
use super::session::Session;
use crate::connection::ConnectOptions;
use crate::keys;
use crate::table_reader::MysqlTableReader;
use async_trait::async_trait;
use rowferry_api::{BlockStream, Error, ErrorKind, Keeps, Range, Result, TableReader, TableSchema};

/// A connection that reads tables, and one that looks at what they are.
pub(super) struct TargetReader {
    options: ConnectOptions,
    session: Session,
    reader: MysqlTableReader,
    /// The form asked for last, and the same with the server's own native texts.
    known: Option<(TableSchema, TableSchema)>,
}

impl TargetReader {
    pub(super) async fn open(options: &ConnectOptions) -> Result<Self> {
        Ok(Self {
            options: options.clone(),
            session: Session::open(options).await?,
            reader: MysqlTableReader::open(options.clone(), None).await?,
            known: None,
        })
    }

    async fn localize(&mut self, table: &TableSchema) -> Result<()> {
        if self.known.as_ref().is_some_and(|(form, _)| form == table) {
            return Ok(());
        }
        if !self.session.is_usable() {
            self.session = Session::open(&self.options).await?;
        }
        let have = look(&mut self.session, &table.name).await?.ok_or_else(|| {
            Error::new(ErrorKind::Schema, format!("read table {}: the target does not have it", table.name))
        })?;
        let localized = keys::localized(table, |name| have.column(name).map(|column| column.native.clone()));
        self.known = Some((table.clone(), localized));
        Ok(())
    }
}

#[async_trait]
impl TableReader for TargetReader {
    fn keeps(&self) -> Keeps {
        self.reader.keeps()
    }

    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, ordered: bool) -> Result<Vec<Range>> {
        self.localize(table).await?;
        let (_, localized) = self.known.as_ref().expect("it was just made known");
        self.reader.split(localized, rows_per_range, ordered).await
    }

    async fn read<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        ordered: bool,
    ) -> Result<BlockStream<'a>> {
        self.localize(table).await?;
        let (_, localized) = self.known.as_ref().expect("it was just made known");
        self.reader.read(localized, range, ordered).await
    }
}
